package images

import (
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

func TestHomeFollowsTheMergedFolders(t *testing.T) {
	for path, want := range map[string]string{
		"/bin/sh":                    "/usr/bin/sh",
		"/lib/x86_64-linux-gnu/l.so": "/usr/lib/x86_64-linux-gnu/l.so",
		"/lib64/ld.so.2":             "/usr/lib64/ld.so.2",
		"/usr/bin/sh":                "/usr/bin/sh",
		"/library/x":                 "/library/x",
		"/etc/passwd":                "/etc/passwd",
	} {
		assert.Equal(t, home(path), want)
	}
}

func TestProgramBringsItsLinkerAndLibraries(t *testing.T) {
	c := newCollector()
	c.commands("sh")
	assert.NilError(t, c.err)
	var names []string
	for path, f := range c.files {
		names = append(names, filepath.Base(path))
		info, err := os.Lstat(f.Source)
		assert.NilError(t, err)
		assert.Check(t, info.Mode().IsRegular(), "%s is packed from the link %s", path, f.Source)
	}
	for _, want := range []string{"sh", "libc.so.6"} {
		found := false
		for _, name := range names {
			found = found || name == want
		}
		assert.Check(t, found, "%s is not among %v", want, names)
	}
	assert.Check(t, len(names) >= 3, "the dynamic linker is not among %v", names)
}

func TestMissingCommandIsNamed(t *testing.T) {
	c := newCollector()
	c.commands("no-such-command", "sh")
	assert.Error(t, c.err, "command no-such-command: not installed")
	assert.Equal(t, len(c.files), 0)
}

func TestTreeKeepsLinksWithinAndFollowsThoseThatLeadOut(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "share")
	outside := filepath.Join(dir, "outside")
	assert.NilError(t, os.MkdirAll(filepath.Join(root, "skipped"), 0o755))
	for name, text := range map[string]string{
		filepath.Join(root, "a"): "a", filepath.Join(root, "skipped", "b"): "b", outside: "c",
	} {
		assert.NilError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	for name, target := range map[string]string{
		"within": "a", "out": "../outside", "absolute": outside, "dangling": "/nowhere", "folder": "..",
	} {
		assert.NilError(t, os.Symlink(target, filepath.Join(root, name)))
	}
	c := newCollector()
	c.tree(root, func(path string) bool { return filepath.Base(path) == "skipped" })
	assert.NilError(t, c.err)
	assert.DeepEqual(t, c.files, map[string]File{
		filepath.Join(root, "a"):        {Path: filepath.Join(root, "a"), Source: filepath.Join(root, "a"), Mode: 0o644},
		filepath.Join(root, "within"):   {Path: filepath.Join(root, "within"), Link: "a"},
		filepath.Join(root, "out"):      {Path: filepath.Join(root, "out"), Source: outside, Mode: 0o644},
		filepath.Join(root, "absolute"): {Path: filepath.Join(root, "absolute"), Source: outside, Mode: 0o644},
	})
}
