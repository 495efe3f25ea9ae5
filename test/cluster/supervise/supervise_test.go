package supervise_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/test/cluster/pki"
	"github.com/lockstep-gitops/lockstep/test/cluster/process"
	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

func state(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	assert.NilError(t, os.Mkdir(filepath.Join(dir, "log"), 0o755))
	return dir
}

// run carries out the plan until stop is called, which returns Run's result.
func run(t *testing.T, plan supervise.Plan) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- supervise.Run(ctx, plan) }()
	t.Cleanup(func() {
		cancel()
		_, err := process.KillAll(context.Background(), plan.State)
		assert.NilError(t, err)
	})
	return func() error {
		cancel()
		return <-done
	}
}

// script is a component that runs shell commands in the state folder.
func script(name, commands string) supervise.Component {
	return supervise.Component{Name: name, Args: []string{"/bin/sh", "-c", commands}}
}

func waitForFile(t *testing.T, path, content string) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		text, err := os.ReadFile(path)
		if err == nil && string(text) == content {
			return poll.Success()
		}
		return poll.Continue("%s: %q, %v", path, text, err)
	}, poll.WithTimeout(20*time.Second), poll.WithDelay(10*time.Millisecond))
}

func TestComponentThatEndsIsStartedAgain(t *testing.T) {
	dir := state(t)
	stop := run(t, supervise.Plan{State: dir, Processes: []supervise.Component{
		script("etcd", "echo x >> starts; [ $(wc -l < starts) = 2 ] && exec sleep 60"),
	}})
	waitForFile(t, filepath.Join(dir, "starts"), "x\nx\n")
	assert.NilError(t, stop())
}

func TestComponentThatKeepsFailingEndsTheCluster(t *testing.T) {
	dir := state(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- supervise.Run(ctx, supervise.Plan{State: dir, Processes: []supervise.Component{
			script("etcd", "echo the disk is full; exit 3"),
		}})
	}()
	err := <-done
	assert.ErrorContains(t, err, "etcd ended 5 times in a row, the last time with exit status 3")
	assert.ErrorContains(t, err, "the disk is full")
}

// TestMain lets a test run a supervisor in a process of its own.
func TestMain(m *testing.M) {
	if text := os.Getenv(planVariable); text != "" {
		var plan supervise.Plan
		if err := json.Unmarshal([]byte(text), &plan); err != nil {
			log.Fatal(err)
		}
		log.Fatal(supervise.Run(context.Background(), plan))
	}
	os.Exit(m.Run())
}

const planVariable = "SUPERVISE_TEST_PLAN"

// The supervisor is killed as a process, not stopped as a function: the kernel
// sends the death signal when the thread that started the component ends, and
// the runtime parks its first thread instead of ending it.
func TestComponentsEndWithTheSupervisor(t *testing.T) {
	dir := state(t)
	plan, err := json.Marshal(supervise.Plan{State: dir, Processes: []supervise.Component{
		script("etcd", "exec sleep 60"),
	}})
	assert.NilError(t, err)
	self, err := os.Executable()
	assert.NilError(t, err)
	supervisor := exec.CommandContext(t.Context(), self)
	supervisor.Env = append(os.Environ(), planVariable+"="+string(plan))
	supervisor.Stderr = t.Output()
	assert.NilError(t, supervisor.Start())
	t.Cleanup(func() {
		_, err := process.KillAll(context.Background(), dir)
		assert.NilError(t, err)
	})
	waitForComponents(t, dir, 1)
	assert.NilError(t, supervisor.Process.Kill())
	assert.ErrorContains(t, supervisor.Wait(), "killed")
	waitForComponents(t, dir, 0)
}

func waitForComponents(t *testing.T, dir string, count int) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		found, err := process.Find(dir)
		if err != nil || len(found) != count {
			return poll.Continue("%v %v", found, err)
		}
		return poll.Success()
	}, poll.WithTimeout(20*time.Second), poll.WithDelay(10*time.Millisecond))
}

func TestComponentsWaitForTheAPIServerWhereTheyMust(t *testing.T) {
	dir := state(t)
	var ready atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	late := script("kubelet", "echo started > kubelet; exec sleep 60")
	late.AfterAPI = true
	stop := run(t, supervise.Plan{State: dir, Ready: probe(t, server), Processes: []supervise.Component{
		script("etcd", "echo started > etcd; exec sleep 60"), late,
	}})
	waitForFile(t, filepath.Join(dir, "etcd"), "started\n")
	_, err := os.Stat(filepath.Join(dir, "kubelet"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	ready.Store(true)
	waitForFile(t, filepath.Join(dir, "kubelet"), "started\n")
	assert.NilError(t, stop())
}

func probe(t *testing.T, server *httptest.Server) supervise.Probe {
	t.Helper()
	authority, err := pki.NewAuthority("test", time.Now())
	assert.NilError(t, err)
	pair, err := authority.Client("admin")
	assert.NilError(t, err)
	return supervise.Probe{
		URL:         server.URL,
		Authority:   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		Certificate: string(pair.Certificate),
		Key:         string(pair.Key),
	}
}

func TestEnvironmentLeavesTheCallersOut(t *testing.T) {
	t.Setenv("KUBECONFIG", "/somebody/else")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	environment := strings.Join(supervise.Environment("/state", "etcd"), "\n")
	assert.Check(t, !strings.Contains(environment, "KUBECONFIG"))
	assert.Check(t, !strings.Contains(environment, "hunter2"))
	assert.Check(t, strings.Contains(environment, "PATH=/usr/local/sbin:"))
}

func TestHiddenFolders(t *testing.T) {
	for path, want := range map[string]string{
		"/run":                "/run",
		"/run/user/0/cluster": "/run",
		"/var/log/cluster":    "/var/log",
		"/var/lib/kubelet/x":  "/var/lib/kubelet",
		"/var/lib/lockstep":   "",
		"/running/cluster":    "",
		"/home/me/state/run":  "",
	} {
		got, hidden := supervise.Hidden(path)
		assert.Equal(t, got, want, path)
		assert.Equal(t, hidden, want != "", path)
	}
}

func TestTailIsTheEndOfALog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	assert.Equal(t, supervise.Tail(file), "")
	assert.NilError(t, os.WriteFile(file, []byte("short\n"), 0o600))
	assert.Equal(t, supervise.Tail(file), "short")
	assert.NilError(t, os.WriteFile(file, []byte(strings.Repeat("a line\n", 10000)+"the last\n"), 0o600))
	assert.Check(t, strings.HasSuffix(supervise.Tail(file), "a line\nthe last"))
	assert.Check(t, len(supervise.Tail(file)) <= 4096)
}
