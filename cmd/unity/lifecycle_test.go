package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/poll"
)

func countConnections(n *atomic.Int64) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, _ net.Conn) context.Context {
		n.Add(1)
		return ctx
	}
}

func TestWhileDrainingRequestsAreServedAndConnectionsLetGo(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	listener, err := listen(t.Context(), "127.0.0.1:0")
	assert.NilError(t, err)
	begun, finish := make(chan struct{}), make(chan struct{})
	handler := http.NewServeMux()
	handler.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	handler.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "in the end")
	})
	ended := make(chan error, 1)
	l := lifecycle{handler: handler, drain: 2 * time.Second, log: slog.New(slog.DiscardHandler)}
	go func() { ended <- l.run(ctx, listener) }()
	url := "http://" + listener.Addr().String()

	answer := request(t, http.MethodGet, url+"/", "")
	assert.Assert(t, !answer.last)
	slow := make(chan string, 1)
	go func() {
		answer, err := fetch(t.Context(), http.MethodGet, url+"/slow", "")
		slow <- fmt.Sprint(answer.text, err)
	}()
	<-begun

	stop()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		answer := request(t, http.MethodGet, url+"/", "")
		assert.Equal(t, answer.text, "served")
		if answer.last {
			return poll.Success()
		}
		return poll.Continue("not draining yet")
	}, poll.WithDelay(time.Millisecond), poll.WithTimeout(1900*time.Millisecond))

	// The port closes when the drain is over; what was begun is finished.
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		connection, err := net.DialTimeout("tcp", listener.Addr().String(), time.Second)
		if err != nil {
			return poll.Success()
		}
		return poll.Continue("still open: %v", connection.Close())
	}, poll.WithDelay(10*time.Millisecond), poll.WithTimeout(10*time.Second))
	close(finish)
	assert.Equal(t, <-slow, "in the end<nil>")
	assert.NilError(t, <-ended)
}

// The image is built this way, and Kubernetes stops it this way.
func TestTheProgramIsStoppedWithoutALostRequest(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "unity")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.generation=2", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	assert.NilError(t, err, string(output))

	database := shared.Server(t).Database(t)
	newUnity(t, "2", environment(database)).migrate(t, 2)
	var log logBuffer
	program := exec.CommandContext(t.Context(), binary, "--address", "127.0.0.1:0")
	program.Stderr = &log
	program.Env = []string{"DRAIN=2s"}
	for name, value := range environment(database) {
		program.Env = append(program.Env, name+"="+value)
	}
	assert.NilError(t, program.Start())
	url := "http://" + servingAddress(t, &log)
	assert.Assert(t, cmp.Contains(request(t, http.MethodGet, url+"/", "").text, `"version":"v2"`))
	assert.Equal(t, request(t, http.MethodGet, url+"/ready", "").status, http.StatusOK)

	assert.NilError(t, program.Process.Signal(syscall.SIGTERM))
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		users := request(t, http.MethodGet, url+"/api/users", "")
		assert.Equal(t, users.status, http.StatusOK, users.text)
		if ready := request(t, http.MethodGet, url+"/ready", ""); ready.status != http.StatusServiceUnavailable {
			return poll.Continue("still ready")
		}
		return poll.Success()
	}, poll.WithDelay(time.Millisecond), poll.WithTimeout(1900*time.Millisecond))
	assert.NilError(t, program.Wait())
	assert.Assert(t, cmp.Contains(log.String(), `"msg":"stopped"`))
	assert.Assert(t, !strings.Contains(log.String(), database.Password))
}

// servingAddress waits for the program to say where it listens.
func servingAddress(t *testing.T, log *logBuffer) string {
	t.Helper()
	var entry struct{ Msg, Address string }
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		for line := range strings.Lines(log.String()) {
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				return poll.Success()
			}
		}
		return poll.Continue("not serving yet: %s", log)
	}, poll.WithDelay(10*time.Millisecond), poll.WithTimeout(20*time.Second))
	return entry.Address
}

func TestAMissingVariableEndsTheProgram(t *testing.T) {
	var log logBuffer
	code := execute(t.Context(), []string{"serve"}, process{getenv: getenv(nil), stdout: &log, stderr: &log})
	assert.Equal(t, code, 1)
	assert.Assert(t, cmp.Contains(log.String(), "DB_HOST is required"))
}
