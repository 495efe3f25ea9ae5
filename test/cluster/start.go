package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/api"
	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/process"
	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

const superviseName = "supervise"

// start writes the state folder, starts the supervisor and waits until the
// cluster can be used.
func start(ctx context.Context, o options, p programs, stderr io.Writer) (record, error) {
	cluster, err := lay(o, p)
	if err != nil {
		return record{}, err
	}
	ctx, err = startSupervisor(ctx, o)
	if err != nil {
		return record{}, err
	}
	address := cluster.APIAddress()
	if o.mode == plan.Node {
		if address, err = relayAPI(ctx, o, cluster.APIAddress()); err != nil {
			return record{}, err
		}
		if err := importWhenUp(ctx, o, p.pauseImage); err != nil {
			return record{}, explain(ctx, err)
		}
	}
	if err := writeFile(filepath.Join(o.state, kubeconfigFile), cluster.Kubeconfig(address)); err != nil {
		return record{}, err
	}
	r := record{Name: o.name, Mode: o.mode, Sources: p.sources, Address: address, Admin: cluster.Probe(address)}
	if err := settle(ctx, r, stderr); err != nil {
		return record{}, explain(ctx, err)
	}
	return r, r.save(o.state)
}

// explain prefers the reason why the wait was broken off, such as the
// supervisor's end, to the last answer before it.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return err
}

// lay writes everything that the processes read.
func lay(o options, p programs) (*plan.Cluster, error) {
	if err := claim(o); err != nil {
		return nil, err
	}
	settings := plan.Settings{Name: o.name, Mode: o.mode, State: o.state, ProxyMode: o.proxyMode, Audit: o.audit}
	var err error
	if settings.Ports, err = freePorts(); err != nil {
		return nil, err
	}
	cluster, err := plan.New(settings, time.Now())
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{"bin", "log", "etcd", "kubelet", "podlogs", "volumes"} {
		if err := os.Mkdir(filepath.Join(o.state, dir), 0o700); err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
	}
	for name, text := range cluster.Files() {
		if err := writeFile(filepath.Join(o.state, name), text); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(cluster.Supervise())
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if err := writeFile(filepath.Join(o.state, planFile), text); err != nil {
		return nil, err
	}
	return cluster, link(o, p)
}

// link gives each program its name in the state folder. This command itself is
// copied there, since "go run" removes the file that it runs.
func link(o options, p programs) error {
	for _, name := range plan.Programs() {
		if err := os.Symlink(p.kube, filepath.Join(o.state, "bin", name)); err != nil {
			return fmt.Errorf("program: %w", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own executable: %w", err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("own executable: %w", err)
	}
	return os.WriteFile(own(o), text, 0o755)
}

// own is this command's copy in the state folder.
func own(o options) string { return filepath.Join(o.state, "bin", "cluster") }

// startSupervisor starts the process that starts all others. The context that
// it returns ends with it.
func startSupervisor(ctx context.Context, o options) (context.Context, error) {
	logFile := filepath.Join(o.state, "log", "supervisor.log")
	output, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(own(o), superviseName, o.state)
	cmd.Env = supervise.Environment(o.state, process.Supervisor)
	cmd.Stdout, cmd.Stderr, cmd.Dir = output, output, o.state
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if o.mode == plan.Node {
		cmd.SysProcAttr.Cloneflags = supervise.Cloneflags
	}
	err = cmd.Start()
	if errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("supervisor: %w: a node needs namespaces of its own: run on a machine or in a privileged container", err)
	}
	if err != nil {
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		err := cmd.Wait()
		cancel(fmt.Errorf("the cluster's supervisor has ended (%s):\n%s", ending(err), supervise.Tail(logFile)))
	}()
	if err := api.Until(ctx, func(context.Context) error { return visible(o) }); err != nil {
		return nil, explain(ctx, err)
	}
	return ctx, nil
}

func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// visible tells whether the supervisor can be found. For a moment after its
// start it cannot: the kernel shows no environment until the program is laid
// out in memory.
func visible(o options) error {
	_, ok, err := supervisor(o)
	if err == nil && !ok {
		err = errDown
	}
	return err
}

// superviseCommand is the supervisor itself.
func superviseCommand(ctx context.Context, args []string, _, stderr io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("%w: it is started by up", errUsage)
	}
	log.SetOutput(stderr)
	text, err := os.ReadFile(filepath.Join(args[0], planFile))
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	var p supervise.Plan
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	return supervise.Run(ctx, p)
}

// settle waits for the API server, creates the first objects, and waits until
// everything that a user counts on is there.
func settle(ctx context.Context, r record, stderr io.Writer) error {
	server, err := r.server()
	if err != nil {
		return err
	}
	begun := time.Now()
	progress := func(what string) {
		_, _ = fmt.Fprintf(stderr, "%5.1fs %s\n", time.Since(begun).Seconds(), what)
	}
	if err := api.Until(ctx, func(ctx context.Context) error {
		_, err := server.Get(ctx, "/readyz")
		return err
	}); err != nil {
		return fmt.Errorf("wait for API server: %w", err)
	}
	progress("API server")
	for _, object := range plan.Objects(r.Mode) {
		// A namespace of the system may come a moment after the server is ready.
		if err := api.Until(ctx, func(ctx context.Context) error {
			return server.Apply(ctx, object.Path, object.Body)
		}); err != nil {
			return fmt.Errorf("first objects: %w", err)
		}
	}
	for _, condition := range plan.Conditions(r.Mode) {
		if err := api.Until(ctx, func(ctx context.Context) error { return holds(ctx, server, condition) }); err != nil {
			return fmt.Errorf("wait for %s: %w", condition.What, err)
		}
		progress(condition.What)
	}
	return nil
}

func holds(ctx context.Context, server api.Server, c plan.Condition) error {
	body, err := server.Get(ctx, c.Path)
	if err != nil {
		return err
	}
	if c.NodeReady && !api.NodeReady(body) {
		return errors.New("the node is not Ready")
	}
	return nil
}

// healthy tells whether a cluster that was started can be used.
func healthy(ctx context.Context, r record) error {
	server, err := r.server()
	if err != nil {
		return err
	}
	conditions := append([]plan.Condition{{What: "API server", Path: "/readyz"}}, plan.Conditions(r.Mode)...)
	for _, condition := range conditions {
		if err := api.Until(ctx, func(ctx context.Context) error { return holds(ctx, server, condition) }); err != nil {
			return fmt.Errorf("%s: %w", condition.What, err)
		}
	}
	return nil
}

// freePorts asks the kernel for ports that nobody uses.
func freePorts() (plan.Ports, error) {
	var ports [3]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return plan.Ports{}, fmt.Errorf("free port: %w", err)
		}
		defer func() { _ = l.Close() }()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return plan.Ports{API: ports[0], Etcd: ports[1], EtcdPeer: ports[2]}, nil
}
