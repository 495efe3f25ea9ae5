package process_test

import (
	"context"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/test/cluster/process"
)

// sleeper starts a process with the environment, and collects it when it ends.
func sleeper(t *testing.T, environment []string) (pid int, ended <-chan struct{}) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.Env = environment
	assert.NilError(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return cmd.Process.Pid, done
}

// find waits until the cluster has so many processes: the kernel shows a
// process's environment a moment after its start.
func find(t *testing.T, state string, count int) []process.Process {
	t.Helper()
	var found []process.Process
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		var err error
		if found, err = process.Find(state); err != nil {
			return poll.Error(err)
		}
		if len(found) != count {
			return poll.Continue("%d processes", len(found))
		}
		return poll.Success()
	}, poll.WithTimeout(10*time.Second), poll.WithDelay(5*time.Millisecond))
	return found
}

func TestFindSeesTheProcessesOfOneClusterOnly(t *testing.T) {
	mine, other := t.TempDir(), t.TempDir()
	pid, _ := sleeper(t, process.Mark(mine, "sleep"))
	sleeper(t, process.Mark(other, "sleep"))
	sleeper(t, nil)

	found := find(t, mine, 1)
	assert.Equal(t, found[0].PID, pid)
	assert.Equal(t, found[0].Name, "sleep")
	assert.Equal(t, found[0].Command, "sleep")
	assert.Check(t, found[0].Own())
}

func TestHelpersOfAComponentAreNotTheComponent(t *testing.T) {
	assert.Check(t, !process.Process{Name: "containerd", Command: "containerd-shim-runc-v2"}.Own())
	assert.Check(t, process.Process{Name: "relay-api", Command: "cluster"}.Own())
}

func TestKillAllEndsTheClusterAndNothingElse(t *testing.T) {
	mine, other := t.TempDir(), t.TempDir()
	sleeper(t, process.Mark(mine, "etcd"))
	sleeper(t, process.Mark(mine, "kubelet"))
	sleeper(t, process.Mark(other, "etcd"))
	find(t, mine, 2)

	killed, err := process.KillAll(t.Context(), mine)
	assert.NilError(t, err)
	assert.Equal(t, killed, 2)
	find(t, mine, 0)
	find(t, other, 1)
}

func TestKillAllHasNothingToDoWhereNothingRuns(t *testing.T) {
	killed, err := process.KillAll(t.Context(), t.TempDir())
	assert.NilError(t, err)
	assert.Equal(t, killed, 0)
}

func TestKillAllCountsAZombieAsEnded(t *testing.T) {
	state := t.TempDir()
	// Nobody waits for this one until the test is over.
	cmd := exec.Command("sleep", "60")
	cmd.Env = process.Mark(state, "etcd")
	assert.NilError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	find(t, state, 1)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := process.KillAll(ctx, state)
	assert.NilError(t, err)
	assert.NilError(t, syscall.Kill(cmd.Process.Pid, 0), "the zombie was collected by somebody else")
}
