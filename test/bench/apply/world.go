package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/lockstep-gitops/lockstep/test/bench/host"
	"github.com/lockstep-gitops/lockstep/test/harness"
)

const (
	// clusterName is that of the control plane.
	clusterName = "bench-apply"
	// home is the namespace of the daemon, and account its ServiceAccount.
	home    = "lockstep-system"
	account = "lockstep"
	// deployer is the account of each tenant.
	deployer = "deployer"
)

// world is what all parts share: a control plane, a git server, a program.
type world struct {
	*host.Host
	cluster *harness.Cluster
	// client is the administrator without any bound on requests.
	client dynamic.Interface
	// audit is where the API server notes what it was asked for.
	audit string
	// program is the lockstep that is measured, kubeconfig what it is given.
	program, kubeconfig string
	// parallel is how many requests at a time made the bare loop fastest.
	parallel int
}

// newWorld brings everything up. The world is to be cleaned also after an
// error.
func newWorld(ctx context.Context, program string) (*world, error) {
	w := &world{Host: host.New(ctx), program: program, parallel: 16}
	// The audit log of somebody else's cluster is out of reach.
	if err := os.Unsetenv("KUBECONFIG"); err != nil {
		return w, err
	}
	began := time.Now()
	w.Cleanup(func() { w.down(ctx) })
	var err error
	w.cluster, err = harness.Up(ctx, clusterName, os.Stderr, "--mode", "control-plane", "--audit")
	if err != nil {
		return w, err
	}
	config := rest.CopyConfig(w.cluster.Config)
	config.QPS, config.UserAgent = -1, "bench"
	if w.client, err = dynamic.NewForConfig(config); err != nil {
		return w, err
	}
	if err := w.install(ctx); err != nil {
		return w, err
	}
	if err := w.build(ctx); err != nil {
		return w, err
	}
	say("control plane and program: %.1f s", time.Since(began).Seconds())
	return w, nil
}

// down takes the control plane away, also one that is half up, and also after
// the context of the run has ended.
func (w *world) down(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	command := exec.CommandContext(last, "go", "run", "./test/cluster", "down", "--name", clusterName)
	command.Stderr = os.Stderr
	if w.cluster != nil {
		command.Dir = w.cluster.Root
	}
	if err := command.Run(); err != nil {
		say("take the control plane away: %v", err)
	}
}

// install applies what the daemon needs, and makes its kubeconfig.
func (w *world) install(ctx context.Context) error {
	for _, name := range []string{"namespace.yaml", "crd/lockstep.dev_releases.yaml", "rbac.yaml"} {
		content, err := os.ReadFile(filepath.Join(w.cluster.Root, "manifests", name))
		if err != nil {
			return err
		}
		objects, err := harness.Parse(string(content))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := w.cluster.Apply(ctx, objects...); err != nil {
			return err
		}
	}
	path, err := exec.CommandContext(ctx, "go", "run", "./test/cluster", "kubeconfig", "--name", clusterName).Output()
	if err != nil {
		return fmt.Errorf("folder of the cluster: %w", err)
	}
	w.audit = filepath.Join(filepath.Dir(strings.TrimSpace(string(path))), "log", "audit.log")
	w.kubeconfig = filepath.Join(w.TempDir(), "kubeconfig")
	return w.writeKubeconfig(ctx)
}

// writeKubeconfig gives the daemon the rights of its ServiceAccount, and no
// others.
func (w *world) writeKubeconfig(ctx context.Context) error {
	seconds := int64(2 * time.Hour / time.Second)
	asked := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := w.cluster.Kube.CoreV1().ServiceAccounts(home).CreateToken(ctx, account, asked, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("token of the daemon: %w", err)
	}
	config := api.NewConfig()
	config.Clusters["bench"] = &api.Cluster{Server: w.cluster.Config.Host, CertificateAuthorityData: w.cluster.Config.CAData}
	config.AuthInfos["bench"] = &api.AuthInfo{Token: token.Status.Token}
	config.Contexts["bench"] = &api.Context{Cluster: "bench", AuthInfo: "bench"}
	config.CurrentContext = "bench"
	return clientcmd.WriteToFile(*config, w.kubeconfig)
}

// build makes the program as it is shipped.
func (w *world) build(ctx context.Context) error {
	if w.program != "" {
		return nil
	}
	w.program = filepath.Join(w.TempDir(), "lockstep")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.program, "./cmd/lockstep")
	command.Dir, command.Env = w.cluster.Root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("build the daemon: %w", err), errors.New(string(out)))
	}
	return nil
}

const tenant = `
apiVersion: v1
kind: Namespace
metadata: {name: NAME}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: deployer, namespace: NAME}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer, namespace: NAME}
rules:
- {apiGroups: [""], resources: [configmaps, secrets], verbs: ["*"]}
- {apiGroups: [apps], resources: [deployments], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: deployer, namespace: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}
subjects: [{kind: ServiceAccount, name: deployer, namespace: NAME}]
`

// namespaces makes so many of them, each with an account that may write in it.
func (w *world) namespaces(ctx context.Context, prefix string, count int) ([]string, error) {
	var names []string
	var all []*unstructured.Unstructured
	for i := range count {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
		objects, err := harness.Parse(strings.ReplaceAll(tenant, "NAME", names[i]))
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return names, w.cluster.Apply(ctx, all...)
}
