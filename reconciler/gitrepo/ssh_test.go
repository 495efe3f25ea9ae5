package gitrepo_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

func sshLogin(server *gitrepotest.SSHServer, repo *gitrepotest.Repo) reconciler.Repository {
	r := at(repo, "main")
	r.Credentials = reconciler.Secret{"identity": server.Identity, "known_hosts": []byte(server.KnownHosts)}
	return r
}

func TestSSHIsPolledAndFetched(t *testing.T) {
	server := gitrepotest.NewSSH(t, "ed25519", "rsa", "ecdsa")
	origin := server.Repo(t, "it's an app!.git")
	origin.Commit("main", map[string]string{"file": "one", "big": noise("big", 100_000)})
	repo := sshLogin(server, origin)
	repo.URL = strings.ReplaceAll(repo.URL, " ", "%20")
	store := newStore(t)

	_, tree := poll(t, store, repo)
	assert.Equal(t, content(t, tree, "file"), "one")
	origin.Commit("main", map[string]string{"file": "two", "big": noise("big", 100_000)})
	_, tree = poll(t, store, repo)
	assert.Equal(t, content(t, tree, "file"), "two")
	assert.Equal(t, content(t, tree, "big"), noise("big", 100_000))
}

func TestSSHKeys(t *testing.T) {
	server := gitrepotest.NewSSH(t)
	origin := server.Repo(t, "app.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	for name, test := range map[string]struct{ kind, passphrase string }{
		"ed25519":           {"ed25519", ""},
		"rsa":               {"rsa:2048", ""},
		"ecdsa":             {"ecdsa", ""},
		"ed25519 encrypted": {"ed25519", "open sesame"},
		"rsa encrypted":     {"rsa:2048", "open sesame"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			server.Authorize(t, gitrepotest.KeyPair(t, path, test.kind, test.passphrase))
			identity, err := os.ReadFile(path)
			assert.NilError(t, err)
			repo := sshLogin(server, origin)
			repo.Credentials["identity"] = identity
			if test.passphrase != "" {
				_, err = tipOf(t.Context(), newStore(t), repo)
				isFailure(t, err, gitrepo.ReasonCredentialsInvalid, "the key identity is encrypted: put its password under password")
				repo.Credentials["password"] = []byte(test.passphrase + "\n")
			}
			tip, err := tipOf(t.Context(), newStore(t), repo)
			assert.NilError(t, err)
			assert.Equal(t, tip, want)
		})
	}
}

// G17, S10: a server must show a key that known_hosts has.
func TestG17HostKeyIsChecked(t *testing.T) {
	server := gitrepotest.NewSSH(t)
	origin := server.Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	host, port, _ := net.SplitHostPort(server.Addr)
	other := gitrepotest.KeyPair(t, filepath.Join(t.TempDir(), "other"), "ed25519", "")
	rsa := gitrepotest.KeyPair(t, filepath.Join(t.TempDir(), "rsa"), "rsa:2048", "")
	for name, test := range map[string]struct{ knownHosts, reason, text string }{
		"no known_hosts":              {"", gitrepo.ReasonCredentialsInvalid, "has no key known_hosts"},
		"only a comment":              {"# nothing\n", gitrepo.ReasonHostKeyMismatch, "has no key of this host; add the lines of `ssh-keyscan"},
		"another host":                {"example.org " + other + "\n", gitrepo.ReasonHostKeyMismatch, "has no key of this host"},
		"another key of the host":     {"[" + host + "]:" + port + " " + other + "\n", gitrepo.ReasonHostKeyMismatch, "it showed the host key SHA256:"},
		"another type of key":         {"[" + host + "]:" + port + " " + rsa + "\n", gitrepo.ReasonHostKeyMismatch, "no common algorithm for host key"},
		"the key is marked revoked":   {"@revoked " + server.KnownHosts, gitrepo.ReasonHostKeyMismatch, ""},
		"lines that cannot be parsed": {"[" + host + "]:" + port + " ssh-ed25519 AAAAnonsense\n", gitrepo.ReasonCredentialsInvalid, "the key known_hosts cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := sshLogin(server, origin)
			repo.Credentials["known_hosts"] = []byte(test.knownHosts)
			_, err := tipOf(t.Context(), newStore(t), repo)
			isFailure(t, err, test.reason, test.text)
		})
	}
}

// A server with several host keys shows the one that known_hosts has.
func TestG17HostKeyAlgorithmFollowsKnownHosts(t *testing.T) {
	server := gitrepotest.NewSSH(t, "ed25519", "ecdsa", "rsa")
	origin := server.Repo(t, "app.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	for line := range strings.SplitSeq(strings.TrimSpace(server.KnownHosts), "\n") {
		repo := sshLogin(server, origin)
		repo.Credentials["known_hosts"] = []byte(line + "\n")
		tip, err := tipOf(t.Context(), newStore(t), repo)
		assert.NilError(t, err, "with only %s", strings.Fields(line)[1])
		assert.Equal(t, tip, want)
	}
}

func TestSSHErrors(t *testing.T) {
	server := gitrepotest.NewSSH(t)
	origin := server.Repo(t, "app.git")
	empty := server.Repo(t, "empty.git")
	origin.Commit("main", map[string]string{"file": "one"})
	stranger := filepath.Join(t.TempDir(), "stranger")
	gitrepotest.KeyPair(t, stranger, "ed25519", "")
	strange, err := os.ReadFile(stranger)
	assert.NilError(t, err)
	for name, test := range map[string]struct {
		change       func(*reconciler.Repository)
		reason, text string
	}{
		"a key that may not log in": {func(r *reconciler.Repository) { r.Credentials["identity"] = strange }, gitrepo.ReasonAuthenticationFailed, "check that the server knows the public key of identity"},
		"no key":                    {func(r *reconciler.Repository) { delete(r.Credentials, "identity") }, gitrepo.ReasonCredentialsInvalid, "has no key identity"},
		"a key that is none":        {func(r *reconciler.Repository) { r.Credentials["identity"] = []byte("canary") }, gitrepo.ReasonCredentialsInvalid, "the key identity holds no private SSH key in PEM"},
		"no credentials":            {func(r *reconciler.Repository) { r.Credentials = nil }, gitrepo.ReasonCredentialsInvalid, "an ssh URL needs spec.source.secretRef"},
		"a repository that is not":  {func(r *reconciler.Repository) { r.URL += "x" }, gitrepo.ReasonRepositoryNotFound, "check spec.source.url and whether the credentials may read it"},
		"an empty repository":       {func(r *reconciler.Repository) { r.URL = empty.URL }, gitrepo.ReasonEmptyRepository, "waiting for the first commit"},
		"a branch that is not":      {func(r *reconciler.Repository) { r.Branch = "gone" }, gitrepo.ReasonBranchMissing, "branch gone is not on the server"},
	} {
		t.Run(name, func(t *testing.T) {
			repo := sshLogin(server, origin)
			test.change(&repo)
			_, err := tipOf(t.Context(), newStore(t), repo)
			isFailure(t, err, test.reason, test.text)
		})
	}
}

// G7: an SSH server that accepts and says nothing, before or after its
// greeting, is left when the time is up. Over SSH the handshake counts too.
func TestG7SilentSSHServer(t *testing.T) {
	for name, greeting := range map[string]string{"nothing at all": "", "a greeting and then nothing": "SSH-2.0-silent\r\n"} {
		t.Run(name, func(t *testing.T) {
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			assert.NilError(t, err)
			defer func() { _ = listener.Close() }() // The test is over.
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(greeting))
					defer func() { _ = conn.Close() }() // The test is over.
				}
			}()
			dir := t.TempDir()
			public := gitrepotest.KeyPair(t, filepath.Join(dir, "key"), "ed25519", "")
			identity, err := os.ReadFile(filepath.Join(dir, "key"))
			assert.NilError(t, err)
			_, port, _ := net.SplitHostPort(listener.Addr().String())
			repo := reconciler.Repository{URL: "ssh://git@" + listener.Addr().String() + "/app.git", Reference: reconciler.Reference{Branch: "main"}, Credentials: reconciler.Secret{
				"identity": identity, "known_hosts": []byte("[127.0.0.1]:" + port + " " + public + "\n"),
			}}
			store := newStore(t, func(o *gitrepo.Options) { o.Timeout = 300 * time.Millisecond })
			start := time.Now()
			_, err = tipOf(t.Context(), store, repo)
			isFailure(t, err, gitrepo.ReasonTimeout, "")
			assert.Assert(t, time.Since(start) < 5*time.Second)
		})
	}
}

// A pass that is called off does not wait for the server.
func TestSSHCancelled(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	defer func() { _ = listener.Close() }() // The test is over.
	dir := t.TempDir()
	public := gitrepotest.KeyPair(t, filepath.Join(dir, "key"), "ed25519", "")
	identity, err := os.ReadFile(filepath.Join(dir, "key"))
	assert.NilError(t, err)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := listener.Accept(); err == nil {
			cancel()
			_, _ = conn.Read(make([]byte, 1<<10))
		}
	}()
	_, err = tipOf(ctx, newStore(t), reconciler.Repository{URL: "ssh://git@" + listener.Addr().String() + "/app.git", Reference: reconciler.Reference{Branch: "main"}, Credentials: reconciler.Secret{
		"identity": identity, "known_hosts": []byte("[127.0.0.1]:" + port + " " + public + "\n"),
	}})
	assert.ErrorIs(t, err, context.Canceled)
}
