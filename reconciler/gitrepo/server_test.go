package gitrepo_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// What a server answers instead of references, and what becomes of it (G21 and others).
func TestAnswersToAPoll(t *testing.T) {
	for name, test := range map[string]struct {
		how          gitrepotest.Misbehaviour
		reason, text string
	}{
		"401":                         {gitrepotest.Status(401, "no"), gitrepo.ReasonAuthenticationFailed, "status 401: no; name a Secret with the credentials in spec.source.secretRef"},
		"403":                         {gitrepotest.Status(403, "no"), gitrepo.ReasonAuthenticationFailed, "status 403: no"},
		"403 of a quota":              {gitrepotest.Status(403, "slow down", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "4102444800"), gitrepo.ReasonRateLimited, "status 403: slow down"},
		"404":                         {gitrepotest.Status(404, "gone"), gitrepo.ReasonRepositoryNotFound, "a private repository needs spec.source.secretRef"},
		"429":                         {gitrepotest.Status(429, "", "Retry-After", "7"), gitrepo.ReasonRateLimited, "status 429"},
		"500":                         {gitrepotest.Status(500, "oops"), gitrepo.ReasonServerError, "status 500: oops"},
		"503":                         {gitrepotest.Status(503, ""), gitrepo.ReasonServerError, "status 503"},
		"a page":                      {gitrepotest.Status(200, "<html>log in</html>"), gitrepo.ReasonServerError, "that is no answer of a git server"},
		"nothing (G6)":                {gitrepotest.Status(200, ""), gitrepo.ReasonServerError, "that is no answer of a git server"},
		"an error of git":             {gitrepotest.Body([]byte("001e# service=git-upload-pack\n0000000cERR nope")), gitrepo.ReasonServerError, "nope"},
		"a cut connection":            {gitrepotest.CutAfter(30), gitrepo.ReasonUnreachable, "unexpected EOF"},
		"half of the references":      {gitrepotest.EndAfter(60), gitrepo.ReasonServerError, ""},
		"a redirect to itself":        {gitrepotest.Status(302, "", "Location", "/app.git/info/refs?service=git-upload-pack"), gitrepo.ReasonRedirectRefused, "too many redirects"},
		"a redirect without a target": {gitrepotest.Status(302, ""), gitrepo.ReasonServerError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			origin.Commit("main", map[string]string{"file": "one"})
			server.Misbehave(test.how)
			_, err := tipOf(t.Context(), newStore(t), at(origin, "main"))
			isFailure(t, err, test.reason, test.text)
			assert.Assert(t, !reconciler.IsTerminal(err), "what a server says may pass")
		})
	}
}

// G6: a server that takes the question and gives no pack is named as one that
// cannot be used.
func TestG6ServerWithoutAPack(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	commit := origin.Commit("main", map[string]string{"file": "one"})
	server.Misbehave(gitrepotest.On("/git-upload-pack?", gitrepotest.Status(200, "")))
	store := newStore(t)
	_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
	isFailure(t, err, gitrepo.ReasonServerUnsupported, "it speaks no version of git's protocol that is understood here")

	// One that gives nothing beside what is there already is asked for all.
	server.Misbehave(nil)
	poll(t, store, at(origin, "main"))
	server.Misbehave(gitrepotest.On("/git-upload-pack?", func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		body, err := io.ReadAll(r.Body)
		assert.Check(t, err)
		r.Body = io.NopCloser(bytes.NewReader(body))
		return bytes.Contains(body, []byte("have ")) && gitrepotest.Status(200, "")(w, r, git)
	}))
	commit = origin.Commit("main", map[string]string{"file": "two"})
	tree, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
	assert.NilError(t, err)
	assert.Equal(t, content(t, tree, "file"), "two")
}

// G7: a server that is silent from the start, or 200 bytes into the pack, is
// left when the time is up, and nothing stays on disk.
func TestG7SilentServer(t *testing.T) {
	for name, how := range map[string]gitrepotest.Misbehaviour{
		"from the start":         gitrepotest.Hang(),
		"in the references":      gitrepotest.On("info/refs", gitrepotest.HangAfter(60)),
		"before the pack":        gitrepotest.On("/git-upload-pack?", gitrepotest.Hang()),
		"200 bytes into a fetch": gitrepotest.On("/git-upload-pack?", gitrepotest.HangAfter(200)),
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			commit := origin.Commit("main", map[string]string{"file": noise("file", 5000)})
			server.Misbehave(how)
			dir := t.TempDir()
			store := newStore(t, func(o *gitrepo.Options) { o.Dir, o.Timeout = dir, 300*time.Millisecond })
			start := time.Now()
			_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
			isFailure(t, err, gitrepo.ReasonTimeout, "the server stayed silent for 300ms")
			assert.Assert(t, time.Since(start) < 5*time.Second)
			assert.Equal(t, len(files(t, dir)), 0)

			server.Misbehave(nil)
			_, tree := poll(t, newStore(t), at(origin, "main"))
			assert.Equal(t, content(t, tree, "file"), noise("file", 5000))
		})
	}
}

// G7: a server that sends a byte now and then is left when the whole fetch
// takes too long.
func TestG7DrippingServer(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	commit := origin.Commit("main", map[string]string{"file": "one"})
	server.Misbehave(gitrepotest.On("/git-upload-pack?", func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		_, _ = w.Write([]byte("fff0"))
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		return true
	}))
	store := newStore(t, func(o *gitrepo.Options) { o.FetchTimeout = 500 * time.Millisecond })
	_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
	isFailure(t, err, gitrepo.ReasonTimeout, "context deadline exceeded")
}

// A pass that is called off ends at once, with the error of the context.
func TestCancelledFetch(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	commit := origin.Commit("main", map[string]string{"file": "one"})
	ctx, cancel := context.WithCancel(t.Context())
	hang := gitrepotest.Hang()
	server.Misbehave(gitrepotest.On("/git-upload-pack?", func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		cancel()
		return hang(w, r, git)
	}))
	_, err := newStore(t).FetchTree(ctx, at(origin, "main"), reconciler.Tip{Commit: commit})
	assert.ErrorIs(t, err, context.Canceled)
}

// G8: while a server is away, polls fail and nothing else happens; when it is
// back, they go on.
func TestG8Outage(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	commit := origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	_, tree := poll(t, store, at(origin, "main"))
	server.Misbehave(gitrepotest.CutAfter(0))
	for range 20 {
		_, err := tipOf(t.Context(), store, at(origin, "main"))
		isFailure(t, err, gitrepo.ReasonUnreachable, "")
		again, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
		assert.NilError(t, err, "what was fetched is there")
		assert.Equal(t, content(t, again, "file"), "one")
	}
	assert.Equal(t, content(t, tree, "file"), "one")
	server.Misbehave(nil)
	want := origin.Commit("main", map[string]string{"file": "two"})
	got, _ := poll(t, store, at(origin, "main"))
	assert.Equal(t, got, want)
}

// G8: a server in trouble is not asked at each poll, and one that names a time
// is left alone for that long.
func TestG8BackOff(t *testing.T) {
	for name, test := range map[string]struct {
		how      gitrepotest.Misbehaviour
		backoff  time.Duration
		reason   string
		requests int
	}{
		"an error pauses the polls":           {gitrepotest.Status(500, ""), time.Hour, gitrepo.ReasonServerError, 1},
		"a short limit lets them go on":       {gitrepotest.Status(500, ""), 1, gitrepo.ReasonServerError, 20},
		"a time that the server asks for":     {gitrepotest.Status(429, "", "Retry-After", "100"), 1, gitrepo.ReasonRateLimited, 1},
		"a date that the server asks for":     {gitrepotest.Status(503, "", "Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT"), 1, gitrepo.ReasonServerError, 1},
		"a wrong password pauses nobody else": {gitrepotest.Status(401, ""), time.Hour, gitrepo.ReasonAuthenticationFailed, 20},
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			server.Misbehave(test.how)
			store := newStore(t, func(o *gitrepo.Options) { o.MaxBackoff = test.backoff })
			for range 20 {
				_, err := tipOf(t.Context(), store, at(origin, "main"))
				isFailure(t, err, test.reason, "")
			}
			assert.Equal(t, len(server.Requests()), test.requests)
			server.Misbehave(nil)
			want := origin.Commit("main", map[string]string{"file": "one"})
			if test.reason == gitrepo.ReasonRateLimited {
				return
			}
			store.Expire(origin.URL)
			tip, err := tipOf(t.Context(), store, at(origin, "main"))
			assert.NilError(t, err)
			assert.Equal(t, tip, want)
		})
	}
}

// G15: a password that was changed is used with the next poll, and a refusal of
// the old one is not held against it.
func TestG15RotatedPassword(t *testing.T) {
	server := gitrepotest.New(t, gitrepotest.WithBasicAuth("ada", "old"))
	origin := server.Repo(t, "app.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	tip, err := tipOf(t.Context(), store, lasting(login(origin, "ada", "old")))
	assert.NilError(t, err)
	assert.Equal(t, tip, want)
	server.SetBasicAuth("ada", "new")
	store.Expire(origin.URL)
	_, err = tipOf(t.Context(), store, lasting(login(origin, "ada", "old")))
	isFailure(t, err, gitrepo.ReasonAuthenticationFailed, "check the Secret of spec.source.secretRef")
	tip, err = tipOf(t.Context(), store, lasting(login(origin, "ada", "new")))
	assert.NilError(t, err)
	assert.Equal(t, tip, want)
}

// Who may not read a repository does not find it in the store either.
func TestCredentialsKeepRepositoriesApart(t *testing.T) {
	server := gitrepotest.New(t, gitrepotest.WithBasicAuth("ada", "right"))
	origin := server.Repo(t, "app.git")
	commit := origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	poll(t, store, lasting(login(origin, "ada", "right")))
	_, err := tipOf(t.Context(), store, lasting(login(origin, "ada", "wrong")))
	isFailure(t, err, gitrepo.ReasonAuthenticationFailed, "status 401")
	_, err = store.FetchTree(t.Context(), login(origin, "ada", "wrong"), reconciler.Tip{Commit: commit})
	isFailure(t, err, gitrepo.ReasonAuthenticationFailed, "status 401")
	_, err = store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
	isFailure(t, err, gitrepo.ReasonAuthenticationFailed, "status 401")
}

// G16: credentials do not follow to another host or port, because we do not either.
func TestG16RedirectToAnotherHost(t *testing.T) {
	victim := gitrepotest.New(t)
	victim.Repo(t, "app.git").Commit("main", map[string]string{"file": "evil"})
	there, err := url.Parse(victim.URL)
	assert.NilError(t, err)
	for name, to := range map[string]string{
		"another port":        victim.URL,
		"another name":        "http://localhost:" + there.Port(),
		"a name with a login": "http://me:too@localhost:" + there.Port(),
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			server.Misbehave(gitrepotest.Redirect(to))
			_, err := tipOf(t.Context(), newStore(t), login(origin, "ada", "canary-password"))
			isFailure(t, err, gitrepo.ReasonRedirectRefused, "write the new place into spec.source.url")
			assert.Assert(t, !strings.Contains(err.Error(), "me:too"))
			assert.Equal(t, len(victim.Requests()), 0)
		})
	}
}

// A redirect on the same host is followed, as for a repository that was renamed.
func TestRedirectOnTheSameHost(t *testing.T) {
	server := gitrepotest.New(t, gitrepotest.WithBasicAuth("ada", "pass"))
	origin := server.Repo(t, "new.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	server.Misbehave(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !strings.HasPrefix(r.URL.Path, "/old.git/info/refs") {
			return false
		}
		http.Redirect(w, r, "/new.git/info/refs?"+r.URL.RawQuery, http.StatusMovedPermanently)
		return true
	})
	repo := login(origin, "ada", "pass")
	repo.URL = server.URL + "/old.git"
	got, tree := poll(t, newStore(t), repo)
	assert.Equal(t, got, want)
	assert.Equal(t, content(t, tree, "file"), "one")
}

// G21: of an error answer 4 KiB are read, however long it is, and 200
// characters of it are repeated, without control characters.
func TestG21HugeErrorAnswers(t *testing.T) {
	for name, how := range map[string]gitrepotest.Misbehaviour{
		"401 with 400 MiB":          gitrepotest.Huge(401, 400<<20),
		"401 without an end":        gitrepotest.Huge(401, -1),
		"500 without an end":        gitrepotest.Huge(500, -1),
		"401 that stops half-way":   gitrepotest.Status(401, "no", "Content-Length", "1000000"),
		"references without an end": gitrepotest.Huge(200, -1),
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			server.Misbehave(how)
			store := newStore(t)
			start := time.Now()
			used := allocated(func() {
				_, err := tipOf(t.Context(), store, at(origin, "main"))
				assert.Assert(t, err != nil)
				assert.Assert(t, utf8.RuneCountInString(err.Error()) < 450, "%d characters", utf8.RuneCountInString(err.Error()))
				assert.Assert(t, strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) < 0, "%q", err)
			})
			assert.Assert(t, used < 8<<20, "%d bytes were allocated, the server's included", used)
			assert.Assert(t, time.Since(start) < 10*time.Second)
		})
	}
}

// allocated counts the bytes that the process allocated while f ran.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// An answer to a fetch that is larger than the limit is not stored.
func TestPackLimit(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	commit := origin.Commit("main", map[string]string{"file": noise("file", 100_000)})
	dir := t.TempDir()
	store := newStore(t, func(o *gitrepo.Options) { o.Dir, o.MaxPack = dir, 20_000 })
	_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
	isFailure(t, err, gitrepo.ReasonTooLarge, "the answer is larger than the limit")
	assert.Equal(t, len(files(t, dir)), 0)
}

// A proxy is used when the options name one: the host itself does not exist.
func TestProxy(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	behind, err := url.Parse(server.URL)
	assert.NilError(t, err)
	proxy := httptest.NewServer(httputil.NewSingleHostReverseProxy(behind))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	assert.NilError(t, err)
	store := newStore(t, func(o *gitrepo.Options) { o.Proxy = http.ProxyURL(address) })
	repo := at(origin, "main")
	repo.URL = "http://git.invalid/app.git"
	got, tree := poll(t, store, repo)
	assert.Equal(t, got, want)
	assert.Equal(t, content(t, tree, "file"), "one")
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	assert.NilError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, path)
		}
		return err
	}))
	return found
}
