package process

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"gotest.tools/v3/assert"
)

func TestParseStat(t *testing.T) {
	rest := " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20"
	for name, line := range map[string]string{
		"a plain command":                             "7 (etcd) S" + rest,
		"a command with a space and a parenthesis":    "7 (a b) c) S" + rest,
		"a command that looks like the fields itself": "7 (x) R 9 9) S" + rest,
	} {
		t.Run(name, func(t *testing.T) {
			state, start, err := parseStat([]byte(line))
			assert.NilError(t, err)
			assert.Equal(t, state, byte('S'))
			assert.Equal(t, start, uint64(4242))
		})
	}
	_, _, err := parseStat([]byte("7 (etcd) S 1 2"))
	assert.ErrorContains(t, err, "stat line")
	_, _, err = parseStat(nil)
	assert.ErrorContains(t, err, "stat line")
}

func TestMarked(t *testing.T) {
	environment := func(entries ...string) []byte { return []byte(strings.Join(entries, "\x00") + "\x00") }
	for name, c := range map[string]struct {
		environ []byte
		name    string
		mine    bool
	}{
		"a process of the cluster":   {environment("A=b", stateVariable+"=/s", nameVariable+"=etcd"), "etcd", true},
		"one of another cluster":     {environment(stateVariable+"=/s2", nameVariable+"=etcd"), "etcd", false},
		"one without a mark":         {environment("PATH=/bin"), "", false},
		"one with half a mark":       {environment(stateVariable + "=/s"), "", false},
		"one that shows nothing yet": {nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, mine := marked(c.environ, "/s")
			assert.Equal(t, got, c.name)
			assert.Equal(t, mine, c.mine)
		})
	}
}

func TestKillSparesAProcessThatWasGivenTheNumberLater(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	assert.NilError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	former := Process{PID: cmd.Process.Pid, Name: "etcd", start: 1}
	assert.Check(t, former.ended())
	assert.NilError(t, former.Kill())

	var status syscall.WaitStatus
	pid, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WNOHANG, nil)
	assert.NilError(t, err)
	assert.Equal(t, pid, 0, "the process has ended: %v", status)
}
