package render

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// entryKind is what stands at a path.
type entryKind byte

const (
	entryAbsent    entryKind = '-'
	entryDirectory entryKind = 'd'
	entryFile      entryKind = 'f'
	// entryRefused is something that must not be read; content says why.
	entryRefused entryKind = '!'
)

// entry is the answer to a look at a path.
type entry struct {
	kind entryKind
	// path is where it stands once symbolic links are followed.
	path string
	// content of a file, or the text of a refusal.
	content []byte
}

// source is where a fileSystem looks things up. Names are relative to the
// root of the commit, slash-separated and clean; the root itself is ".".
type source interface {
	look(name string) entry
}

// errReadOnly answers everything that kustomize's interface offers beyond
// what a build uses.
var errReadOnly = errors.New("the files of a commit can only be looked up and read by name")

// fileSystem shows a commit to kustomize, rooted at "/". It is lazy: only
// what kustomize asks for is looked up, each path once.
type fileSystem struct {
	source source
	seen   map[string]entry
	// kustomizations are the files scanned so far, by their folder.
	kustomizations map[string]*kustomization
	// skimmed are the objects of resource files, by path.
	skimmed map[string][]passage
	// refusal is the first thing that was refused. kustomize swallows read
	// errors of kustomization files, so it is kept here.
	refusal error
	// touched are the names that were looked at since it was made, unless nil.
	touched map[string]bool
}

func newFileSystem(source source) *fileSystem {
	return &fileSystem{source: source, seen: map[string]entry{}, kustomizations: map[string]*kustomization{}, skimmed: map[string][]passage{}}
}

// passages lists the objects in a file, which is gone through once.
func (f *fileSystem) passages(file entry) []passage {
	parts, ok := f.skimmed[file.path]
	if !ok {
		parts = passages(file.content)
		f.skimmed[file.path] = parts
	}
	return parts
}

func (f *fileSystem) look(name string) entry {
	name = relative(name)
	if f.touched != nil {
		f.touched[name] = true
	}
	e, ok := f.seen[name]
	if !ok {
		e = f.source.look(name)
		f.see(name, e)
	}
	return e
}

func (f *fileSystem) see(name string, e entry) {
	f.seen[name] = e
	if e.kind == entryRefused {
		f.refuse(errors.New(string(e.content)))
	}
}

// batcher is implemented by sources that spare time when they are asked for
// several names at once.
type batcher interface {
	lookAll(names []string) []entry
}

// prefetch looks at what a kustomization in a folder lists.
func (f *fileSystem) prefetch(folder string, values []string) {
	batch, ok := f.source.(batcher)
	if !ok {
		return
	}
	var names []string
	for _, value := range values {
		name := relative(path.Join(folder, value))
		if _, known := f.seen[name]; !known {
			names = append(names, name)
		}
	}
	for i, e := range batch.lookAll(names) {
		f.see(names[i], e)
	}
}

func (f *fileSystem) refuse(err error) {
	if f.refusal == nil {
		f.refusal = err
	}
}

// relative turns a path below "/" into a name in the commit. Cleaning an
// absolute path first keeps ".." from leading above the root.
func relative(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(name)), "/")
	if name == "" {
		return "."
	}
	return name
}

// absolute is the inverse of relative.
func absolute(name string) string { return path.Join("/", name) }

// CleanedAbs gives the folder and the file name of a path, links followed.
func (f *fileSystem) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	e := f.look(name)
	switch e.kind {
	case entryDirectory:
		return filesys.ConfirmedDir(absolute(e.path)), "", nil
	case entryFile:
		folder, file := path.Split(absolute(e.path))
		return filesys.ConfirmedDir(path.Clean(folder)), file, nil
	case entryRefused:
		return "", "", errors.New(string(e.content))
	case entryAbsent:
	}
	return "", "", missing(name)
}

// ReadFile gives the content of a file. A kustomization file is scanned first.
func (f *fileSystem) ReadFile(name string) ([]byte, error) {
	e := f.look(name)
	switch e.kind {
	case entryFile:
	case entryRefused:
		return nil, errors.New(string(e.content))
	case entryDirectory:
		return nil, fmt.Errorf("'%s' is a directory", name)
	case entryAbsent:
		return nil, missing(name)
	}
	if !slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(e.path)) {
		return e.content, nil
	}
	if err := f.scan(e); err != nil {
		f.refuse(err)
		return nil, err
	}
	return e.content, nil
}

// noSuchFile is how errors say that nothing stands at a path.
const noSuchFile = "doesn't exist"

func missing(name string) error { return fmt.Errorf("'%s' %s", name, noSuchFile) }

// Exists tells whether something stands at a path.
func (f *fileSystem) Exists(name string) bool { return f.look(name).kind != entryAbsent }

// IsDir tells whether a directory stands at a path.
func (f *fileSystem) IsDir(name string) bool { return f.look(name).kind == entryDirectory }

// ReadDir is not offered: no build lists a directory.
func (f *fileSystem) ReadDir(string) ([]string, error) { return nil, errReadOnly }

// Glob is not offered: no build expands a pattern.
func (f *fileSystem) Glob(string) ([]string, error) { return nil, errReadOnly }

// Walk is not offered: no build walks a tree.
func (f *fileSystem) Walk(string, filepath.WalkFunc) error { return errReadOnly }

// Open is not offered: builds read whole files.
func (f *fileSystem) Open(string) (filesys.File, error) { return nil, errReadOnly }

// Create is refused.
func (f *fileSystem) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir is refused.
func (f *fileSystem) Mkdir(string) error { return errReadOnly }

// MkdirAll is refused.
func (f *fileSystem) MkdirAll(string) error { return errReadOnly }

// RemoveAll is refused.
func (f *fileSystem) RemoveAll(string) error { return errReadOnly }

// WriteFile is refused.
func (f *fileSystem) WriteFile(string, []byte) error { return errReadOnly }
