package gitrepo_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// zeroes commits a file of zeroes beside a small one, which makes a large
// repository of very few bytes.
func zeroes(t testing.TB, origin *gitrepotest.Repo, bytes int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf("head -c %d /dev/zero | git hash-object -w --stdin", bytes))
	cmd.Dir, cmd.Env = origin.Path, gitrepotest.Env()
	out, err := cmd.Output()
	assert.NilError(t, err)
	blob := strings.TrimSpace(string(out))
	small := origin.Object("blob", []byte("small"))
	tree := origin.Tree("big "+blob, "file "+small)
	commit := origin.Object("commit", []byte("tree "+tree+"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nbig\n"))
	origin.Git("update-ref", "refs/heads/main", commit)
}

// G12: a pack of 300 kB that holds a file of 300 MB is fetched without ever
// having the file in memory, and the file is refused before it is read.
func TestG12LargeFileInASmallPack(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	zeroes(t, origin, 300_000_000)
	store := newStore(t)
	used := allocated(func() {
		_, tree := poll(t, store, at(origin, "main"))
		assert.Equal(t, content(t, tree, "file"), "small")
		info, err := tree.Stat("big")
		assert.NilError(t, err)
		assert.Equal(t, info.Size(), int64(300_000_000))
		_, err = tree.ReadFile("big")
		isFailure(t, err, gitrepo.ReasonTooLarge, "file big has 300000000 bytes, at most 4194304 are read")
	})
	t.Logf("%d kB were allocated in all, the server's included", used>>10)
	assert.Assert(t, used < 16<<20, "%d bytes were allocated", used)
}

// G12: a server that can leave out large files is asked to. Such a file is an
// error that names it, and only when it is read.
func TestG12LargeFilesAreNotFetched(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	origin.Git("config", "uploadpack.allowFilter", "true")
	files := map[string]string{"big": noise("big", 50_000), "limit": noise("limit", 10_000), "file": "one"}
	origin.Commit("main", files)
	dir := t.TempDir()
	store := newStore(t, func(o *gitrepo.Options) { o.Dir, o.MaxFile = dir, 10_000 })
	_, tree := poll(t, store, at(origin, "main"))
	assert.Assert(t, size(t, packs(t, dir)[0]) < 20_000)
	assert.Equal(t, content(t, tree, "limit"), noise("limit", 10_000))
	_, err := tree.ReadFile("big")
	isFailure(t, err, gitrepo.ReasonTooLarge, "file big was left out for its size, at most 10000 bytes are read")
	assert.Assert(t, reconciler.IsTerminal(err))
	files["file"] = "two"
	origin.Commit("main", files)
	_, tree = poll(t, store, at(origin, "main"))
	assert.Equal(t, content(t, tree, "file"), "two")
	assert.Equal(t, content(t, tree, "limit"), noise("limit", 10_000))
	_, err = tree.ReadFile("big")
	isFailure(t, err, gitrepo.ReasonTooLarge, "file big was left out for its size")
}

// S8: versions below these have holes that are known.
func TestS8Versions(t *testing.T) {
	for path, least := range map[string]string{"github.com/go-git/go-git/v5": "5.19.2", "github.com/go-git/go-billy/v5": "5.9.0"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", path).Output()
		assert.NilError(t, err)
		got, err := semver.NewVersion(strings.TrimSpace(string(out)))
		assert.NilError(t, err)
		assert.Assert(t, !got.LessThan(semver.MustParse(least)), "%s is %s, at least %s is wanted", path, got, least)
	}
}
