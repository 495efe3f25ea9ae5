package gitrepo

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

const (
	// maxLinks bounds how many links one path leads through, as in Linux.
	maxLinks = 40
	// maxLink bounds the target of a link, as in Linux.
	maxLink = 4096
	// maxDepth bounds the folders of a path.
	maxDepth = 1024
)

// node is an entry of a folder.
type node struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
}

// folder is a list of entries, sorted by name.
type folder []node

func (f folder) find(name string) (node, bool) {
	i, found := slices.BinarySearchFunc(f, name, func(n node, name string) int { return strings.Compare(n.name, name) })
	if !found {
		return node{}, false
	}
	return f[i], true
}

// part is a part of a way, and the link that it was read from, if any.
type part struct {
	name string
	link *link
}

// link is a symbolic link by its path.
type link struct{ path, target string }

// walk is a way through the tree.
type walk struct {
	tree *Tree
	// op and name are what was asked for.
	op, name string
	// done are the folders from the root to here.
	done  []node
	links int
}

// find goes to what a name stands for. Without follow a link at the end is
// the result itself.
func (t *Tree) find(op, name string, follow bool) (node, error) {
	if !fs.ValidPath(name) {
		return node{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	w := &walk{tree: t, op: op, name: name, done: []node{{name: ".", mode: filemode.Dir, hash: t.root}}}
	todo := parts(name, nil)
	for len(todo) > 0 {
		next, found, err := w.step(todo[0])
		if err != nil {
			return node{}, err
		}
		todo = todo[1:]
		switch {
		case !found:
		case next.mode == filemode.Symlink && (follow || len(todo) > 0):
			way, err := w.follow(next)
			if err != nil {
				return node{}, err
			}
			todo = append(way, todo...)
		case len(todo) == 0:
			return next, nil
		default:
			if err := w.enter(next); err != nil {
				return node{}, err
			}
		}
	}
	return w.here(), nil
}

func parts(path string, from *link) []part {
	var all []part
	for name := range strings.SplitSeq(path, "/") {
		all = append(all, part{name, from})
	}
	return all
}

func (w *walk) here() node { return w.done[len(w.done)-1] }

// path is the name of an entry of the folder that the walk is in.
func (w *walk) path(name string) string {
	var b strings.Builder
	for _, n := range w.done[1:] {
		b.WriteString(n.name + "/")
	}
	return b.String() + name
}

// step looks for one part of a way. Steps that stay or go up find nothing.
func (w *walk) step(p part) (next node, found bool, err error) {
	switch p.name {
	case "", ".":
		return node{}, false, nil
	case "..":
		if len(w.done) == 1 {
			return node{}, false, p.link.escapes()
		}
		w.done = w.done[:len(w.done)-1]
		return node{}, false, nil
	}
	entries, err := w.tree.folder(strings.TrimSuffix(w.path(""), "/"), w.here().hash)
	if err != nil {
		return node{}, false, err
	}
	next, found = entries.find(p.name)
	if !found {
		return node{}, false, w.missing()
	}
	return next, true, nil
}

func (w *walk) missing() error { return &fs.PathError{Op: w.op, Path: w.name, Err: fs.ErrNotExist} }

// enter goes into a folder.
func (w *walk) enter(next node) error {
	switch {
	case next.mode == filemode.Submodule:
		return refuseGitlink(w.path(next.name), next)
	case next.mode != filemode.Dir:
		return w.missing()
	case len(w.done) > maxDepth:
		return reconciler.Terminalf(ReasonTreeUnsafe, "%s: more than %d folders deep", shorten(w.name), maxDepth)
	}
	w.done = append(w.done, next)
	return nil
}

func (l *link) escapes() error {
	return reconciler.Terminalf(ReasonTreeUnsafe, "link %s points to %s, which leads out of the repository; only links inside of it are followed", shorten(l.path), shorten(l.target))
}

// follow reads a link. Where its target leaves the tree is found when it is walked.
func (w *walk) follow(found node) ([]part, error) {
	path := w.path(found.name)
	if w.links++; w.links > maxLinks {
		return nil, reconciler.Terminalf(ReasonTreeUnsafe, "link %s: more than %d links behind one another", shorten(path), maxLinks)
	}
	target, err := w.tree.link(path, found)
	if err != nil {
		return nil, err
	}
	from := &link{path, target}
	if strings.HasPrefix(target, "/") {
		return nil, from.escapes()
	}
	return parts(target, from), nil
}

// link reads the target of a link.
func (t *Tree) link(name string, found node) (string, error) {
	size, err := t.size(name, found)
	if err != nil {
		return "", err
	}
	if size == 0 || size > maxLink {
		return "", reconciler.Terminalf(ReasonTreeUnsafe, "link %s has a target of %d bytes", shorten(name), size)
	}
	data, err := t.object(name, found.hash, plumbing.BlobObject, maxLink)
	if err != nil {
		return "", err
	}
	if strings.ContainsRune(string(data), 0) {
		return "", reconciler.Terminalf(ReasonTreeUnsafe, "link %s has a target with a zero byte", shorten(name))
	}
	return string(data), nil
}

// folder reads the entries of a folder, once for each Tree.
func (t *Tree) folder(name string, hash plumbing.Hash) (folder, error) {
	t.mu.Lock()
	known, ok := t.folders[hash]
	t.mu.Unlock()
	if ok {
		return known, nil
	}
	data, err := t.object(cmp.Or(name, "."), hash, plumbing.TreeObject, maxTree)
	if err != nil {
		return nil, err
	}
	read, err := readFolder(data)
	if err != nil {
		return nil, reconciler.Terminalf(ReasonTreeUnsafe, "folder %s: %w", cmp.Or(shorten(name), "."), err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.folders[hash] = read
	return read, nil
}

// readFolder decodes a folder and refuses names that no honest git writes
// (S3). It is refused as a whole: who reads a part of it could not know.
func readFolder(data []byte) (folder, error) {
	encoded := &plumbing.MemoryObject{}
	encoded.SetType(plumbing.TreeObject)
	_, _ = encoded.Write(data) // It is memory.
	tree := &object.Tree{}
	if err := tree.Decode(encoded); err != nil {
		return nil, err
	}
	entries := make(folder, 0, len(tree.Entries))
	for _, e := range tree.Entries {
		if unsafeName(e.Name) {
			return nil, fmt.Errorf("holds an entry named %q, which is refused", shorten(e.Name))
		}
		entries = append(entries, node{e.Name, e.Mode, e.Hash})
	}
	slices.SortFunc(entries, func(a, b node) int { return strings.Compare(a.name, b.name) })
	for i := range entries[:max(len(entries)-1, 0)] {
		if entries[i].name == entries[i+1].name {
			return nil, fmt.Errorf("holds two entries named %q", shorten(entries[i].name))
		}
	}
	return entries, nil
}

// unsafeName tells whether an entry could be taken for something else. Only
// .git matters of all names that are special on some disk: nothing is ever
// written to one.
func unsafeName(name string) bool {
	return name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || strings.EqualFold(name, ".git")
}

func shorten(text string) string { return quoteText(text, nil) }
