package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// What one child may ask for: more paths, or longer ones, than any overlay
// needs would only fill our memory.
const (
	maxLooks = 200_000
	maxName  = 4096
	// maxShown is how much of a longer name an error shows.
	maxShown = 100
)

// maxLinks bounds how many symbolic links one path may lead through, as
// kernels do.
const maxLinks = 40

// pointerPrefix is how a file starts that git-lfs put in place of the real one.
const pointerPrefix = "version https://git-lfs.github.com/spec/v1\n"

// reader answers the looks of a child from a tree, and keeps what it answered.
// It runs in the parent.
type reader struct {
	tree   reconciler.Tree
	limits Limits
	// links is the tree's view of symbolic links, nil when it resolves them itself.
	links fs.ReadLinkFS
	// folders are those known to exist, and where they are once links are
	// followed.
	folders map[string]string
	total   int64
	looks   int
	// failure is the first look that could not be answered. It keeps the
	// verdict that a text sent to the child would lose.
	failure error
	reads   readSet
	// pieces of earlier renders, nil for none.
	pieces *stock
}

func newReader(tree reconciler.Tree, limits Limits) *reader {
	links, _ := tree.(fs.ReadLinkFS)
	return &reader{tree: tree, limits: limits, links: links, folders: map[string]string{}, reads: readSet{}}
}

func (r *reader) recall(key []byte) ([]byte, bool) { return r.pieces.recall(key) }

func (r *reader) keep(key, content []byte) { r.pieces.keep(key, content) }

func (r *reader) look(name string) entry {
	e, err := r.find(name)
	if err == nil {
		return e
	}
	if r.failure == nil {
		r.failure = err
	}
	return entry{kind: entryRefused, content: []byte(err.Error())}
}

func (r *reader) find(name string) (entry, error) {
	if !fs.ValidPath(name) || len(name) > maxName {
		return entry{}, reconciler.Terminalf(ReasonRefused, "%q is not a path in the repository", name[:min(len(name), maxShown)])
	}
	if r.looks++; r.looks > maxLooks {
		return entry{}, reconciler.Terminalf(ReasonExpensive, "the overlay looks at more than %d paths", maxLooks)
	}
	target, info, err := r.locate(name, 0)
	switch {
	case absent(err):
		return entry{kind: entryAbsent}, nil
	case err != nil:
		return entry{}, err
	case info.IsDir():
		return entry{kind: entryDirectory, path: target}, nil
	case !info.Mode().IsRegular():
		return entry{}, reconciler.Terminalf(ReasonRefused, "%s is neither a file nor a folder", target)
	}
	content, err := r.read(target, info.Size())
	return entry{kind: entryFile, path: target, content: content}, err
}

// read gives the content of a file whose size is acceptable.
func (r *reader) read(name string, size int64) ([]byte, error) {
	if size > r.limits.File {
		return nil, reconciler.Terminalf(ReasonRefused, "%s has %d bytes; files of an overlay may have up to %d", name, size, r.limits.File)
	}
	if r.total += size; r.total > r.limits.Input {
		return nil, reconciler.Terminalf(ReasonExpensive, "%s: the files of this overlay add up to more than the limit of %d bytes", name, r.limits.Input)
	}
	content, err := r.tree.ReadFile(name)
	if err != nil {
		return nil, unreadable(name, err)
	}
	if bytes.HasPrefix(content, []byte(pointerPrefix)) {
		return nil, reconciler.Terminalf(ReasonRefused, "%s is a git-lfs pointer, not the file itself: keep files of an overlay out of git-lfs", name)
	}
	r.reads[name] = fileState(r.tree, name, content)
	return content, nil
}

// locate follows symbolic links within the commit, and says what stands at
// the end.
func (r *reader) locate(name string, depth int) (string, fs.FileInfo, error) {
	at := name
	if name != "." && r.links != nil {
		folder, err := r.folder(path.Dir(name), depth)
		if err != nil {
			return "", nil, err
		}
		at = path.Join(folder, path.Base(name))
	}
	info, err := r.stat(at)
	switch {
	case absent(err):
		r.reads[at] = stateAbsent
		return "", nil, fs.ErrNotExist
	case err != nil:
		return "", nil, unreadable(at, err)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := r.step(at, depth)
		if err != nil {
			return "", nil, err
		}
		return r.locate(target, depth+1)
	case info.IsDir():
		r.reads[at] = folderState(r.tree, at)
		r.folders[name] = at
	}
	return at, info, nil
}

func (r *reader) stat(name string) (fs.FileInfo, error) {
	if r.links != nil {
		return r.links.Lstat(name)
	}
	return r.tree.Stat(name)
}

// folder is locate for a path on the way to another.
func (r *reader) folder(name string, depth int) (string, error) {
	if at, ok := r.folders[name]; ok {
		return at, nil
	}
	at, info, err := r.locate(name, depth)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		if _, known := r.reads[at]; !known {
			r.reads[at] = stateOther
		}
		return "", fs.ErrNotExist
	}
	r.folders[name] = at
	return at, nil
}

// step reads one link.
func (r *reader) step(at string, depth int) (string, error) {
	if depth >= maxLinks {
		return "", reconciler.Terminalf(ReasonRefused, "%s is a symbolic link that leads through more than %d others", at, maxLinks)
	}
	text, err := r.links.ReadLink(at)
	if err != nil {
		return "", unreadable(at, err)
	}
	r.reads[at] = linkState(text)
	target := path.Join(path.Dir(at), text)
	if path.IsAbs(text) || target == ".." || strings.HasPrefix(target, "../") {
		return "", reconciler.Terminalf(ReasonRefused, "%s is a symbolic link to %q, which is outside the repository", at, text)
	}
	return target, nil
}

// absent tells whether an error means that nothing stands there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist)
}

// unreadable gives an error of the tree a verdict. A tree that knows the
// content to be at fault says so; anything else may be the store.
func unreadable(name string, err error) error {
	if !strings.Contains(err.Error(), name) {
		err = fmt.Errorf("read %s: %w", name, err)
	}
	if _, ok := errors.AsType[*reconciler.Failure](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return reconciler.Transient(reasonUnreadable, err)
}

// reasonUnreadable is used when a tree fails without a verdict of its own.
const reasonUnreadable = "TreeUnreadable"
