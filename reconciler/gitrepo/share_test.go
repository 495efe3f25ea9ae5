package gitrepo_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// However many Releases follow a repository, it is asked once, whatever their
// branches. Other credentials ask for themselves.
func TestPollsAreShared(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	want := map[string]string{}
	for i := range 10 {
		branch := fmt.Sprintf("b%d", i)
		want[branch] = origin.Commit(branch, map[string]string{"file": branch})
	}
	store := newStore(t)
	ask := func(change func(*reconciler.Repository)) {
		t.Helper()
		group, ctx := errgroup.WithContext(t.Context())
		for range 10 {
			for branch, commit := range want {
				group.Go(func() error {
					repo := lasting(at(origin, branch))
					change(&repo)
					got, err := tipOf(ctx, store, repo)
					if err == nil && got != commit {
						err = fmt.Errorf("%s is at %s, not %s", branch, got, commit)
					}
					return err
				})
			}
		}
		assert.NilError(t, group.Wait())
	}
	ask(func(*reconciler.Repository) {})
	assert.Equal(t, server.Polls(), 2, "one request to learn what the server speaks, and one for the references")
	ask(func(r *reconciler.Repository) { r.Credentials = reconciler.Secret{"password": []byte("other")} })
	assert.Equal(t, server.Polls(), 4)

	origin.Commit("b0", map[string]string{"file": "new"})
	ask(func(*reconciler.Repository) {})
	assert.Equal(t, server.Polls(), 4, "a young answer is given again")
	store.Expire(origin.URL)
	tip, err := tipOf(t.Context(), store, lasting(at(origin, "b0")))
	assert.NilError(t, err)
	assert.Equal(t, tip, origin.Git("rev-parse", "b0"), "a webhook makes it old")
	assert.Equal(t, server.Polls(), 5)
}

// What moved is told once, by the name that every way of writing the URL has,
// so that all who follow the repository look at the answer that is here.
func TestChangedReferencesAreTold(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	var told []string
	store := newStore(t, func(o *gitrepo.Options) { o.Changed = func(url string) { told = append(told, url) } })
	ask := func() {
		t.Helper()
		_, err := tipOf(t.Context(), store, at(origin, "main"))
		assert.NilError(t, err)
	}
	ask()
	ask()
	assert.Equal(t, len(told), 0, "the first answer and the same again are no news")
	origin.Commit("other", map[string]string{"file": "two"})
	ask()
	ask()
	assert.DeepEqual(t, told, []string{gitrepo.CanonicalURL(origin.URL + "/")})
}

// G7: the call that does not return is known to the watchdog for as long.
func TestG7CallsAreWatched(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	var mu sync.Mutex
	open := map[string]time.Duration{}
	var ended int
	store := newStore(t, func(o *gitrepo.Options) {
		o.Watch = func(name string, limit time.Duration) func() {
			mu.Lock()
			defer mu.Unlock()
			open[name] = limit
			return func() {
				mu.Lock()
				defer mu.Unlock()
				ended++
			}
		}
	})
	poll(t, store, at(origin, "main"))
	host := "git server " + strings.TrimSuffix(strings.TrimPrefix(origin.URL, "http://"), "/app.git")
	assert.DeepEqual(t, open, map[string]time.Duration{"poll of " + host: time.Minute, "fetch from " + host: 30 * time.Minute})
	assert.Equal(t, ended, 2)
}

// Those who ask at the same time share one request even when no answer is
// ever given twice, and an error is shared as well.
func TestConcurrentPollsShareOneRequest(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	for name, status := range map[string]int{"an answer": 200, "an error": 500} {
		t.Run(name, func(t *testing.T) {
			before := server.Polls()
			begun, release := make(chan struct{}), make(chan struct{})
			let := sync.OnceFunc(func() { close(release) })
			defer let()
			once := sync.OnceFunc(func() { close(begun) })
			server.Misbehave(func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
				once()
				<-release
				return status != 200 && gitrepotest.Status(status, "")(w, r, git)
			})
			var group errgroup.Group
			ask := func() error {
				_, err := tipOf(t.Context(), store, at(origin, "main"))
				if (err == nil) != (status == 200) {
					return fmt.Errorf("status %d gives %w", status, err)
				}
				return nil
			}
			group.Go(ask)
			<-begun
			waiting, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer stop()
			_, err := tipOf(waiting, store, at(origin, "main"))
			assert.ErrorIs(t, err, context.DeadlineExceeded, "who waits may give up")
			for range 20 {
				group.Go(ask)
			}
			assert.Equal(t, server.Polls(), before+1)
			let()
			assert.NilError(t, group.Wait())
			assert.Assert(t, server.Polls() <= before+4, "%d requests", server.Polls()-before)
		})
	}
}

// When the one who asks is called off, the next in line asks.
func TestCancelledPollIsTakenOver(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	begun := make(chan struct{}, 10)
	hang := gitrepotest.Hang()
	server.Misbehave(func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		begun <- struct{}{}
		return hang(w, r, git)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var group errgroup.Group
	group.Go(func() error {
		if _, err := tipOf(ctx, store, lasting(at(origin, "main"))); err == nil {
			return fmt.Errorf("a cancelled poll gave an answer")
		}
		return nil
	})
	<-begun
	group.Go(func() error {
		tip, err := tipOf(t.Context(), store, lasting(at(origin, "main")))
		if err == nil && tip != want {
			err = fmt.Errorf("got %s", tip)
		}
		return err
	})
	server.Misbehave(nil)
	cancel()
	assert.NilError(t, group.Wait())
}

// Two Releases that fetch the same commit at the same time fetch it once.
func TestConcurrentFetches(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	var commits []string
	for i := range 3 {
		commits = append(commits, origin.Commit(fmt.Sprintf("b%d", i), map[string]string{"file": noise(fmt.Sprint(i), 5000), "n": fmt.Sprint(i)}))
	}
	store := newStore(t)
	var group errgroup.Group
	for range 8 {
		for i, commit := range commits {
			group.Go(func() error {
				tree, err := store.FetchTree(t.Context(), at(origin, ""), reconciler.Tip{Commit: commit})
				if err != nil {
					return err
				}
				data, err := tree.ReadFile("n")
				if err == nil && string(data) != fmt.Sprint(i) {
					err = fmt.Errorf("commit %d holds %q", i, data)
				}
				return err
			})
		}
	}
	assert.NilError(t, group.Wait())
	assert.Equal(t, server.Fetches(), 3)
}

// A commit that is no tip any more is superseded, and the next poll knows the
// new tip even if the last answer is young.
func TestMovedBranchIsLearnedFromAFetch(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	first := origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	tip, err := tipOf(t.Context(), store, lasting(at(origin, "main")))
	assert.NilError(t, err)
	assert.Equal(t, tip, first)
	second := origin.Commit("main", map[string]string{"file": "two"})
	_, err = store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: first})
	assert.ErrorIs(t, err, reconciler.ErrSuperseded)
	tip, err = tipOf(t.Context(), store, lasting(at(origin, "main")))
	assert.NilError(t, err)
	assert.Equal(t, tip, second)
}

// A server that gives out any commit is asked for an older one.
func TestOlderCommitWhereTheServerAllows(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Git("config", "uploadpack.allowReachableSHA1InWant", "true")
	first := origin.Commit("main", map[string]string{"file": "one"})
	origin.Commit("main", map[string]string{"file": "two"})
	tree, err := newStore(t).FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: first})
	assert.NilError(t, err)
	assert.Equal(t, content(t, tree, "file"), "one")
}

func TestCommitThatIsNone(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	for _, commit := range []string{"", "main", "HEAD", strings.Repeat("g", 40), strings.Repeat("a", 39)} {
		_, err := newStore(t).Fetch(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
		assert.ErrorContains(t, err, "is not forty hexadecimal digits")
	}
}

// A webhook that comes while a poll is under way is answered by a later one:
// the commit that it speaks of may have come too late for the first.
func TestExpireDuringAPoll(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	first := origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	_, err := tipOf(t.Context(), store, lasting(at(origin, "main")))
	assert.NilError(t, err)
	store.Expire(origin.URL)
	before := server.Polls()
	begun, release := make(chan struct{}), make(chan struct{})
	server.Misbehave(func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		server.Misbehave(nil)
		git.ServeHTTP(w, r)
		close(begun)
		<-release
		return true
	})
	var group errgroup.Group
	group.Go(func() error {
		tip, err := tipOf(t.Context(), store, lasting(at(origin, "main")))
		if err == nil && tip != first {
			err = fmt.Errorf("got %s", tip)
		}
		return err
	})
	<-begun
	second := origin.Commit("main", map[string]string{"file": "two"})
	store.Expire(origin.URL)
	group.Go(func() error {
		tip, err := tipOf(t.Context(), store, lasting(at(origin, "main")))
		if err == nil && tip != second {
			err = fmt.Errorf("got %s, not the commit that the webhook speaks of", tip)
		}
		return err
	})
	close(release)
	assert.NilError(t, group.Wait())
	assert.Equal(t, server.Polls(), before+2)
}

// A branch that moves between the two halves of a fetch is no error of the server.
func TestBranchMovesDuringAFetch(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	first := origin.Commit("main", map[string]string{"file": "one"})
	moved := make(chan string, 1)
	server.Misbehave(gitrepotest.On("/git-upload-pack?", func(http.ResponseWriter, *http.Request, http.Handler) bool {
		server.Misbehave(nil)
		moved <- origin.Orphan("main", map[string]string{"file": "two"})
		return false
	}))
	store := newStore(t)
	_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: first})
	assert.ErrorIs(t, err, reconciler.ErrSuperseded)
	got, tree := poll(t, store, at(origin, "main"))
	assert.Equal(t, got, <-moved)
	assert.Equal(t, content(t, tree, "file"), "two")
}
