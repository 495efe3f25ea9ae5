// Package supervise is the first process of a test cluster: it starts the
// components, starts again the one that ends, and takes all of them with it
// when it ends itself.
//
//	up ──starts──▶ supervisor ──▶ etcd, kube-apiserver, containerd
//	                   │               then, once /readyz says ok
//	                   └────────▶ kubelet, kube-proxy, coredns, …
//
// On a node the supervisor is process 1 of a process namespace with mount,
// network and IPC namespaces of its own. To kill it is to end everything: the
// kernel kills the other processes of the namespace, containers included, and
// with the last of them go the mounts, the bridge and the pods' networks.
// Without a node each component has asked the kernel to be killed when the
// supervisor ends.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/process"
)

// A component that ends is started again after restartDelay. One that ends
// failures times in a row, each time within steady of its start, will not get
// better: the supervisor gives up.
const (
	restartDelay = 500 * time.Millisecond
	steady       = 10 * time.Second
	failures     = 5
)

// Plan is everything that a supervisor needs to know.
type Plan struct {
	State     string      `json:"state"`          // folder of the cluster
	Node      *Node       `json:"node,omitempty"` // nil: no pods, no namespaces
	Ready     Probe       `json:"ready"`
	Processes []Component `json:"processes"`
}

// Component is one process to start and keep running.
type Component struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // the first is the path of the executable
	// AfterAPI holds the start back until the API server is ready.
	AfterAPI bool `json:"afterAPI,omitempty"`
}

type supervisor struct {
	plan    Plan
	running map[int]*child // by process number as seen here
	restart chan *child
}

type child struct {
	component Component
	started   time.Time
	failed    int
}

// Run carries out the plan until the context ends or a component keeps
// failing. The caller must have put the process into its namespaces already.
func Run(ctx context.Context, plan Plan) error {
	// The kernel ties the children's death signal to the thread that started
	// them, so all are started from this one, which lasts as long as the process.
	runtime.LockOSThread()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	if plan.Node != nil {
		if err := plan.Node.prepare(ctx, plan.State); err != nil {
			return fmt.Errorf("prepare node: %w", err)
		}
	}
	s := &supervisor{plan: plan, running: map[int]*child{}, restart: make(chan *child, len(plan.Processes))}
	if err := s.startAll(false); err != nil {
		return err
	}
	ready := make(chan struct{})
	go func() {
		if plan.Ready.wait(ctx) {
			close(ready)
		}
	}()
	return s.loop(ctx, ended, ready)
}

func (s *supervisor) loop(ctx context.Context, ended <-chan os.Signal, ready <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
			ready = nil
			if err := s.startAll(true); err != nil {
				return err
			}
		case <-ended:
			if err := s.reap(); err != nil {
				return err
			}
		case c := <-s.restart:
			if err := s.start(c); err != nil {
				return err
			}
		}
	}
}

func (s *supervisor) logFile(name string) string {
	return filepath.Join(s.plan.State, "log", name+".log")
}

func (s *supervisor) startAll(afterAPI bool) error {
	for _, c := range s.plan.Processes {
		if c.AfterAPI != afterAPI {
			continue
		}
		if err := s.start(&child{component: c}); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) start(c *child) error {
	name := c.component.Name
	output, err := os.OpenFile(s.logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = output.Close() }()
	cmd := exec.Command(c.component.Args[0], c.component.Args[1:]...)
	cmd.Dir, cmd.Env = s.plan.State, Environment(s.plan.State, name)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.started = time.Now()
	s.running[cmd.Process.Pid] = c
	return cmd.Process.Release() // reap waits for it.
}

// reap collects every process that has ended: components, and the orphans that
// the kernel hands to the first process of a namespace.
func (s *supervisor) reap() error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil && !errors.Is(err, syscall.ECHILD) {
			return fmt.Errorf("wait for processes: %w", err)
		}
		if pid <= 0 {
			return nil // None is left that has ended.
		}
		c, ok := s.running[pid]
		if !ok {
			continue
		}
		delete(s.running, pid)
		if err := s.again(c, status); err != nil {
			return err
		}
	}
}

func (s *supervisor) again(c *child, status syscall.WaitStatus) error {
	c.failed++
	if time.Since(c.started) > steady {
		c.failed = 1
	}
	name := c.component.Name
	if c.failed >= failures {
		return fmt.Errorf("%s ended %d times in a row, the last time with %s:\n%s", name, c.failed, explain(status), Tail(s.logFile(name)))
	}
	log.Printf("%s ended with %s; starting it again", name, explain(status))
	time.AfterFunc(restartDelay, func() { s.restart <- c })
	return nil
}

func explain(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// Environment is what a process of the cluster is started with: its mark and
// little else. The caller's own environment may hold secrets and settings,
// such as KUBECONFIG, that do not concern the cluster.
func Environment(state, name string) []string {
	inherited := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		key, _, _ := strings.Cut(entry, "=")
		return !slices.Contains([]string{"HOME", "TMPDIR"}, key)
	})
	return append(inherited, append(process.Mark(state, name),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")...)
}
