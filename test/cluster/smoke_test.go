//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/process"
)

// node is a cluster that a test drives by the command, as a user does.
type node struct {
	program string
	name    string
	state   string
}

func newNode(t *testing.T, name string) node {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	assert.NilError(t, err)
	n := node{program: filepath.Join(dir, "cluster"), name: name, state: filepath.Join(dir, "state")}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", n.program, ".").CombinedOutput()
	assert.NilError(t, err, string(out))
	t.Cleanup(func() {
		// The test's own context has ended.
		out, err := exec.Command(n.program, n.arguments("down")...).CombinedOutput()
		assert.Check(t, err == nil, string(out))
	})
	return n
}

func (n node) arguments(command string, args ...string) []string {
	return append([]string{command, "--name", n.name, "--state", n.state}, args...)
}

func (n node) call(t *testing.T, command string, args ...string) string {
	t.Helper()
	return output(t, n.program, n.arguments(command, args...)...)
}

func (n node) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	kubeconfig := "--kubeconfig=" + strings.TrimSpace(n.call(t, "kubeconfig"))
	return output(t, filepath.Join(n.state, "bin", "kubectl"), append([]string{kubeconfig}, args...)...)
}

// answers waits until a command succeeds: a Service leads to its Pods a moment
// after they are ready.
func (n node) answers(t *testing.T, args ...string) {
	t.Helper()
	kubeconfig := "--kubeconfig=" + strings.TrimSpace(n.call(t, "kubeconfig"))
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		out, err := exec.CommandContext(t.Context(), filepath.Join(n.state, "bin", "kubectl"), append([]string{kubeconfig}, args...)...).CombinedOutput()
		if err != nil {
			return poll.Continue("%v: %s", err, out)
		}
		return poll.Success()
	}, poll.WithTimeout(time.Minute), poll.WithDelay(200*time.Millisecond))
}

func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	assert.NilError(t, err, "%s %v\n%s%s", filepath.Base(program), args, out.String(), errs.String())
	return out.String()
}

// figure prints a measured value next to its goal.
func figure(name string, value, goal time.Duration) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.1f s goal %.0f %s\n", name, value.Seconds(), goal.Seconds(), verdict)
}

// TestNode brings up a node, uses each thing that tests count on, kills it
// without warning, brings it up again, and looks for traces after down.
func TestNode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("reason: a node needs root")
	}
	n := newNode(t, "smoke")
	n.call(t, "up") // Builds and installs what is missing.
	n.call(t, "down")
	n.upWithWorkload(t, "cluster_up")

	t.Run("a second up has nothing to do", func(t *testing.T) {
		begun := time.Now()
		n.call(t, "up", "--relay", "30679", "--relay", "30680")
		figure("cluster_up_again", time.Since(begun), 2*time.Second)
	})
	t.Run("a component that is killed is started again", func(t *testing.T) {
		n.kill(t, "kube-apiserver")
		n.call(t, "up")
		assert.Equal(t, n.kubectl(t, "-n", "smoke", "get", "deploy", "redis", "-o", "jsonpath={.status.readyReplicas}"), "2")
	})
	t.Run("up after everything was killed", func(t *testing.T) {
		n.kill(t, "")
		n.upWithWorkload(t, "cluster_up_after_kill")
	})
	t.Run("down leaves nothing", func(t *testing.T) {
		begun := time.Now()
		n.call(t, "down")
		figure("cluster_down", time.Since(begun), 5*time.Second)
		n.assertGone(t)
	})
}

func (n node) upWithWorkload(t *testing.T, name string) {
	t.Helper()
	begun := time.Now()
	n.call(t, "up", "--relay", "30679", "--relay", "30680")
	figure(name, time.Since(begun), 15*time.Second)
	for _, image := range []string{"postgres", "redis", "git"} {
		archive := filepath.Join(t.TempDir(), image+".tar")
		output(t, n.program, "image", image, "--out", archive)
		n.call(t, "load", archive)
	}
	begun = time.Now()
	n.kubectl(t, "apply", "-f", "testdata/smoke.yaml")
	for _, object := range []string{"sts/pg", "deploy/redis", "deploy/git"} {
		n.kubectl(t, "-n", "smoke", "rollout", "status", object, "--timeout=90s")
	}
	figure(name+"_workload", time.Since(begun), 15*time.Second)
	n.assertServes(t)
}

// assertServes checks names, volumes, Services, NodePorts and exec.
func (n node) assertServes(t *testing.T) {
	t.Helper()
	n.answers(t, "-n", "smoke", "exec", "deploy/redis", "--", "redis-cli", "-h", "redis", "ping")
	n.answers(t, "-n", "smoke", "exec", "pg-0", "--", "env", "PGPASSWORD=smoke",
		"psql", "-h", "pg.smoke.svc.cluster.local", "-U", "postgres", "homelab_db", "-c", "select 1")
	assert.Equal(t, strings.TrimSpace(n.kubectl(t, "-n", "smoke", "exec", "deploy/redis", "--", "redis-cli", "-h", "redis", "ping")), "PONG")
	n.kubectl(t, "-n", "smoke", "exec", "pg-0", "--", "env", "PGPASSWORD=smoke",
		"psql", "-h", "pg.smoke.svc.cluster.local", "-U", "postgres", "homelab_db", "-c", "create table written (id int)")
	assert.Equal(t, n.kubectl(t, "-n", "smoke", "get", "pvc", "data-pg-0", "-o", "jsonpath={.status.phase} {.spec.storageClassName}"), "Bound local")

	for _, ask := range []func(context.Context) error{askRedis, askGit} {
		poll.WaitOn(t, func(poll.LogT) poll.Result {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := ask(ctx); err != nil {
				return poll.Continue("%v", err)
			}
			return poll.Success()
		}, poll.WithTimeout(time.Minute), poll.WithDelay(200*time.Millisecond))
	}
}

// askRedis asks Redis through the port of its Service on the node.
func askRedis(ctx context.Context) error {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", "127.0.0.1:30679")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	answer := make([]byte, 7)
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != "+PONG\r\n" {
		return fmt.Errorf("redis says %q", answer)
	}
	return nil
}

// askGit asks the git server through the port of its Service on the node.
func askGit(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:30680/smoke.git/info/refs?service=git-upload-pack", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("git says %s", response.Status)
	}
	return nil
}

// kill sends SIGKILL to the named process, or to all in no particular order.
func (n node) kill(t *testing.T, name string) {
	t.Helper()
	found, err := process.Find(n.state)
	assert.NilError(t, err)
	killed := 0
	for _, p := range found {
		if name == "" || p.Name == name {
			_ = syscall.Kill(p.PID, syscall.SIGKILL) // It may have gone with the one before.
			killed++
		}
	}
	assert.Assert(t, killed > 0, "nothing called %q runs", name)
}

func (n node) assertGone(t *testing.T) {
	t.Helper()
	found, err := process.Find(n.state)
	assert.NilError(t, err)
	assert.Equal(t, len(found), 0, "%v", found)
	_, err = os.Stat(n.state)
	assert.ErrorIs(t, err, os.ErrNotExist)
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*" + plan.Cgroup(n.state))
	assert.NilError(t, err)
	assert.Equal(t, len(cgroups), 0, "%v", cgroups)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	assert.NilError(t, err)
	assert.Check(t, !strings.Contains(string(mounts), n.state))
}

// TestNodeLeavesTheMachinesSettingsAlone holds what the kubelet would change.
func TestNodeLeavesTheMachinesSettingsAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("reason: a node needs root")
	}
	settings := func() (all string) {
		for _, name := range []string{"vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"} {
			text, err := os.ReadFile(filepath.Join("/proc/sys", name))
			assert.NilError(t, err)
			all += name + "=" + string(text)
		}
		return all
	}
	before := settings()
	n := newNode(t, "settings")
	n.call(t, "up")
	assert.Equal(t, settings(), before)
	inside := n.call(t, "exec", "--", "cat", "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward")
	assert.Equal(t, inside, "1\n1\n")
}

// TestControlPlane starts one, reads its audit log, and finds that it is not
// mistaken for a node.
func TestControlPlane(t *testing.T) {
	n := newNode(t, "plain")
	begun := time.Now()
	n.call(t, "up", "--mode", "control-plane", "--audit")
	figure("control_plane_up", time.Since(begun), 15*time.Second)
	n.kubectl(t, "create", "configmap", "audited")
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		text, err := os.ReadFile(filepath.Join(n.state, "log", "audit.log"))
		if err != nil || !strings.Contains(string(text), `"name":"audited"`) {
			return poll.Continue("not in the log: %v", err)
		}
		return poll.Success()
	}, poll.WithTimeout(10*time.Second))

	command := exec.CommandContext(t.Context(), n.program, n.arguments("up")...)
	said, err := command.CombinedOutput()
	assert.Assert(t, err != nil)
	assert.Check(t, strings.Contains(string(said), "control-plane"), string(said))
	n.call(t, "down")
	n.assertGone(t)
}

// TestBrokenOffStartIsSwept kills up itself halfway.
func TestBrokenOffStartIsSwept(t *testing.T) {
	n := newNode(t, "broken-"+strconv.Itoa(os.Getpid()))
	mode := []string{"--mode", "control-plane"}
	n.call(t, "up", mode...) // Builds what is missing.
	n.call(t, "down")
	cmd := exec.Command(n.program, n.arguments("up", mode...)...)
	assert.NilError(t, cmd.Start())
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		found, err := process.Find(n.state)
		for _, p := range found {
			if p.Name == "kube-apiserver" {
				return poll.Success()
			}
		}
		return poll.Continue("%v %v", found, err)
	}, poll.WithTimeout(20*time.Second), poll.WithDelay(10*time.Millisecond))
	assert.NilError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	n.call(t, "up", mode...)
	assert.Check(t, strings.Contains(n.call(t, "status"), "healthy"))
}
