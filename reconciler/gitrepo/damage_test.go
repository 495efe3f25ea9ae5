package gitrepo_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// G1: a forced push of a commit without a common past is live after one poll.
func TestG1ForcedPush(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	for _, text := range []string{"one", "two", "three", "four"} {
		origin.Commit("main", map[string]string{"file": text})
	}
	store := newStore(t)
	poll(t, store, at(origin, "main"))
	want := origin.Orphan("main", map[string]string{"file": "orphan"})
	got, tree := poll(t, store, at(origin, "main"))
	assert.Equal(t, got, want)
	assert.Equal(t, content(t, tree, "file"), "orphan")

	// What was fetched before is not known to the server any more.
	want = origin.Orphan("main", map[string]string{"file": "again", "more": noise("more", 2000)})
	origin.Git("gc", "--quiet", "--prune=now")
	got, tree = poll(t, store, at(origin, "main"))
	assert.Equal(t, got, want)
	assert.Equal(t, content(t, tree, "more"), noise("more", 2000))
}

// G2: a branch that is forced back to an older commit is followed.
func TestG2BranchForcedBack(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	for _, text := range []string{"one", "two", "three", "four"} {
		origin.Commit("main", map[string]string{"file": text, "same": "same"})
	}
	store := newStore(t)
	poll(t, store, at(origin, "main"))
	want := origin.Git("rev-parse", "main~2")
	origin.Git("update-ref", "refs/heads/main", want)
	got, tree := poll(t, store, at(origin, "main"))
	assert.Equal(t, got, want)
	assert.Equal(t, content(t, tree, "file"), "two")
	assert.Equal(t, content(t, tree, "same"), "same")
}

// G3: commits that pile up between polls of a shallow store are no trouble.
func TestG3CommitsUponAShallowStore(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "zero", "same": noise("same", 3000)})
	store := newStore(t)
	for _, text := range []string{"one", "two", "three"} {
		for range 3 {
			origin.Commit("main", map[string]string{"file": text, "same": noise("same", 3000), text: text})
		}
		_, tree := poll(t, store, at(origin, "main"))
		assert.Equal(t, content(t, tree, "file"), text)
		assert.Equal(t, content(t, tree, "same"), noise("same", 3000))
	}
}

// G4: a branch that is gone is an error at each poll. Neither what was fetched
// earlier nor a branch with the same ending is taken for it.
func TestG4BranchDeleted(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("release", map[string]string{"file": "one"})
	origin.Commit("team/release", map[string]string{"file": "other"})
	origin.Commit("main", map[string]string{"file": "main"})
	origin.Tag("release2", origin.Git("rev-parse", "main"))
	store := newStore(t)
	poll(t, store, at(origin, "release"))
	origin.Git("update-ref", "-d", "refs/heads/release")
	for range 2 {
		_, err := tipOf(t.Context(), store, at(origin, "release"))
		isFailure(t, err, gitrepo.ReasonBranchMissing, "branch release is not on the server; what is deployed stays as it is")
	}
	for _, name := range []string{"refs/heads/main", "heads/main", "mai", "HEAD", "release2", "*", ""} {
		_, err := tipOf(t.Context(), store, at(origin, name))
		isFailure(t, err, gitrepo.ReasonBranchMissing, "")
	}
	want := origin.Commit("release", map[string]string{"file": "again"})
	got, _ := poll(t, store, at(origin, "release"))
	assert.Equal(t, got, want)
}

// G5: an empty repository is waited for.
func TestG5EmptyRepository(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	store := newStore(t)
	_, err := tipOf(t.Context(), store, at(origin, "main"))
	isFailure(t, err, gitrepo.ReasonEmptyRepository, "waiting for the first commit")
	want := origin.Commit("main", map[string]string{"file": "one"})
	got, _ := poll(t, store, at(origin, "main"))
	assert.Equal(t, got, want)
}

// G9, G10, G11: whatever happens to the files of a store, the pass that finds
// out clones once and goes on.
func TestG9DamagedStore(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"the pack is cut off (G11)":     func(path string) error { return os.Truncate(path, 100) },
		"the pack is empty (G11)":       func(path string) error { return os.Truncate(path, 0) },
		"the pack is overwritten (G9)":  func(path string) error { return overwrite(path, 12) },
		"the end is overwritten (G9)":   func(path string) error { return overwrite(path, 20_000) },
		"the folder is removed (G10)":   func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"a stray pack is added (G10)":   func(path string) error { return os.WriteFile(path+".2.pack", []byte("PACK"), 0o600) },
		"all is removed and cut (G11)":  func(path string) error { return errors.Join(os.Truncate(path, 1), os.RemoveAll(filepath.Dir(path))) },
		"nothing happens at all (G9)":   func(string) error { return nil },
		"the file is replaced (G9)":     func(path string) error { return os.Rename(path, path+".old") },
		"the file loses its end (G11)":  func(path string) error { return os.Truncate(path, 15_000) },
		"its beginning is zeroed (G11)": func(path string) error { return overwrite(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			commit := origin.Commit("main", map[string]string{"a": noise("a", 20_000), "b/c": noise("c", 20_000)})
			dir := t.TempDir()
			store := newStore(t, func(o *gitrepo.Options) { o.Dir = dir })
			_, open := poll(t, store, at(origin, "main"))
			assert.NilError(t, damage(packs(t, dir)[0]))

			assert.Equal(t, content(t, open, "a"), noise("a", 20_000), "a tree that was open")
			assert.Equal(t, content(t, open, "b/c"), noise("c", 20_000), "a tree that was open")
			again, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
			assert.NilError(t, err)
			assert.Equal(t, content(t, again, "a"), noise("a", 20_000))
			assert.Equal(t, content(t, again, "b/c"), noise("c", 20_000))
			assert.Assert(t, server.Fetches() <= 2, "it is cloned once")
			next := origin.Commit("main", map[string]string{"a": "next"})
			_, tree := poll(t, store, at(origin, "main"))
			assert.Equal(t, tree.Commit(), next)
		})
	}
}

func overwrite(path string, at int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(make([]byte, 4000), at)
	return errors.Join(err, file.Close())
}

// G9: an object that the server itself has lost is reported after one clone,
// naming the file.
func TestG9ServerLostAnObject(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	blob := origin.Object("blob", []byte("lost"))
	tree := origin.Object("tree", append([]byte("100644 file\x00"), hex(t, blob)...))
	commit := origin.Object("commit", []byte("tree "+tree+"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nlost\n"))
	origin.Git("update-ref", "refs/heads/main", commit)
	assert.NilError(t, os.Remove(filepath.Join(origin.Path, "objects", blob[:2], blob[2:])))
	_, err := newStore(t).FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
	assert.Assert(t, err != nil)
	assert.Assert(t, !reconciler.IsTerminal(err))
}

// A pack that arrives damaged is not kept; the next fetch gets a whole one.
func TestDamagedAnswer(t *testing.T) {
	for name, how := range map[string]gitrepotest.Misbehaviour{
		"the connection is cut":       gitrepotest.CutAfter(9_000),
		"the pack ends early":         gitrepotest.EndAfter(9_000),
		"the answer ends in its head": gitrepotest.EndAfter(20),
	} {
		t.Run(name, func(t *testing.T) {
			server := gitrepotest.New(t)
			origin := server.Repo(t, "app.git")
			origin.Commit("main", map[string]string{"a": noise("a", 20_000)})
			dir := t.TempDir()
			store := newStore(t, func(o *gitrepo.Options) { o.Dir = dir })
			poll(t, store, at(origin, "main"))
			commit := origin.Commit("main", map[string]string{"a": noise("a2", 20_000)})
			server.Misbehave(gitrepotest.On("/git-upload-pack?", how))
			_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
			assert.Assert(t, err != nil)
			assert.Assert(t, !reconciler.IsTerminal(err), "%s", err)
			assert.Assert(t, len(files(t, dir)) <= 1, "%q", files(t, dir))
			server.Misbehave(nil)
			_, tree := poll(t, store, at(origin, "main"))
			assert.Equal(t, content(t, tree, "a"), noise("a2", 20_000))
		})
	}
}

// G13: what a killed process left is gone before the first pass.
func TestG13LeftoversAreSwept(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", map[string]string{"file": "one"})
	dir := t.TempDir()
	for range 20 {
		store, err := gitrepo.New(gitrepo.Options{Dir: dir})
		assert.NilError(t, err)
		poll(t, store, at(origin, "main"))
		assert.NilError(t, os.WriteFile(filepath.Join(dir, "repositories", "known_hosts-123"), []byte("left"), 0o600))
		assert.Equal(t, len(files(t, dir)), 2)
	}
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "mine"), []byte("not the store's"), 0o600))
	store := newStore(t, func(o *gitrepo.Options) { o.Dir = dir })
	assert.DeepEqual(t, files(t, dir), []string{filepath.Join(dir, "mine")})
	assert.NilError(t, store.Close())
}

// G14: a full disk is its own reason, nothing is left of the try, and it works
// as soon as there is room.
func TestG14DiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("reason: a file system of 1 MiB cannot be mounted: %s", err)
	}
	t.Cleanup(func() { assert.Check(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	commit := origin.Commit("main", map[string]string{"a": noise("a", 3<<20)})
	store := newStore(t, func(o *gitrepo.Options) { o.Dir = dir })
	small := server.Repo(t, "small.git")
	for _, seed := range []string{"one", "two"} {
		commit := small.Commit("main", map[string]string{"a": noise(seed, 1<<20)})
		_, err := store.FetchTree(t.Context(), at(small, "main"), reconciler.Tip{Commit: commit})
		if seed == "two" {
			isFailure(t, err, gitrepo.ReasonDiskFull, "")
			_, err = store.FetchTree(t.Context(), at(small, "main"), reconciler.Tip{Commit: commit})
		}
		assert.NilError(t, err, "the second one fits when the first one is gone")
	}
	for range 3 {
		_, err := store.FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
		isFailure(t, err, gitrepo.ReasonDiskFull, "make the volume of the work folder larger")
		assert.Equal(t, len(files(t, dir)), 1)
	}
	assert.NilError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"))
	_, tree := poll(t, store, at(origin, "main"))
	assert.Equal(t, content(t, tree, "a"), noise("a", 3<<20))
}

// Repositories that nobody fetches any more are removed from the disk; trees
// that are open can still be read.
func TestUnusedRepositoriesAreDropped(t *testing.T) {
	server := gitrepotest.New(t)
	one, two := server.Repo(t, "one.git"), server.Repo(t, "two.git")
	one.Commit("main", map[string]string{"file": "one"})
	two.Commit("main", map[string]string{"file": "two"})
	dir := t.TempDir()
	store := newStore(t, func(o *gitrepo.Options) { o.Dir, o.KeepUnused = dir, time.Nanosecond })
	_, tree := poll(t, store, at(one, "main"))
	poll(t, store, at(two, "main"))
	poll(t, store, at(two, "main"))
	assert.Assert(t, len(packs(t, dir)) <= 1, "%q", packs(t, dir))
	assert.Equal(t, content(t, tree, "file"), "one")
}

// Many small fetches do not pile up without end.
func TestStoreIsClonedAnewWhenItIsWorn(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	dir := t.TempDir()
	store := newStore(t, func(o *gitrepo.Options) { o.Dir = dir })
	var trees []*gitrepo.Tree
	for i := range 40 {
		origin.Commit("main", map[string]string{"a": noise("a", 30_000), "n": string(rune('A' + i))})
		_, tree := poll(t, store, at(origin, "main"))
		trees = append(trees, tree)
	}
	assert.Assert(t, len(packs(t, dir)) < 32, "%d packs", len(packs(t, dir)))
	for i, tree := range trees {
		assert.Equal(t, content(t, tree, "n"), string(rune('A'+i)), "an open tree keeps its commit")
		_, err := fs.Stat(tree, "a")
		assert.NilError(t, err)
	}
}
