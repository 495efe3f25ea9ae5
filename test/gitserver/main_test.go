package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/poll"
)

const (
	user     = "lockstep"
	password = "pa:ss%wörd"
)

// logBuffer is what the server writes, read while it does.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running is the whole program, started as main does.
type running struct {
	address string
	root    string
	log     *logBuffer
	// stop ends it and returns its exit code.
	stop func() int
}

func start(t *testing.T, getenv func(string) string, args ...string) *running {
	t.Helper()
	git, err := exec.LookPath("git")
	assert.NilError(t, err, "git is needed for this test")
	r := &running{root: t.TempDir(), log: &logBuffer{}}
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	args = append([]string{"--git", git, "--address", "127.0.0.1:0", "--root", r.root}, args...)
	go func() { code <- execute(ctx, args, getenv, r.log) }()
	r.stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { r.stop() })
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		for line := range strings.Lines(r.log.String()) {
			var entry struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				r.address = entry.Address
				return poll.Success()
			}
		}
		return poll.Continue("not serving yet: %s", r.log)
	}, poll.WithTimeout(20*time.Second), poll.WithDelay(10*time.Millisecond))
	return r
}

// url of the repository, with a password for the git program.
func (r *running) url(password string) string {
	escaped := strings.NewReplacer("%", "%25", ":", "%3A").Replace(password)
	return "http://" + user + ":" + escaped + "@" + r.address + "/unity.git"
}

func environ(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// git runs the real program, and never asks a person for a password.
func git(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_ASKPASS=",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	output, err := command.CombinedOutput()
	return string(output), err
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	output, err := git(t, dir, args...)
	assert.NilError(t, err, "git %s: %s", args[0], output)
	return strings.TrimSpace(output)
}

func commit(t *testing.T, dir, file string, content []byte) string {
	t.Helper()
	assert.NilError(t, os.WriteFile(filepath.Join(dir, file), content, 0o600))
	mustGit(t, dir, "add", file)
	mustGit(t, dir, "commit", "--quiet", "--message", file)
	return mustGit(t, dir, "rev-parse", "HEAD")
}

func withLogin(t *testing.T) *running {
	t.Helper()
	return start(t, environ(map[string]string{"GIT_USER": user, "GIT_PASSWORD": password}), "--repo", "unity.git")
}

func TestACloneIsPushedAndFetchedWithTheLogin(t *testing.T) {
	r := withLogin(t)
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", r.url(password), work)
	assert.Equal(t, mustGit(t, work, "symbolic-ref", "--short", "HEAD"), "clean-k8s-deploy")
	hash := commit(t, work, "first", []byte("one"))
	mustGit(t, work, "push", "--quiet", "origin", "HEAD")

	again := filepath.Join(t.TempDir(), "again")
	mustGit(t, ".", "clone", "--quiet", "--depth=1", r.url(password), again)
	assert.Equal(t, mustGit(t, again, "rev-parse", "HEAD"), hash)
	assert.Assert(t, !strings.Contains(r.log.String(), "wörd"), "the password is in the log")
	assert.Assert(t, cmp.Contains(r.log.String(), `"path":"/unity.git/git-receive-pack","status":200`))
	assert.Equal(t, r.stop(), 0)
}

// Above 1 MiB git sends chunks without a length, which CGI does not know.
func TestALargePushArrivesWhole(t *testing.T) {
	r := withLogin(t)
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", r.url(password), work)
	noise := make([]byte, 3<<20)
	_, err := rand.Read(noise)
	assert.NilError(t, err)
	hash := commit(t, work, "noise", noise)
	mustGit(t, work, "push", "--quiet", "origin", "HEAD")

	bare := filepath.Join(r.root, "unity.git")
	assert.Equal(t, mustGit(t, bare, "rev-parse", "clean-k8s-deploy"), hash)
	mustGit(t, bare, "fsck", "--strict")
}

func TestWithoutTheLoginNothingIsReadOrWritten(t *testing.T) {
	r := withLogin(t)
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", r.url(password), work)
	commit(t, work, "first", []byte("one"))
	anonymous := "http://" + r.address + "/unity.git"
	for name, url := range map[string]string{
		"no login":             anonymous,
		"a wrong password":     r.url("guessed-secret"),
		"no password":          r.url(""),
		"a password cut short": r.url(password[:len(password)-1]),
	} {
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{
				{"ls-remote", url},
				{"clone", "--quiet", url, filepath.Join(t.TempDir(), "clone")},
				{"push", "--quiet", url, "HEAD"},
			} {
				output, err := git(t, work, args...)
				assert.Assert(t, err != nil, "git %s was let in: %s", args[0], output)
			}
		})
	}
	output, err := git(t, ".", "--git-dir="+filepath.Join(r.root, "unity.git"), "rev-parse", "--verify", "--quiet", "clean-k8s-deploy")
	assert.Assert(t, err != nil, "somebody pushed %s", output)
	assert.Assert(t, cmp.Contains(r.log.String(), `"status":401`))
	for _, secret := range []string{"guessed-secret", "wörd"} {
		assert.Assert(t, !strings.Contains(r.log.String(), secret), "a password is in the log")
	}
}

func TestWithoutALoginSetEverybodyMayPush(t *testing.T) {
	r := start(t, environ(nil), "--repo", "unity.git")
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", "http://"+r.address+"/unity.git", work)
	hash := commit(t, work, "first", []byte("one"))
	mustGit(t, work, "push", "--quiet", "origin", "HEAD")
	assert.Equal(t, mustGit(t, filepath.Join(r.root, "unity.git"), "rev-parse", "clean-k8s-deploy"), hash)
}

func TestALoginIsReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	userFile, passwordFile := filepath.Join(dir, "username"), filepath.Join(dir, "password")
	assert.NilError(t, os.WriteFile(userFile, []byte(user+"\n"), 0o600))
	assert.NilError(t, os.WriteFile(passwordFile, []byte(password+"\n"), 0o600))
	r := start(t, environ(nil), "--repo", "unity.git", "--user-file", userFile, "--password-file", passwordFile)
	mustGit(t, ".", "ls-remote", r.url(password))
	_, err := git(t, ".", "ls-remote", r.url("wrong"))
	assert.Assert(t, err != nil)
}

func TestARepositoryThatIsThereIsKept(t *testing.T) {
	first := start(t, environ(nil), "--repo", "unity.git")
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", "http://"+first.address+"/unity.git", work)
	hash := commit(t, work, "first", []byte("one"))
	mustGit(t, work, "push", "--quiet", "origin", "HEAD")
	assert.Equal(t, first.stop(), 0)

	second := start(t, environ(nil), "--repo", "unity.git", "--root", first.root)
	assert.Assert(t, cmp.Contains(mustGit(t, ".", "ls-remote", "http://"+second.address+"/unity.git"), hash))
}

func TestGitIsNotToldThePassword(t *testing.T) {
	script := filepath.Join(t.TempDir(), "git")
	assert.NilError(t, os.WriteFile(script, []byte("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nenv\n"), 0o700))
	r := start(t, environ(map[string]string{"GIT_USER": user, "GIT_PASSWORD": password}), "--git", script)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.address+"/unity.git/info/refs", nil)
	assert.NilError(t, err)
	request.SetBasicAuth(user, password)
	answer, err := http.DefaultClient.Do(request)
	assert.NilError(t, err)
	defer func() { _ = answer.Body.Close() }()
	environment, err := io.ReadAll(answer.Body)
	assert.NilError(t, err)
	assert.Assert(t, cmp.Contains(string(environment), "PATH_INFO=/unity.git/info/refs"))
	assert.Assert(t, !strings.Contains(string(environment), "AUTHORIZATION"))
}

func TestHealthNeedsNoLogin(t *testing.T) {
	r := withLogin(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.address+"/healthz", nil)
	assert.NilError(t, err)
	answer, err := http.DefaultClient.Do(request)
	assert.NilError(t, err)
	defer func() { _ = answer.Body.Close() }()
	assert.Equal(t, answer.StatusCode, http.StatusOK)
}

func TestAWrongStartIsExplained(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		env  map[string]string
		code int
		says string
	}{
		"a user without a password":    {env: map[string]string{"GIT_USER": "u"}, code: 2, says: "give both or neither"},
		"a password without a user":    {env: map[string]string{"GIT_PASSWORD": "secret"}, code: 2, says: "give both or neither"},
		"a password file that is gone": {args: []string{"--password-file", "/nonexistent"}, code: 2, says: "--password-file"},
		"a repository above the root":  {args: []string{"--repo", "../unity.git"}, code: 1, says: "plain name"},
		"the root as repository":       {args: []string{"--repo", "."}, code: 1, says: "plain name"},
		"a git that is not there":      {args: []string{"--git", "/nonexistent/git", "--repo", "unity.git"}, code: 1, says: "no such file"},
		"an argument too many":         {args: []string{"unity.git"}, code: 2, says: "unexpected argument"},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			args := append([]string{"--address", "127.0.0.1:0", "--root", t.TempDir()}, test.args...)
			assert.Equal(t, execute(t.Context(), args, environ(test.env), &log), test.code)
			assert.Assert(t, cmp.Contains(log.String(), test.says))
			assert.Assert(t, !strings.Contains(log.String(), "secret"))
		})
	}
}
