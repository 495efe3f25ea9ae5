package gitrepotest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// SSHServer is an sshd of the machine, started with its own keys and
// configuration on a loopback port.
type SSHServer struct {
	// URL without a path.
	URL string
	// Addr is host:port.
	Addr string
	// Root is the folder of the repositories.
	Root string
	// KnownHosts are the lines for its host keys.
	KnownHosts string
	// Identity is a private key that may log in, in PEM.
	Identity []byte

	dir string
}

// NewSSH starts sshd. The test is skipped where there is none, except in CI.
// Host keys are made of the types that ssh-keygen knows, ed25519 when none is given.
func NewSSH(t testing.TB, hostKeys ...string) *SSHServer {
	t.Helper()
	sshd := "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("sshd is needed: %s", err)
		}
		t.Skipf("reason: no sshd on this machine: %s", err)
	}
	if len(hostKeys) == 0 {
		hostKeys = []string{"ed25519"}
	}
	s := &SSHServer{Root: t.TempDir(), dir: t.TempDir()}
	config := s.configure(t, hostKeys)
	if os.Getuid() == 0 {
		// sshd as root wants this folder for the part of it that has no rights.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), sshd, "-D", "-e", "-f", config)
	cmd.Stderr, cmd.Env = &log, append(os.Environ(), "LC_ALL=C")
	if err := cmd.Start(); err != nil {
		t.Fatalf("sshd: %s", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("sshd said: %s", log.String())
		}
	})
	s.await(t, ended)
	return s
}

func (s *SSHServer) configure(t testing.TB, hostKeys []string) string {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = freeAddr(t)
	s.URL = "ssh://" + me.Username + "@" + s.Addr
	_, port, _ := net.SplitHostPort(s.Addr)
	var lines []string
	for _, kind := range hostKeys {
		path := filepath.Join(s.dir, "host_"+kind)
		public := KeyPair(t, path, kind, "")
		lines = append(lines, "HostKey "+path)
		s.KnownHosts += fmt.Sprintf("[127.0.0.1]:%s %s\n", port, public)
	}
	authorized := KeyPair(t, filepath.Join(s.dir, "user"), "ed25519", "")
	if s.Identity, err = os.ReadFile(filepath.Join(s.dir, "user")); err != nil {
		t.Fatal(err)
	}
	s.write(t, "authorized_keys", authorized+"\n")
	lines = append(lines,
		"ListenAddress "+s.Addr, "PidFile none", "UsePAM no", "StrictModes no", "PasswordAuthentication no",
		"AuthorizedKeysFile "+filepath.Join(s.dir, "authorized_keys"),
		"SetEnv GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*",
	)
	return s.write(t, "sshd_config", strings.Join(lines, "\n")+"\n")
}

func (s *SSHServer) write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Authorize lets one more public key log in.
func (s *SSHServer) Authorize(t testing.TB, public string) {
	t.Helper()
	path := filepath.Join(s.dir, "authorized_keys")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "authorized_keys", string(before)+public+"\n")
}

// Repo makes an empty bare repository.
func (s *SSHServer) Repo(t testing.TB, name string) *Repo {
	t.Helper()
	path := filepath.Join(s.Root, name)
	return newRepo(t, s.URL+path, path)
}

func (s *SSHServer) await(t testing.TB, ended <-chan struct{}) {
	t.Helper()
	for range 200 {
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatal("sshd ended at once")
		case <-time.After(25 * time.Millisecond):
		}
	}
	t.Fatal("sshd does not listen")
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // It is gone in a moment.
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // Nothing was written.
	return l.Addr().String()
}

// KeyPair makes a key pair with ssh-keygen and returns the public line. The
// private key is in the file path; kind may carry a size as in "rsa:2048".
func KeyPair(t testing.TB, path, kind, passphrase string) string {
	t.Helper()
	kind, bits, _ := strings.Cut(kind, ":")
	args := []string{"-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path}
	if bits != "" {
		args = append(args, "-b", bits)
	}
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %s\n%s", err, out)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(public))
}
