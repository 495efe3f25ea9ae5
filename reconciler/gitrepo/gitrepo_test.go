package gitrepo_test

import (
	"context"
	"crypto/sha256"
	encodinghex "encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// newStore makes a Store that always asks the server, so that tests see what
// the server says now.
func newStore(t testing.TB, change ...func(*gitrepo.Options)) *gitrepo.Store {
	t.Helper()
	options := gitrepo.Options{Dir: t.TempDir(), Timeout: 20 * time.Second, MaxBackoff: 1}
	for _, f := range change {
		f(&options)
	}
	store, err := gitrepo.New(options)
	assert.NilError(t, err)
	t.Cleanup(func() { assert.Check(t, store.Close()) })
	return store
}

func at(repo *gitrepotest.Repo, branch string) reconciler.Repository {
	return reconciler.Repository{URL: repo.URL, Reference: reconciler.Reference{Branch: branch}}
}

func following(repo *gitrepotest.Repo, reference reconciler.Reference) reconciler.Repository {
	return reconciler.Repository{URL: repo.URL, Reference: reference}
}

// lasting takes answers that another has asked for.
func lasting(repo reconciler.Repository) reconciler.Repository {
	repo.MaxAge = time.Hour
	return repo
}

// tipOf asks for the commit of a reference.
func tipOf(ctx context.Context, store *gitrepo.Store, repo reconciler.Repository) (string, error) {
	tip, err := store.Resolve(ctx, repo)
	return tip.Commit, err
}

func login(repo *gitrepotest.Repo, user, password string) reconciler.Repository {
	r := at(repo, "main")
	r.Credentials = reconciler.Secret{"username": []byte(user), "password": []byte(password)}
	return r
}

// poll asks for the tip and opens its tree, as a pass does.
func poll(t *testing.T, store *gitrepo.Store, repo reconciler.Repository) (string, *gitrepo.Tree) {
	t.Helper()
	commit, err := tipOf(t.Context(), store, repo)
	assert.NilError(t, err)
	tree, err := store.FetchTree(t.Context(), repo, reconciler.Tip{Commit: commit})
	assert.NilError(t, err)
	return commit, tree
}

func content(t *testing.T, tree fs.FS, name string) string {
	t.Helper()
	data, err := fs.ReadFile(tree, name)
	assert.NilError(t, err)
	return string(data)
}

// isFailure compares an error with a reason and a part of its text.
func isFailure(t *testing.T, err error, reason, text string) {
	t.Helper()
	assert.Assert(t, err != nil, "there is no error")
	assert.Equal(t, reconciler.ReasonOf(err, "none"), reason, "of: %s", err)
	assert.Assert(t, cmp.Contains(err.Error(), text))
}

func TestBranchIsPolledAndFetched(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	want := origin.Commit("main", map[string]string{
		"README": "hello", "app/kustomization.yaml": "resources: []\n", "app/run.sh": gitrepotest.Exec + "#!/bin/sh\n",
		"app/current": gitrepotest.Link + "../README", "empty": "",
	})
	origin.Commit("other", map[string]string{"README": "other"})

	commit, tree := poll(t, newStore(t), at(origin, "main"))
	assert.Equal(t, commit, want)
	assert.Equal(t, tree.Commit(), want)
	assert.Equal(t, content(t, tree, "README"), "hello")
	assert.Equal(t, content(t, tree, "app/current"), "hello")
	assert.Equal(t, content(t, tree, "empty"), "")
	assert.NilError(t, fstest.TestFS(tree, "README", "app/kustomization.yaml", "app/run.sh", "app/current", "empty"))
	info, err := tree.Stat("app/run.sh")
	assert.NilError(t, err)
	assert.Equal(t, info.Mode(), fs.FileMode(0o555))
	assert.Equal(t, info.Size(), int64(10))
}

func TestFetchIsShallowAndOnce(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	for _, text := range []string{"one", "two", "three"} {
		origin.Commit("main", map[string]string{"file": text})
	}
	store := newStore(t)
	_, tree := poll(t, store, at(origin, "main"))
	assert.Equal(t, content(t, tree, "file"), "three")
	poll(t, store, at(origin, "main"))
	assert.Equal(t, server.Fetches(), 1, "the commit is fetched once")
	_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: origin.Git("rev-parse", "main~1")})
	assert.ErrorIs(t, err, reconciler.ErrSuperseded)
}

func TestFollowingCommitsBuildUponEarlierOnes(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	files := map[string]string{}
	for name := range strings.FieldsSeq("a b c d e f g h") {
		files[name] = noise(name, 2000)
	}
	old := files["a"]
	origin.Commit("main", files)
	dir := t.TempDir()
	store := newStore(t, func(o *gitrepo.Options) { o.Dir = dir })
	_, first := poll(t, store, at(origin, "main"))
	before := packs(t, dir)
	files["a"] = "changed"
	origin.Commit("main", files)
	_, second := poll(t, store, at(origin, "main"))

	assert.Equal(t, content(t, second, "a"), "changed")
	assert.Equal(t, content(t, second, "b"), files["b"], "what did not change is there too")
	assert.Equal(t, content(t, first, "a"), old, "an open tree keeps its commit")
	after := packs(t, dir)
	assert.Equal(t, len(after), len(before)+1)
	assert.Assert(t, size(t, after[1]) < size(t, after[0])/4, "the second pack holds only what changed: %d of %d bytes", size(t, after[1]), size(t, after[0]))
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	assert.NilError(t, err)
	return info.Size()
}

// noise is text that does not compress, the same for the same seed.
func noise(seed string, bytes int) string {
	var b strings.Builder
	for i := 0; b.Len() < bytes; i++ {
		fmt.Fprintf(&b, "%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, i)))
	}
	return b.String()[:bytes]
}

func packs(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "repositories", "*", "*.pack"))
	assert.NilError(t, err)
	return found
}

func hex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := encodinghex.DecodeString(text)
	assert.NilError(t, err)
	return data
}
