package gitrepo

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// file is an open file or folder of a Tree.
type file struct {
	tree *Tree
	name string
	node node
	info fs.FileInfo

	data    *bytes.Reader
	entries []fs.DirEntry
	listed  bool
	closed  bool
}

var _ fs.ReadDirFile = (*file)(nil)

// Stat describes the file.
func (f *file) Stat() (fs.FileInfo, error) {
	if f.closed {
		return nil, &fs.PathError{Op: "stat", Path: f.name, Err: fs.ErrClosed}
	}
	return f.info, nil
}

// Read reads from a file.
func (f *file) Read(p []byte) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	return f.data.Read(p)
}

// Seek sets where the next Read begins.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	if err := f.load("seek"); err != nil {
		return 0, err
	}
	return f.data.Seek(offset, whence)
}

// ReadAt reads from a place in a file.
func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	return f.data.ReadAt(p, offset)
}

func (f *file) load(op string) error {
	if f.closed {
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	if f.data != nil {
		return nil
	}
	data, err := f.tree.content(op, f.name, f.node)
	if err != nil {
		return err
	}
	f.data = bytes.NewReader(data)
	return nil
}

// ReadDir reads the next entries of a folder, all when n is not positive.
func (f *file) ReadDir(n int) ([]fs.DirEntry, error) {
	if f.closed {
		return nil, &fs.PathError{Op: "readdir", Path: f.name, Err: fs.ErrClosed}
	}
	if !f.listed {
		entries, err := f.tree.list("readdir", f.name, f.node)
		if err != nil {
			return nil, err
		}
		f.entries, f.listed = entries, true
	}
	if n > 0 && len(f.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(f.entries) {
		n = len(f.entries)
	}
	entries := f.entries[:n]
	f.entries = f.entries[n:]
	return entries, nil
}

// Close ends the use of the file.
func (f *file) Close() error {
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed = true
	return nil
}

// list makes the entries of a folder. Sizes are looked up when they are asked for.
func (t *Tree) list(op, name string, found node) ([]fs.DirEntry, error) {
	if err := refuseGitlink(name, found); err != nil {
		return nil, err
	}
	if found.mode != filemode.Dir {
		return nil, &fs.PathError{Op: op, Path: name, Err: errors.New("is not a folder")}
	}
	nodes, err := t.folder(name, found.hash)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(nodes))
	for i, n := range nodes {
		entries[i] = dirEntry{tree: t, path: path.Join(name, n.name), node: n}
	}
	return entries, nil
}

// dirEntry is an entry of a folder.
type dirEntry struct {
	tree *Tree
	path string
	node node
}

func (d dirEntry) Name() string               { return d.node.name }
func (d dirEntry) IsDir() bool                { return d.node.mode == filemode.Dir }
func (d dirEntry) Type() fs.FileMode          { return modeOf(d.node).Type() }
func (d dirEntry) String() string             { return fs.FormatDirEntry(d) }
func (d dirEntry) Info() (fs.FileInfo, error) { return d.tree.info(d.path, d.node) }

// info describes an entry. Of a file the size is looked up.
func (t *Tree) info(name string, found node) (fs.FileInfo, error) {
	if err := refuseGitlink(name, found); err != nil {
		return nil, err
	}
	i := info{name: path.Base(name), mode: modeOf(found)}
	if found.mode == filemode.Dir {
		return i, nil
	}
	size, err := t.size(name, found)
	if err != nil {
		return nil, err
	}
	i.size = size
	return i, nil
}

func modeOf(n node) fs.FileMode {
	switch n.mode {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Executable:
		return 0o555
	case filemode.Submodule:
		return fs.ModeIrregular
	default:
		return 0o444
	}
}

// info is what is known of a file without reading it.
type info struct {
	name string
	mode fs.FileMode
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
func (i info) String() string     { return fs.FormatFileInfo(i) }
