package images

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// merged lists the folders of / that are links into /usr.
func merged() []string { return []string{"bin", "lib", "lib64", "sbin"} }

// collector gathers files of this machine with everything that they need to
// run elsewhere. The first failure ends it.
type collector struct {
	files map[string]File
	err   error
}

func newCollector() *collector { return &collector{files: map[string]File{}} }

// home is the path that a file has in the image: below /usr where the folder
// that it is named in is a link there.
func home(path string) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if slices.Contains(merged(), first) {
		return filepath.Join("/usr", first, rest)
	}
	return path
}

// add takes one file under the name that it is asked for, whatever links lead
// to it, and the libraries of a program.
func (c *collector) add(paths ...string) {
	for _, path := range paths {
		if c.err != nil {
			return
		}
		c.err = c.take(path)
	}
}

// commands takes programs by name from the folders of commands.
func (c *collector) commands(names ...string) {
	for _, name := range names {
		path, err := command(name)
		if err != nil {
			c.err = errors.Join(c.err, err)
			return
		}
		c.add(path)
	}
}

func command(name string) (string, error) {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("command %s: not installed", name)
}

func (c *collector) take(path string) error {
	target := home(path)
	if _, ok := c.files[target]; ok {
		return nil
	}
	source, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("file of image: %w", err)
	}
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("file of image: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("file of image: %s is not a regular file", path)
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	c.files[target] = File{Path: target, Source: source, Mode: mode}
	return c.libraries(source)
}

// tree takes a folder with all below it but what skip names. Links within it
// stay links.
func (c *collector) tree(root string, skip func(path string) bool) {
	if c.err != nil {
		return
	}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case skip(path) && e.IsDir():
			return filepath.SkipDir
		case skip(path) || e.IsDir():
			return nil
		case e.Type()&fs.ModeSymlink != 0:
			return c.takeLink(root, path)
		}
		return c.take(path)
	})
	c.err = errors.Join(c.err, err)
}

// takeLink keeps a link that stays within the tree, follows one that leads out
// of it to a file, and drops any other.
func (c *collector) takeLink(root, path string) error {
	target, err := os.Readlink(path)
	if err != nil {
		return fmt.Errorf("file of image: %w", err)
	}
	if !filepath.IsAbs(target) && strings.HasPrefix(filepath.Join(filepath.Dir(path), target), root+"/") {
		c.files[home(path)] = File{Path: home(path), Link: target}
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return c.take(path)
	}
	return nil
}

// libraries takes what the dynamic linker will look for. A file that is no
// program has none.
func (c *collector) libraries(path string) error {
	f, err := elf.Open(path)
	if _, ok := errors.AsType[*elf.FormatError](err); ok || errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	if err := c.interpreter(f); err != nil {
		return err
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", path, err)
	}
	dirs := searchPath(f, path)
	for _, name := range names {
		library, ok := find(name, dirs)
		if !ok {
			return fmt.Errorf("library %s of %s: not installed", name, path)
		}
		if err := c.take(library); err != nil {
			return err
		}
	}
	return nil
}

// interpreter takes the dynamic linker that the program names.
func (c *collector) interpreter(f *elf.File) error {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		text := make([]byte, p.Filesz)
		if _, err := p.ReadAt(text, 0); err != nil {
			return fmt.Errorf("interpreter: %w", err)
		}
		return c.take(strings.TrimRight(string(text), "\x00"))
	}
	return nil
}

// searchPath lists where the linker looks: the program's own list first.
func searchPath(f *elf.File, path string) []string {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		values, err := f.DynString(tag)
		if err != nil {
			continue
		}
		for _, v := range values {
			for dir := range strings.SplitSeq(v, ":") {
				dirs = append(dirs, strings.ReplaceAll(dir, "$ORIGIN", filepath.Dir(path)))
			}
		}
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return append(dirs, "/usr/lib/"+triplet, "/lib/"+triplet, "/usr/lib", "/lib", "/lib64")
}

func find(name string, dirs []string) (string, bool) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return "", false
}
