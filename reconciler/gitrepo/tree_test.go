package gitrepo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

const link = gitrepotest.Link

// treeOf fetches a commit with these files.
func treeOf(t *testing.T, files map[string]string, change ...func(*gitrepo.Options)) *gitrepo.Tree {
	t.Helper()
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", files)
	_, tree := poll(t, newStore(t, change...), at(origin, "main"))
	return tree
}

// S3: links are followed inside of the tree, and refused by name when they lead out.
func TestLinks(t *testing.T) {
	tree := treeOf(t, map[string]string{
		"README": "readme", "a/b/file": "file", "a/b/c/d": "deep", "x/y": "y", "top": "top",
		"a/same": link + "b/file", "a/up": link + "../README", "a/b/c/far": link + "../../../x/y",
		"a/folder": link + "b", "folder2": link + "a/folder", "chain": link + "a/same",
		"dots": link + "././a//b/../b/file", "slash": link + "a/b/", "self": link + ".", "dot": link + "a/.",
		"dangling": link + "nowhere", "dangling2": link + "README/file",
		"out": link + "../etc/passwd", "absolute": link + "/etc/passwd", "a/out": link + "../../etc", "a/detour": link + "b/../../../top",
		"through": link + "a/folder/../../..", "inner": link + "a/out/file",
		"loop": link + "loop", "ping": link + "pong", "pong": link + "ping",
	})
	for name, test := range map[string]struct{ want, reason, text string }{
		"a/same":           {"file", "", ""},
		"a/up":             {"readme", "", ""},
		"a/b/c/far":        {"y", "", ""},
		"a/folder/file":    {"file", "", ""},
		"folder2/c/d":      {"deep", "", ""},
		"folder2/c/far":    {"y", "", ""},
		"chain":            {"file", "", ""},
		"dots":             {"file", "", ""},
		"slash/file":       {"file", "", ""},
		"self/self/README": {"readme", "", ""},
		"dot/b/file":       {"file", "", ""},
		"dangling":         {"", "", "file does not exist"},
		"dangling2":        {"", "", "file does not exist"},
		"README/file":      {"", "", "file does not exist"},
		"out":              {"", gitrepo.ReasonTreeUnsafe, "link out points to ../etc/passwd, which leads out of the repository"},
		"absolute":         {"", gitrepo.ReasonTreeUnsafe, "link absolute points to /etc/passwd, which leads out of the repository"},
		"a/out/x":          {"", gitrepo.ReasonTreeUnsafe, "link a/out points to ../../etc"},
		"a/detour":         {"", gitrepo.ReasonTreeUnsafe, "link a/detour points to b/../../../top"},
		"through":          {"", gitrepo.ReasonTreeUnsafe, "link through points to a/folder/../../.."},
		"inner":            {"", gitrepo.ReasonTreeUnsafe, "link a/out points to ../../etc"},
		"loop":             {"", gitrepo.ReasonTreeUnsafe, "link loop: more than 40 links behind one another"},
		"ping":             {"", gitrepo.ReasonTreeUnsafe, "more than 40 links behind one another"},
		"../README":        {"", "", "invalid argument"},
		"/README":          {"", "", "invalid argument"},
		"a/../README":      {"", "", "invalid argument"},
	} {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			data, err := tree.ReadFile(name)
			if test.text == "" {
				assert.NilError(t, err)
				assert.Equal(t, string(data), test.want)
				return
			}
			isFailure(t, err, orNone(test.reason), test.text)
			assert.Equal(t, reconciler.IsTerminal(err), test.reason != "")
			_, err = tree.Stat(name)
			isFailure(t, err, orNone(test.reason), test.text)
		})
	}
	target, err := tree.ReadLink("a/folder")
	assert.NilError(t, err)
	assert.Equal(t, target, "b")
	_, err = tree.ReadLink("README")
	assert.ErrorIs(t, err, fs.ErrInvalid)
}

// All commits of a repository tell the same name, and no other repository does.
func TestTreesTellTheirRepository(t *testing.T) {
	server, store := gitrepotest.New(t), newStore(t)
	one, two := server.Repo(t, "one.git"), server.Repo(t, "two.git")
	files := map[string]string{"a": "a"}
	one.Commit("main", files)
	two.Commit("main", files)
	_, first := poll(t, store, at(one, "main"))
	_, other := poll(t, store, at(two, "main"))
	one.Commit("main", map[string]string{"a": "b"})
	_, second := poll(t, store, at(one, "main"))
	assert.Assert(t, first.Commit() != second.Commit())
	assert.Assert(t, first.Repository() != "")
	assert.Equal(t, first.Repository(), second.Repository())
	assert.Assert(t, first.Repository() != other.Repository())
}

func orNone(reason string) string {
	if reason == "" {
		return "none"
	}
	return reason
}

func TestMissingFilesAreMissing(t *testing.T) {
	tree := treeOf(t, map[string]string{"a/b": "b"})
	for _, name := range []string{"c", "a/c", "a/b/c", "A", "a/b/"} {
		_, err := tree.Open(name)
		if name == "a/b/" {
			assert.ErrorIs(t, err, fs.ErrInvalid)
			continue
		}
		assert.ErrorIs(t, err, fs.ErrNotExist)
		_, err = tree.ReadDir(name)
		assert.ErrorIs(t, err, fs.ErrNotExist)
		_, err = tree.Lstat(name)
		assert.ErrorIs(t, err, fs.ErrNotExist)
	}
	_, err := tree.ReadDir("a/b")
	assert.ErrorContains(t, err, "is not a folder")
	_, err = tree.ReadFile("a")
	assert.ErrorContains(t, err, "is a folder")
}

// G12: a file over the limit is refused before it is read.
func TestG12FileLimit(t *testing.T) {
	tree := treeOf(t, map[string]string{"small": strings.Repeat("a", 1000), "big": strings.Repeat("a", 1001)}, func(o *gitrepo.Options) { o.MaxFile = 1000 })
	assert.Equal(t, len(content(t, tree, "small")), 1000)
	_, err := tree.ReadFile("big")
	isFailure(t, err, gitrepo.ReasonTooLarge, "file big has 1001 bytes, at most 1000 are read; make it smaller")
	assert.Assert(t, reconciler.IsTerminal(err))
	file, err := tree.Open("big")
	assert.NilError(t, err, "its size may be asked for")
	info, err := file.Stat()
	assert.NilError(t, err)
	assert.Equal(t, info.Size(), int64(1001))
	_, err = io.ReadAll(file)
	isFailure(t, err, gitrepo.ReasonTooLarge, "file big has 1001 bytes")
}

// G19: a pointer of Git LFS is an error that names the file, not content.
func TestG19LFSPointer(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("4", 64) + "\nsize 12345\n"
	tree := treeOf(t, map[string]string{"deploy.yaml": pointer, "talk.md": "# about\n" + pointer, "long.md": pointer + strings.Repeat("x", 1000)})
	_, err := tree.ReadFile("deploy.yaml")
	isFailure(t, err, gitrepo.ReasonLFSPointer, "file deploy.yaml is a pointer of Git LFS")
	assert.Assert(t, reconciler.IsTerminal(err))
	assert.Assert(t, strings.Contains(content(t, tree, "talk.md"), "oid"), "text about pointers is none")
	assert.Assert(t, strings.Contains(content(t, tree, "long.md"), "oid"), "what is long is none")
}

// G20: a submodule is an error that names it, wherever a path touches it.
func TestG20Submodule(t *testing.T) {
	tree := treeOf(t, map[string]string{"app/file": "file", "app/base": gitrepotest.Gitlink + strings.Repeat("1", 40), "to": link + "app/base"})
	for _, name := range []string{"app/base", "app/base/kustomization.yaml", "to", "to/x"} {
		_, err := tree.ReadFile(name)
		isFailure(t, err, gitrepo.ReasonTreeUnsafe, "is a submodule, whose content is in another repository")
		assert.Assert(t, strings.HasPrefix(err.Error(), "app/base") || strings.HasPrefix(err.Error(), "to "))
		_, err = tree.Stat(name)
		assert.ErrorContains(t, err, "is a submodule")
		_, err = tree.ReadDir(name)
		assert.ErrorContains(t, err, "is a submodule")
	}
	entries, err := tree.ReadDir("app")
	assert.NilError(t, err, "the folder beside it may be listed")
	assert.Equal(t, entries[0].Name(), "base")
	assert.Equal(t, entries[0].Type(), fs.ModeIrregular)
	assert.Equal(t, content(t, tree, "app/file"), "file")
}

// S3: names that no honest git writes make their folder unreadable, and only it.
func TestHostileNames(t *testing.T) {
	for name, test := range map[string]struct {
		entries []string
		text    string
	}{
		"dot dot":          {[]string{"100644 .."}, `holds an entry named "..", which is refused`},
		"dot":              {[]string{"100644 ."}, `holds an entry named "."`},
		".git":             {[]string{"40000 .git"}, `holds an entry named ".git"`},
		".GIT":             {[]string{"100644 .GIT"}, `holds an entry named ".GIT"`},
		"a slash":          {[]string{"100644 a/b"}, `holds an entry named "a/b"`},
		"two of one name":  {[]string{"100644 a", "100755 a"}, `holds two entries named "a"`},
		"file and folder":  {[]string{"100644 a", "40000 a"}, `holds two entries named "a"`},
		"an escape":        {[]string{"100644 .git\x1b[31m", "100644 .."}, "folder bad:"},
		"a long and a bad": {[]string{"100644 " + strings.Repeat("a", 5000), "100644 .git"}, `holds an entry named ".git"`},
	} {
		t.Run(name, func(t *testing.T) {
			origin := gitrepotest.New(t).Repo(t, "app.git")
			blob, empty := origin.Object("blob", []byte("content")), origin.Object("tree", nil)
			var raw []byte
			for _, entry := range test.entries {
				target := blob
				if strings.HasPrefix(entry, "40000") {
					target = empty
				}
				raw = append(append(append(raw, entry...), 0), hex(t, target)...)
			}
			tree := fetchTree(t, origin, origin.Object("tree", raw), blob)
			for _, read := range []func(string) error{
				func(name string) error { _, err := tree.ReadDir(name); return err },
				func(name string) error { _, err := tree.ReadFile(name + "/a"); return err },
				func(name string) error { _, err := tree.Stat(name + "/a"); return err },
			} {
				err := read("bad")
				isFailure(t, err, gitrepo.ReasonTreeUnsafe, test.text)
				assert.Assert(t, strings.Contains(err.Error(), "folder bad"))
				assert.Assert(t, len(err.Error()) < 500)
			}
			assert.Equal(t, content(t, tree, "good"), "content")
		})
	}
}

// fetchTree fetches a commit of a root with the folder bad and the file good.
func fetchTree(t *testing.T, origin *gitrepotest.Repo, bad, good string) *gitrepo.Tree {
	t.Helper()
	raw := append([]byte("40000 bad\x00"), hex(t, bad)...)
	raw = append(append(raw, "100644 good\x00"...), hex(t, good)...)
	root := origin.Object("tree", raw)
	commit := origin.Object("commit", []byte("tree "+root+"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nbad\n"))
	origin.Git("update-ref", "refs/heads/main", commit)
	tree, err := newStore(t).FetchTree(t.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
	assert.NilError(t, err)
	return tree
}

// S3: names that differ in case only are two files; nothing is written to a
// disk that could take them for one.
func TestCaseTwins(t *testing.T) {
	tree := treeOf(t, map[string]string{"File": "upper", "file": "lower", "back\\slash": "back", "sp ace\n": "space"})
	assert.Equal(t, content(t, tree, "File"), "upper")
	assert.Equal(t, content(t, tree, "file"), "lower")
	assert.Equal(t, content(t, tree, "back\\slash"), "back")
	assert.Equal(t, content(t, tree, "sp ace\n"), "space")
}

func TestDeepPaths(t *testing.T) {
	deep := strings.Repeat("d/", 300) + "file"
	tree := treeOf(t, map[string]string{deep: "deep"})
	assert.Equal(t, content(t, tree, deep), "deep")
	count := 0
	assert.NilError(t, fs.WalkDir(tree, ".", func(string, fs.DirEntry, error) error { count++; return nil }))
	assert.Equal(t, count, 302)
}

// ID tells contents apart without reading them.
func TestIDs(t *testing.T) {
	tree := treeOf(t, map[string]string{"a/one": "1", "b/one": "1", "c/one": "2", "l": link + "a/one", "big": strings.Repeat("x", 100)}, func(o *gitrepo.Options) { o.MaxFile = 10 })
	id := func(name string) string {
		t.Helper()
		id, err := tree.ID(name)
		assert.NilError(t, err)
		return id
	}
	assert.Equal(t, id("a"), id("b"))
	assert.Assert(t, id("a") != id("c"))
	assert.Equal(t, id("l"), id("a/one"))
	assert.Equal(t, len(id("big")), 40)
	_, err := tree.ID("none")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// Files behave as fs.FS demands also after they are closed.
func TestFiles(t *testing.T) {
	tree := treeOf(t, map[string]string{"d/a": "hello", "d/b": "b", "d/c": "c"})
	file, err := tree.Open("d/a")
	assert.NilError(t, err)
	seeker, ok := file.(interface {
		io.ReadSeeker
		io.ReaderAt
	})
	assert.Assert(t, ok)
	_, err = seeker.Seek(1, io.SeekStart)
	assert.NilError(t, err)
	rest, err := io.ReadAll(seeker)
	assert.NilError(t, err)
	assert.Equal(t, string(rest), "ello")
	part := make([]byte, 2)
	_, err = seeker.ReadAt(part, 3)
	assert.NilError(t, err)
	assert.Assert(t, bytes.Equal(part, []byte("lo")))
	assert.NilError(t, file.Close())
	_, err = file.Read(part)
	assert.ErrorIs(t, err, fs.ErrClosed)
	_, err = file.Stat()
	assert.ErrorIs(t, err, fs.ErrClosed)
	assert.ErrorIs(t, file.Close(), fs.ErrClosed)

	folder, err := tree.Open("d")
	assert.NilError(t, err)
	list, ok := folder.(fs.ReadDirFile)
	assert.Assert(t, ok)
	names := ""
	for {
		entries, err := list.ReadDir(2)
		if errors.Is(err, io.EOF) {
			break
		}
		assert.NilError(t, err)
		names += fmt.Sprint(entries)
	}
	assert.Equal(t, names, "[- a - b][- c]")
}
