package gitrepo_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// signer makes signatures with the programs that people use.
type signer struct {
	t *testing.T
	// home holds the keys of gpg and ssh-keygen.
	home string
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil && os.Getenv("CI") == "" {
		t.Skipf("reason: signatures are made with gpg: %s", err)
	}
	// gpg-agent makes a socket there, whose path must be short.
	home, err := os.MkdirTemp("", "gpg") //nolint:usetesting // The path of t.TempDir is too long for the socket.
	assert.NilError(t, err)
	s := &signer{t, home}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // The context of the test has ended.
		assert.Check(t, os.RemoveAll(home))
	})
	return s
}

// run runs a program with its keys in home, now or at a time that gpg takes for now.
func (s *signer) run(name string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Env = append(gitrepotest.Env(), "GNUPGHOME="+s.home, "HOME="+s.home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	assert.NilError(s.t, err, "%s %q: %s", name, args, stderr.String())
	return strings.TrimSpace(string(out))
}

// pgp makes a key pair and returns its fingerprint and the public key.
func (s *signer) pgp(user, algorithm, expire string, more ...string) (fingerprint, public string) {
	s.t.Helper()
	args := append([]string{"--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, more...)
	s.run("gpg", append(args, "--quick-generate-key", user, algorithm, "sign", expire)...)
	for line := range strings.SplitSeq(s.run("gpg", "--batch", "--with-colons", "--list-keys", user), "\n") {
		if strings.HasPrefix(line, "fpr:") {
			fingerprint = strings.Split(line, ":")[9]
		}
	}
	return fingerprint, s.run("gpg", "--batch", "--armor", "--export", fingerprint)
}

// ssh makes a key pair and returns the file of the private key and the public line.
func (s *signer) ssh(name, kind string) (path, public string) {
	s.t.Helper()
	path = filepath.Join(s.home, name)
	return path, gitrepotest.KeyPair(s.t, path, kind, "")
}

func fingerprintOf(t *testing.T, public string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pub")
	assert.NilError(t, os.WriteFile(path, []byte(public), 0o600))
	out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-l", "-f", path).Output()
	assert.NilError(t, err)
	return strings.Fields(string(out))[1]
}

// commit makes a commit with git itself and pushes it. Configuration says how it is signed.
func (s *signer) commit(origin *gitrepotest.Repo, text string, config ...string) string {
	s.t.Helper()
	dir := origin.Clone()
	args := []string{"-C", dir}
	for _, c := range config {
		args = append(args, "-c", c)
	}
	s.run("git", append(args, "commit", "--quiet", "--allow-empty", "--message", text)...)
	s.run("git", "-C", dir, "push", "--quiet", "origin", "HEAD:refs/heads/main")
	return origin.Git("rev-parse", "main")
}

func (s *signer) byPGP(key string) []string {
	return []string{"commit.gpgSign=true", "tag.gpgSign=true", "user.signingKey=" + key}
}

func (s *signer) bySSH(path string) []string {
	return []string{"commit.gpgSign=true", "tag.gpgSign=true", "gpg.format=ssh", "user.signingKey=" + path}
}

func secret(values ...string) reconciler.Secret {
	secret := reconciler.Secret{}
	for i, value := range values {
		secret[fmt.Sprintf("key%d", i)] = []byte(value)
	}
	return secret
}

// S6: who signed what, with which keys trusted.
func TestS6SignedCommits(t *testing.T) {
	s := newSigner(t)
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	ada, adaKey := s.pgp("Ada <ada@example.org>", "ed25519", "never")
	bob, bobKey := s.pgp("Bob <bob@example.org>", "rsa2048", "never")
	// A day and a bit ago there was a key for a day.
	old, oldKey := s.pgp("Old <old@example.org>", "ed25519", "1d", "--faked-system-time", "20240101T000000")
	eve, evePublic := s.ssh("eve", "ed25519")
	rsa, rsaPublic := s.ssh("rsa", "rsa:2048")
	ecdsa, ecdsaPublic := s.ssh("ecdsa", "ecdsa")
	oldGPG := filepath.Join(s.home, "gpg-2024")
	assert.NilError(t, os.WriteFile(oldGPG, []byte("#!/bin/sh\nexec gpg --faked-system-time 20240101T000100 \"$@\"\n"), 0o700))
	weakGPG := filepath.Join(s.home, "gpg-sha1")
	assert.NilError(t, os.WriteFile(weakGPG, []byte("#!/bin/sh\nexec gpg --digest-algo SHA1 --allow-weak-digest-algos \"$@\"\n"), 0o700))

	for name, test := range map[string]struct {
		config []string
		keys   reconciler.Secret
		signer string
		reason string
		text   string
	}{
		"PGP ed25519":                     {s.byPGP(ada), secret(adaKey), "PGP key " + ada + " (Ada <ada@example.org>)", "", ""},
		"PGP rsa":                         {s.byPGP(bob), secret(bobKey), "PGP key " + bob + " (Bob <bob@example.org>)", "", ""},
		"one of several PGP keys":         {s.byPGP(bob), secret(adaKey + "\n" + bobKey), "PGP key " + bob + " (Bob <bob@example.org>)", "", ""},
		"SSH ed25519":                     {s.bySSH(eve), secret(evePublic), "SSH key " + fingerprintOf(t, evePublic), "", ""},
		"SSH rsa":                         {s.bySSH(rsa), secret("# team\n\n" + evePublic + "\n" + rsaPublic + "\n"), "SSH key " + fingerprintOf(t, rsaPublic), "", ""},
		"SSH ecdsa":                       {s.bySSH(ecdsa), secret("eve@example.org " + ecdsaPublic), "SSH key " + fingerprintOf(t, ecdsaPublic) + " (eve@example.org)", "", ""},
		"SSH for git only":                {s.bySSH(eve), secret(`eve@example.org namespaces="git" ` + evePublic), "SSH key " + fingerprintOf(t, evePublic) + " (eve@example.org)", "", ""},
		"SSH within its time":             {s.bySSH(eve), secret(`eve valid-after="20200101",valid-before="21000101Z" ` + evePublic), "SSH key " + fingerprintOf(t, evePublic) + " (eve)", "", ""},
		"PGP and SSH side by side":        {s.bySSH(eve), secret(adaKey, evePublic), "SSH key " + fingerprintOf(t, evePublic), "", ""},
		"not signed":                      {nil, secret(adaKey), "", gitrepo.ReasonUnsigned, "is not signed; sign it with `git commit -S`"},
		"another PGP key":                 {s.byPGP(bob), secret(adaKey), "", gitrepo.ReasonSignatureInvalid, "the signature by PGP key " + bob + " is refused: that key is not among the trusted ones"},
		"a PGP key where SSH is trusted":  {s.byPGP(bob), secret(evePublic), "", gitrepo.ReasonSignatureInvalid, "the signature by PGP key " + bob + " is refused"},
		"another SSH key":                 {s.bySSH(eve), secret(rsaPublic), "", gitrepo.ReasonSignatureInvalid, "the signature by SSH key " + fingerprintOf(t, evePublic) + " is refused: that key is not among the trusted ones"},
		"an expired PGP key":              {append(s.byPGP(old), "gpg.program="+oldGPG), secret(oldKey), "", gitrepo.ReasonSignatureInvalid, "PGP key " + old + " (Old <old@example.org>) is refused: that key has expired"},
		"a PGP signature over SHA-1":      {append(s.byPGP(bob), "gpg.program="+weakGPG), secret(bobKey), "", gitrepo.ReasonSignatureInvalid, "PGP key " + bob + " (Bob <bob@example.org>) is refused: it is made over SHA-1, which is too weak"},
		"SSH after its time":              {s.bySSH(eve), secret(`eve valid-before="20240101" ` + evePublic), "", gitrepo.ReasonSignatureInvalid, "that key was trusted only before 2024-01-01T00:00:00Z"},
		"SSH before its time":             {s.bySSH(eve), secret(`eve valid-after="21000101000000Z" ` + evePublic), "", gitrepo.ReasonSignatureInvalid, "that key is trusted only after 2100-01-01T00:00:00Z"},
		"SSH for something else":          {s.bySSH(eve), secret(`eve namespaces="file,email" ` + evePublic), "", gitrepo.ReasonSignatureInvalid, "that key is trusted for file email and not for git"},
		"no key":                          {s.bySSH(eve), secret(), "", gitrepo.ReasonCredentialsInvalid, "holds no key"},
		"a private key":                   {s.bySSH(eve), secret(string(read(t, eve))), "", gitrepo.ReasonCredentialsInvalid, "key key0: holds a private key; put the public one there"},
		"a line of junk":                  {s.bySSH(eve), secret(evePublic + "\njunk"), "", gitrepo.ReasonCredentialsInvalid, "key key0: line 2 is neither an SSH public key"},
		"an option that is not known":     {s.bySSH(eve), secret("eve cert-authority " + evePublic), "", gitrepo.ReasonCredentialsInvalid, `line 1 has the option "cert-authority", which is not understood`},
		"a time that is none":             {s.bySSH(eve), secret(`eve valid-before="soon" ` + evePublic), "", gitrepo.ReasonCredentialsInvalid, `line 1 has valid-before="soon", which is no time`},
		"a PGP block that is cut off":     {s.byPGP(ada), secret(adaKey[:200]), "", gitrepo.ReasonCredentialsInvalid, "key key0: is no armored PGP key"},
		"a key whose type is another one": {s.bySSH(eve), secret("ssh-rsa " + strings.Fields(evePublic)[1]), "", gitrepo.ReasonCredentialsInvalid, "line 1 has no key of the type ssh-rsa"},
	} {
		t.Run(name, func(t *testing.T) {
			commit := s.commit(origin, name, test.config...)
			tree, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
			assert.NilError(t, err)
			got, err := tree.VerifyCommit(test.keys)
			if test.reason == "" {
				assert.NilError(t, err)
				assert.Equal(t, got.String(), test.signer)
				return
			}
			isFailure(t, err, test.reason, test.text)
			assert.Assert(t, reconciler.IsTerminal(err))
			assert.Equal(t, got, gitrepo.Signer{})
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	assert.NilError(t, err)
	return data
}

// S6: one changed byte, a second header, a signature taken from another commit:
// all are refused (CVE-2026-45022).
func TestS6TamperedCommits(t *testing.T) {
	s := newSigner(t)
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	ada, adaKey := s.pgp("Ada <ada@example.org>", "ed25519", "never")
	eve, evePublic := s.ssh("eve", "ed25519")
	keys := secret(adaKey, evePublic)
	raw := map[string]string{}
	for kind, config := range map[string][]string{"PGP": s.byPGP(ada), "SSH": s.bySSH(eve)} {
		commit := s.commit(origin, kind, config...)
		raw[kind] = origin.Git("cat-file", "commit", commit) + "\n"
		_, err := gitrepo.VerifyCommit([]byte(raw[kind]), keys)
		assert.NilError(t, err)
	}
	otherTree := "tree " + strings.Repeat("1", 40) + "\n"
	for name, change := range map[string]func(string) string{
		"another message":        func(c string) string { return c + "more\n" },
		"another tree":           func(c string) string { return otherTree + c[strings.Index(c, "\n")+1:] },
		"a second tree in front": func(c string) string { return otherTree + c },
		"a second tree behind":   func(c string) string { return strings.Replace(c, "author ", otherTree+"author ", 1) },
		"a second author": func(c string) string {
			return strings.Replace(c, "committer ", "author Eve <e@e> 1 +0000\ncommitter ", 1)
		},
		"a second signature":        func(c string) string { return strings.Replace(c, "gpgsig ", "gpgsig x\ngpgsig ", 1) },
		"a second signature behind": func(c string) string { return strings.Replace(c, "\n\n", "\ngpgsig -----BEGIN\n\n", 1) },
		"a header behind the signature": func(c string) string {
			return strings.Replace(c, "\n\n", "\nparent "+strings.Repeat("2", 40)+"\n\n", 1)
		},
		"a parent less":              func(c string) string { i := strings.Index(c, "parent "); return c[:i] + c[i+48:] },
		"a sha256 signature too":     func(c string) string { return strings.Replace(c, "gpgsig ", "gpgsig-sha256 x\ngpgsig ", 1) },
		"a zero byte in the headers": func(c string) string { return strings.Replace(c, "author ", "author \x00", 1) },
		"no end of the headers":      func(c string) string { return strings.ReplaceAll(c, "\n\n", "\n") },
		"a signature that is cut":    func(c string) string { i := strings.Index(c, " -----END"); return c[:i-30] + c[i:] },
		"x509 instead": func(c string) string {
			return strings.NewReplacer("PGP SIGNATURE", "SIGNED MESSAGE", "SSH SIGNATURE", "SIGNED MESSAGE").Replace(c)
		},
		"the signature of the other": func(string) string { return graft(raw["PGP"], raw["SSH"]) },
	} {
		for kind, commit := range raw {
			t.Run(name+" "+kind, func(t *testing.T) {
				changed := change(commit)
				assert.Assert(t, changed != commit)
				_, err := gitrepo.VerifyCommit([]byte(changed), keys)
				isFailure(t, err, gitrepo.ReasonSignatureInvalid, "")
			})
		}
	}
}

// graft puts the signature of one commit onto another.
func graft(from, to string) string {
	signature := func(c string) string { return c[strings.Index(c, "gpgsig "):strings.Index(c, "\n\n")] }
	return strings.Replace(to, signature(to), signature(from), 1)
}

// S6: a signed tag must be that tag of that commit.
func TestS6SignedTags(t *testing.T) {
	s := newSigner(t)
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	ada, adaKey := s.pgp("Ada <ada@example.org>", "ed25519", "never")
	eve, evePublic := s.ssh("eve", "ed25519")
	keys := secret(adaKey, evePublic)
	tag := func(name string, config ...string) {
		t.Helper()
		args := []string{"-C", origin.Path}
		for _, c := range config {
			args = append(args, "-c", c)
		}
		s.run("git", append(args, "tag", "--annotate", "--message", "release "+name, name, "main")...)
	}
	tag("v1.0.0", s.byPGP(ada)...)
	tag("v1.1.0", s.bySSH(eve)...)
	tag("v1.2.0")
	origin.Tag("v1.3.0", "main")
	origin.Git("update-ref", "refs/tags/v9.0.0", "refs/tags/v1.0.0")
	s.run("git", "-C", origin.Path, "-c", "user.signingKey="+ada, "tag", "--sign", "--message", "tag of a tag", "v1.4.0", "v1.0.0")
	store := newStore(t)
	for name, test := range map[string]struct{ signer, reason, text string }{
		"v1.0.0": {"PGP key " + ada + " (Ada <ada@example.org>)", "", ""},
		"v1.1.0": {"SSH key " + fingerprintOf(t, evePublic), "", ""},
		"v1.2.0": {"", gitrepo.ReasonUnsigned, "tag v1.2.0 is not signed; sign it with `git tag -s`"},
		"v1.3.0": {"", gitrepo.ReasonUnsigned, "it is no annotated tag; make it with `git tag -s`"},
		"v1.4.0": {"", gitrepo.ReasonSignatureInvalid, "tag v1.4.0 does not stand for commit"},
		"v9.0.0": {"", gitrepo.ReasonSignatureInvalid, "tag v9.0.0 holds the tag object of v1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			target, err := store.Resolve(t.Context(), following(origin, reconciler.Reference{Tag: name}))
			assert.NilError(t, err)
			assert.Equal(t, target.Commit, origin.Git("rev-parse", "main"))
			tree, err := store.FetchTree(t.Context(), at(origin, ""), target)
			assert.NilError(t, err)
			assert.Equal(t, content(t, tree, "file"), "one")
			got, err := tree.VerifyTag(name, keys)
			if test.reason != "" {
				isFailure(t, err, test.reason, test.text)
				assert.Assert(t, reconciler.IsTerminal(err))
				return
			}
			assert.NilError(t, err)
			assert.Equal(t, got.String(), test.signer)
		})
	}
}
