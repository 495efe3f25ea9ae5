package gitrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

var (
	_ reconciler.Tree = (*Tree)(nil)
	_ fs.ReadLinkFS   = (*Tree)(nil)
)

// Tree is the content of a commit. It reads folders and files when they are
// asked for. Symbolic links are followed inside the tree and refused when they
// lead out of it. It may be used by many at once, for as long as the pass
// lasts that fetched it.
type Tree struct {
	commit plumbing.Hash
	// tag is the annotated tag that was fetched too, or zero.
	tag     plumbing.Hash
	raw     []byte
	root    plumbing.Hash
	maxFile int64
	renew   func(error) (*objects, error)

	mu      sync.Mutex
	objects *objects
	renewed bool
	folders map[plumbing.Hash]folder
	// sized is the object whose size was asked for last, and that size. Who
	// asks for the size of a file mostly reads it next.
	sized     plumbing.Hash
	sizedSize int64
}

// Commit is the hash of the commit, forty hexadecimal digits.
func (t *Tree) Commit() string { return t.commit.String() }

// Repository is the same for all commits of a repository that one Store keeps,
// and another for every other. It is empty when nothing was fetched.
func (t *Tree) Repository() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if packs := t.objects.all(); len(packs) > 0 {
		// Each repository has a folder of its own for its packs, which is never
		// used again for another one.
		return filepath.Dir(packs[0].file.Name())
	}
	return ""
}

// ID is the hash of a file's content or of a folder with all below it. Two
// files of one ID are equal. Links are followed.
func (t *Tree) ID(name string) (string, error) {
	found, err := t.find("stat", name, true)
	if err != nil {
		return "", err
	}
	return found.hash.String(), nil
}

// Open opens a file or a folder. The content of a file is read with the first Read.
func (t *Tree) Open(name string) (fs.File, error) {
	found, err := t.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info, err := t.info(name, found)
	if err != nil {
		return nil, err
	}
	return &file{tree: t, name: name, node: found, info: info}, nil
}

// ReadFile reads a file as a whole. A file that is too large is refused before
// it is read, one that holds a pointer of Git LFS after (G12, G19).
func (t *Tree) ReadFile(name string) ([]byte, error) {
	found, err := t.find("read", name, true)
	if err != nil {
		return nil, err
	}
	return t.content("read", name, found)
}

// ReadDir lists a folder, sorted by name.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	found, err := t.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	return t.list("readdir", name, found)
}

// Stat describes a file or folder, links followed. Sizes come from the header
// of the object; its content is not read.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	found, err := t.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return t.info(name, found)
}

// Lstat is Stat without following a link at the end.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) {
	found, err := t.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return t.info(name, found)
}

// ReadLink is where a symbolic link points, as it is written.
func (t *Tree) ReadLink(name string) (string, error) {
	found, err := t.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if found.mode != filemode.Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return t.link(name, found)
}

// content reads the content of a file that find led to.
func (t *Tree) content(op, name string, found node) ([]byte, error) {
	if found.mode == filemode.Dir {
		return nil, &fs.PathError{Op: op, Path: name, Err: errors.New("is a folder")}
	}
	if err := refuseGitlink(name, found); err != nil {
		return nil, err
	}
	size, err := t.size(name, found)
	if err != nil {
		return nil, err
	}
	if size > t.maxFile {
		return nil, reconciler.Terminalf(ReasonTooLarge, "file %s has %d bytes, at most %d are read; make it smaller or keep it out of what is delivered", shorten(name), size, t.maxFile)
	}
	data, err := t.object(name, found.hash, plumbing.BlobObject, t.maxFile)
	if err != nil {
		return nil, err
	}
	if isPointer(data) {
		return nil, reconciler.Terminalf(ReasonLFSPointer, "file %s is a pointer of Git LFS, not the content; commit the file itself (`git lfs untrack`)", shorten(name))
	}
	return data, nil
}

// isPointer recognises what Git LFS commits in place of a file. Pointers begin
// with this line and are shorter than 1024 bytes by the specification of LFS.
func isPointer(data []byte) bool {
	return len(data) < 1024 && strings.HasPrefix(string(data), "version https://git-lfs.github.com/spec/")
}

func refuseGitlink(name string, found node) error {
	if found.mode != filemode.Submodule {
		return nil
	}
	return reconciler.Terminalf(ReasonTreeUnsafe, "%s is a submodule, whose content is in another repository; commit the files themselves", shorten(name))
}

// object reads an object. Damage is met once by fetching the commit anew.
func (t *Tree) object(name string, hash plumbing.Hash, kind plumbing.ObjectType, limit int64) (data []byte, err error) {
	err = t.healed(name, func(o *objects) error {
		data, err = o.read(hash, kind, limit)
		return err
	})
	return data, err
}

func (t *Tree) size(name string, found node) (size int64, err error) {
	err = t.healed(name, func(o *objects) error {
		if t.sized == found.hash && !found.hash.IsZero() {
			size = t.sizedSize
			return nil
		}
		if size, err = o.stat(found.hash); err == nil {
			t.sized, t.sizedSize = found.hash, size
		}
		return err
	})
	return size, err
}

// healed reads, and reads again from a fresh clone if that failed (G9).
func (t *Tree) healed(name string, read func(*objects) error) error {
	name = shorten(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	err := read(t.objects)
	switch {
	case errors.Is(err, errLarge):
		return reconciler.Terminalf(ReasonTooLarge, "%s: %w", name, err)
	case !errors.Is(err, errObject):
		return err
	}
	if !t.renewed {
		t.renewed = true
		fresh, failed := t.renew(fmt.Errorf("%s: %w", name, err))
		if failed != nil {
			return fmt.Errorf("%s: %w", name, failed)
		}
		t.objects = fresh
		if err = read(t.objects); err == nil {
			return nil
		}
	}
	if t.objects.partial() {
		return reconciler.Terminalf(ReasonTooLarge, "file %s was left out for its size, at most %d bytes are read; make it smaller or keep it out of what is delivered", name, t.maxFile)
	}
	return reconciler.Transientf(ReasonObjectMissing, "%s: %w, even after a fresh clone; run `git fsck` on the server", name, err)
}
