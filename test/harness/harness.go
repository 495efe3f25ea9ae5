// Package harness sets up what the demo and the end-to-end suite share: a
// cluster, the images in it, the daemon, a git server, a repository to push
// to, and a look at what the daemon makes of it.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is a cluster that can run Pods.
type Cluster struct {
	// Name of the cluster of our own, empty for one that was there.
	Name string
	// Kind is the name of a kind cluster, empty otherwise.
	Kind       string
	Kubeconfig string
	Root       string
	Out        io.Writer

	Config  *rest.Config
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface
}

// Up brings a cluster up, or takes the one that the environment names:
// KUBECONFIG, or DEMO_CLUSTER=kind for one that is made with kind. Its
// progress is shown on out.
func Up(ctx context.Context, name string, out io.Writer, flags ...string) (*Cluster, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Root: root, Out: out, Kubeconfig: os.Getenv("KUBECONFIG")}
	switch {
	case c.Kubeconfig != "":
		c.Kind = os.Getenv("KIND_CLUSTER")
	case os.Getenv("DEMO_CLUSTER") == "kind":
		err = c.upKind(ctx, name)
	default:
		err = c.upNode(ctx, name, flags)
	}
	if err != nil {
		return nil, err
	}
	return c, c.connect()
}

func moduleRoot(ctx context.Context) (string, error) {
	file, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(file))), nil
}

func (c *Cluster) upNode(ctx context.Context, name string, flags []string) error {
	c.Name = name
	c.Kubeconfig = filepath.Join(c.Root, ".build", name+".kubeconfig")
	if err := os.MkdirAll(filepath.Dir(c.Kubeconfig), 0o755); err != nil {
		return err
	}
	args := append([]string{"run", "./test/cluster", "up", "--name", name, "--kubeconfig", c.Kubeconfig}, flags...)
	return c.show(ctx, "go", args...)
}

func (c *Cluster) upKind(ctx context.Context, name string) error {
	c.Kind = name
	c.Kubeconfig = filepath.Join(c.Root, ".build", name+".kubeconfig")
	if err := os.MkdirAll(filepath.Dir(c.Kubeconfig), 0o755); err != nil {
		return err
	}
	clusters, err := exec.CommandContext(ctx, "kind", "get", "clusters").Output()
	if err != nil {
		return fmt.Errorf("kind get clusters: %w; is kind installed?", err)
	}
	verb := []string{"create", "cluster", "--name", name, "--kubeconfig", c.Kubeconfig, "--wait", "120s"}
	if strings.Contains("\n"+string(clusters), "\n"+name+"\n") {
		verb = []string{"export", "kubeconfig", "--name", name, "--kubeconfig", c.Kubeconfig}
	}
	return c.show(ctx, "kind", verb...)
}

func (c *Cluster) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
	}
	config.QPS, config.Burst = 200, 400
	config.WarningHandler = rest.NoWarnings{}
	c.Config = config
	if c.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	c.Dynamic, err = dynamic.NewForConfig(config)
	return err
}

// Down takes a cluster away that Up has made; another is left as it is.
func (c *Cluster) Down(ctx context.Context) error {
	switch {
	case c.Name != "":
		return c.show(ctx, "go", "run", "./test/cluster", "down", "--name", c.Name)
	case c.Kind != "" && os.Getenv("DEMO_CLUSTER") == "kind":
		return c.show(ctx, "kind", "delete", "cluster", "--name", c.Kind)
	default:
		return nil
	}
}

// show runs a program in the module's folder and lets its output be seen.
func (c *Cluster) show(ctx context.Context, program string, args ...string) error {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = c.Root
	command.Stdout, command.Stderr = c.Out, c.Out
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return nil
}

// quiet runs a program and shows its output only when it fails.
func (c *Cluster) quiet(ctx context.Context, program string, args ...string) error {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = c.Root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := command.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err), errors.New(strings.TrimSpace(string(output))))
	}
	return nil
}
