package main

import (
	"bytes"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/process"
)

// home gives the test a home folder of its own, and returns it.
func home(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	assert.NilError(t, err)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	return dir
}

// call runs the program and returns its exit code and both outputs.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestWrongCommandLinesSayWhatIsRight(t *testing.T) {
	home(t)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no command":               {nil, 2, "Usage:"},
		"an unknown command":       {[]string{"start"}, 2, `there is no command "start"`},
		"an unknown flag":          {[]string{"up", "--nodes", "3"}, 2, "flag provided but not defined"},
		"an impossible name":       {[]string{"up", "--name", "A/B"}, 2, "lower case letters"},
		"an unknown mode":          {[]string{"up", "--mode", "cloud"}, 2, `use "node" or "control-plane"`},
		"a relay that is no port":  {[]string{"up", "--relay", "http"}, 2, "neither PORT nor LOCAL:PORT"},
		"a relay without a node":   {[]string{"up", "--mode", "control-plane", "--relay", "30800"}, 2, "has no node"},
		"an unknown proxy mode":    {[]string{"up", "--proxy-mode", "ipvs"}, 2, "nftables or iptables"},
		"a hidden state folder":    {[]string{"up", "--state", "/run/cluster"}, 2, "choose another folder"},
		"an argument too many":     {[]string{"down", "now"}, 2, `unexpected argument "now"`},
		"no archive":               {[]string{"load"}, 2, "name the image archives"},
		"an image without a file":  {[]string{"image", "redis"}, 2, "--out FILE"},
		"an unknown image":         {[]string{"image", "mysql", "--out", "x"}, 2, "use pause, postgres, redis or git"},
		"a binary without a name":  {[]string{"image", "--binary", "x", "--out", "y"}, 2, "--name REF"},
		"a cluster that is not up": {[]string{"kubeconfig"}, 1, "is not up"},
		"status of the same":       {[]string{"status"}, 1, "run go run ./test/cluster up"},
		"exec in the same":         {[]string{"exec", "--", "true"}, 1, "is not up"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, c.args...)
			assert.Equal(t, code, c.code)
			assert.Equal(t, stdout, "")
			assert.Assert(t, strings.Contains(stderr, c.want), stderr)
		})
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"up", "--help"}, {"image", "-h"}} {
		code, stdout, stderr := call(t, args...)
		assert.Equal(t, code, 0)
		assert.Check(t, strings.HasPrefix(stdout, "Usage:"))
		assert.Equal(t, stderr, "")
	}
}

func TestOptionsHaveDefaultsFromTheHomeFolder(t *testing.T) {
	dir := home(t)
	o, rest, err := parseOptions("up", []string{"--relay", "30800", "--relay", "8443:30443"})
	assert.NilError(t, err)
	assert.Equal(t, len(rest), 0)
	assert.Equal(t, o.name, "lockstep")
	assert.Equal(t, o.mode, plan.Node)
	assert.Equal(t, o.state, filepath.Join(dir, ".local/state/lockstep/cluster/lockstep"))
	assert.Equal(t, len(o.relays), 2)
	assert.Equal(t, o.relays[0], relayPorts{local: 30800, node: 30800})
	assert.Equal(t, o.relays[1], relayPorts{local: 8443, node: 30443})

	_, _, err = parseOptions("up", []string{"-h"})
	assert.ErrorIs(t, err, flag.ErrHelp)
}

func TestStateFolderIsKnownByOnePath(t *testing.T) {
	dir := home(t)
	assert.NilError(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	assert.NilError(t, os.Symlink("real", filepath.Join(dir, "link")))
	o, _, err := parseOptions("down", []string{"--state", filepath.Join(dir, "link", "new", "cluster")})
	assert.NilError(t, err)
	assert.Equal(t, o.state, filepath.Join(dir, "real", "new", "cluster"))
}

func TestRelayIsKnownByItsProcess(t *testing.T) {
	ports := relayPorts{local: 8443, node: 30443}
	got, ok := relayOf(ports.process())
	assert.Assert(t, ok)
	assert.Equal(t, got, ports)
	for _, name := range []string{"relay-api", "kubelet", process.Supervisor} {
		_, ok := relayOf(name)
		assert.Check(t, !ok, name)
	}
}

func TestTakenPortIsToldBeforeTheStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	err = portsFree(options{relays: []relayPorts{{local: port, node: 30800}}})
	assert.ErrorContains(t, err, "relay to NodePort 30800")
	assert.ErrorContains(t, err, "--relay LOCAL:30800")
}

func TestImportedReadsWhatCtrSays(t *testing.T) {
	assert.Equal(t, imported("unpacking example.test/a:1 (sha256:12)...done\nunpacking example.test/b:2 (sha256:34)...done\n"),
		"example.test/a:1, example.test/b:2")
	assert.Equal(t, imported(""), "")
}

func TestMountsBelow(t *testing.T) {
	points, err := mountsBelow(strings.NewReader(`24 1 0:1 / / rw - ext4 /dev/vda rw
30 24 0:2 / /state/a/kubelet/pods/1 rw - tmpfs tmpfs rw
31 30 0:3 / /state/a/kubelet/pods/1/in\040ner rw - tmpfs tmpfs rw
32 24 0:4 / /state/ab rw - tmpfs tmpfs rw
33 24 0:5 / /state/a rw - tmpfs tmpfs rw
`), "/state/a")
	assert.NilError(t, err)
	assert.DeepEqual(t, points, []string{"/state/a/kubelet/pods/1", "/state/a/kubelet/pods/1/in ner"})
}

func TestForeignFolderIsNeitherUsedNorRemoved(t *testing.T) {
	dir := home(t)
	file := filepath.Join(dir, "thesis")
	assert.NilError(t, os.WriteFile(file, []byte("years of work"), 0o600))
	assert.ErrorContains(t, claimable(options{state: dir}), "holds other things")
	code, _, stderr := call(t, "down", "--state", dir)
	assert.Equal(t, code, 0, stderr)
	_, err := os.Stat(file)
	assert.NilError(t, err)
}

func TestEmptyAndOwnFoldersAreClaimable(t *testing.T) {
	o := options{name: "test", mode: plan.ControlPlane, state: filepath.Join(t.TempDir(), "new")}
	assert.NilError(t, claimable(o))
	assert.NilError(t, os.Mkdir(o.state, 0o755))
	assert.NilError(t, claimable(o))
	assert.NilError(t, claim(o))
	assert.NilError(t, claimable(o))
	r, err := loadRecord(o)
	assert.NilError(t, err)
	assert.Equal(t, r.Mode, plan.ControlPlane)
	info, err := os.Stat(filepath.Join(o.state, recordFile))
	assert.NilError(t, err)
	assert.Equal(t, info.Mode().Perm(), os.FileMode(0o600), "the record holds a private key")
}

func TestDownSweepsWhatAKilledRunHasLeft(t *testing.T) {
	dir := home(t)
	o := options{name: "test", mode: plan.ControlPlane, state: filepath.Join(dir, "state")}
	assert.NilError(t, claim(o))
	cmd := exec.Command("sleep", "60")
	cmd.Env = process.Mark(o.state, "etcd")
	assert.NilError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	code, stdout, stderr := call(t, "down", "--name", "test", "--state", o.state)
	assert.Equal(t, code, 0, stderr)
	assert.Equal(t, stdout, "cluster test is down: nothing of it is left\n")
	assert.ErrorContains(t, <-ended, "killed")
	_, err := os.Stat(o.state)
	assert.ErrorIs(t, err, os.ErrNotExist)

	code, _, stderr = call(t, "down", "--name", "test", "--state", o.state)
	assert.Equal(t, code, 0, "a second time: %s", stderr)
}

func TestBrokenRecordNamesTheWayOut(t *testing.T) {
	o := options{name: "test", state: t.TempDir()}
	assert.NilError(t, os.WriteFile(filepath.Join(o.state, recordFile), []byte("{"), 0o600))
	_, err := loadRecord(o)
	assert.ErrorContains(t, err, "run down, then up")
	assert.Assert(t, !errors.Is(err, errDown))
}
