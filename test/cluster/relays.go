package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/process"
	"github.com/lockstep-gitops/lockstep/test/cluster/relay"
	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

const relayName = "relay"

// relayAPI makes the node's API server answer on a free port of loopback, and
// returns that address.
func relayAPI(ctx context.Context, o options, target string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("relay to the API server: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), startRelay(ctx, o, l, relayName+"-api", target)
}

// openRelays starts the relays to NodePorts that were asked for and do not run
// yet.
func openRelays(ctx context.Context, o options, stderr io.Writer) error {
	running, err := process.Find(o.state)
	if err != nil {
		return err
	}
	open := map[string]bool{}
	for _, p := range running {
		open[p.Name] = true
	}
	for _, ports := range o.relays {
		name := ports.process()
		if open[name] {
			continue
		}
		l, err := ports.listen()
		if err != nil {
			return err
		}
		target := net.JoinHostPort(plan.NodeAddress, strconv.Itoa(ports.node))
		if err := startRelay(ctx, o, l, name, target); err != nil {
			return err
		}
		_ = l.Close() // The relay has its own copy.
		open[name] = true
		_, _ = fmt.Fprintf(stderr, "relaying %s to NodePort %d\n", l.Addr(), ports.node)
	}
	return nil
}

// portsFree tells before anything is started whether the relays can be opened.
func portsFree(o options) error {
	for _, ports := range o.relays {
		l, err := ports.listen()
		if err != nil {
			return err
		}
		_ = l.Close()
	}
	return nil
}

func (p relayPorts) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.local)))
	if err != nil {
		return nil, fmt.Errorf("relay to NodePort %d: %w: stop what uses the port, or take another with --relay LOCAL:%d", p.node, err, p.node)
	}
	return l, nil
}

// process is the name of the relay's process, from which status reads the
// ports again.
func (p relayPorts) process() string {
	return fmt.Sprintf("%s-%d-%d", relayName, p.local, p.node)
}

// relayOf reads the ports from a process name.
func relayOf(name string) (relayPorts, bool) {
	var p relayPorts
	n, err := fmt.Sscanf(name, relayName+"-%d-%d", &p.local, &p.node)
	return p, err == nil && n == 2
}

// startRelay starts a process inside the node's network namespace that serves
// the listener, which was made outside of it.
func startRelay(ctx context.Context, o options, l net.Listener, name, target string) error {
	node, ok, err := supervisor(o)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("relay to %s: %w", target, explain(ctx, errDown))
	}
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("relay to %s: %w", target, err)
	}
	defer func() { _ = socket.Close() }()
	output, err := os.OpenFile(filepath.Join(o.state, "log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("relay to %s: %w", target, err)
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(node.PID), "--net", "--", own(o), relayName, target)
	cmd.Env = supervise.Environment(o.state, name)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = output, output, []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("relay to %s: %w", target, err)
	}
	return cmd.Process.Release()
}

// relayCommand is the relay itself.
func relayCommand(ctx context.Context, args []string, _, stderr io.Writer) error {
	if len(args) != 1 || !strings.Contains(args[0], ":") {
		return fmt.Errorf("%w: it is started by up", errUsage)
	}
	log.SetOutput(stderr)
	l, err := relay.Inherited()
	if err != nil {
		return err
	}
	return relay.Serve(ctx, l, args[0])
}

// supervisor finds the running cluster's first process.
func supervisor(o options) (process.Process, bool, error) {
	running, err := process.Find(o.state)
	if err != nil {
		return process.Process{}, false, err
	}
	for _, p := range running {
		if p.Name == process.Supervisor {
			return p, true, nil
		}
	}
	return process.Process{}, false, nil
}
