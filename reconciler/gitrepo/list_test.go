package gitrepo_test

import (
	"net/http"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// oldGit answers in the first version of the protocol, as servers did before 2018.
func oldGit(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
	r.Header.Del("Git-Protocol")
	git.ServeHTTP(w, r)
	return true
}

// Both versions of the protocol give the same.
func TestBothVersionsOfTheProtocol(t *testing.T) {
	for name, how := range map[string]gitrepotest.Misbehaviour{"version 2": nil, "the first version": oldGit} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			server.Misbehave(how)
			store := newStore(t)
			_, err := tipOf(t.Context(), store, at(origin, "main"))
			isFailure(t, err, gitrepo.ReasonEmptyRepository, "waiting for the first commit")
			want := origin.Commit("main", map[string]string{"file": "one"})
			tag := origin.AnnotatedTag("v1.0.0", want)
			origin.Tag("v0.9.0", want)
			origin.Git("update-ref", "refs/pull/1/head", want)
			for range 3 {
				tip, err := tipOf(t.Context(), store, at(origin, "main"))
				assert.NilError(t, err)
				assert.Equal(t, tip, want)
				target, err := store.Resolve(t.Context(), following(origin, reconciler.Reference{Tag: "v1.0.0"}))
				assert.NilError(t, err)
				assert.Equal(t, target, reconciler.Tip{Name: "v1.0.0", Commit: want, TagObject: tag})
				target, err = store.Resolve(t.Context(), following(origin, reconciler.Reference{Semver: "<1"}))
				assert.NilError(t, err)
				assert.Equal(t, target, reconciler.Tip{Name: "v0.9.0", Commit: want})
				_, err = tipOf(t.Context(), store, at(origin, "pull/1/head"))
				isFailure(t, err, gitrepo.ReasonBranchMissing, "branch pull/1/head is not on the server")
			}
		})
	}
}

// A path may hold what must be escaped in a URL.
func TestPathsThatAreEscaped(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "it's an äpp.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	repo := at(origin, "main")
	repo.URL = server.URL + "/it's%20an%20%C3%A4pp.git/"
	store := newStore(t)
	for range 2 {
		got, tree := poll(t, store, repo)
		assert.Equal(t, got, want)
		assert.Equal(t, content(t, tree, "file"), "one")
	}
}

// A server that is replaced by an older one is found out within one poll.
func TestServerThatForgetsVersion2(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	want := origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	poll(t, store, at(origin, "main"))
	server.Misbehave(oldGit)
	tip, err := tipOf(t.Context(), store, at(origin, "main"))
	assert.NilError(t, err)
	assert.Equal(t, tip, want)
}

// A repository that is renamed between two polls is found at its new place.
func TestRenamedRepository(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	store := newStore(t)
	poll(t, store, at(origin, "main"))
	moved := server.Repo(t, "moved.git")
	want := moved.Commit("main", map[string]string{"file": "moved"})
	server.Misbehave(gitrepotest.On("/app.git/", func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		http.Redirect(w, r, "/moved.git"+r.URL.RequestURI()[len("/app.git"):], http.StatusMovedPermanently)
		return true
	}))
	got, tree := poll(t, store, at(origin, "main"))
	assert.Equal(t, got, want)
	assert.Equal(t, content(t, tree, "file"), "moved")
}
