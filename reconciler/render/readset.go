package render

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Identifier is implemented by trees that know the identity of what they hold
// without reading it, as git does. Two files of one ID are equal, two folders
// of one ID are equal with all below them. Links are followed.
type Identifier interface {
	ID(name string) (string, error)
}

// Resident is implemented by trees that know which repository they belong to.
// The name is the same for all its commits, and no other repository has it.
// It only decides what is forgotten: a commit that is mistaken for one of
// another repository is still rendered as it is.
type Resident interface {
	Repository() string
}

// repositoryOf is the repository of a tree, or nothing when it does not tell.
func repositoryOf(tree reconciler.Tree) string {
	if resident, ok := tree.(Resident); ok {
		return resident.Repository()
	}
	return ""
}

// readSet is what a render looked at, by path: the identity of files and
// folders, the text of links, and that nothing was there. A commit in which
// all of it is the same renders to the same objects. No build lists a folder,
// so that a new file beside those read changes nothing.
type readSet map[string]string

// read is a path and its state.
type read struct{ name, state string }

// sorted lists the set by path, each folder before what is below it.
func (s readSet) sorted() []read {
	list := make([]read, 0, len(s))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		list = append(list, read{name, s[name]})
	}
	return list
}

// States of a path.
const (
	stateAbsent = "-"
	// stateOther is a file of which only that matters: it is no folder.
	stateOther   = "n"
	prefixFolder = "d:"
	prefixFile   = "f:"
	prefixLink   = "l:"
)

func linkState(text string) string { return prefixLink + text }

// folderState identifies a folder, with nothing when the tree cannot.
func folderState(tree reconciler.Tree, name string) string {
	id, _ := identify(tree, name)
	return prefixFolder + id
}

// fileState identifies a file, by its content unless the tree knows better.
func fileState(tree reconciler.Tree, name string, content []byte) string {
	if id, ok := identify(tree, name); ok {
		return prefixFile + id
	}
	sum := sha256.Sum256(content)
	return prefixFile + hex.EncodeToString(sum[:])
}

func identify(tree reconciler.Tree, name string) (string, bool) {
	identifier, ok := tree.(Identifier)
	if !ok {
		return "", false
	}
	id, err := identifier.ID(name)
	return id, err == nil
}

// holds tells whether everything in a sorted list is the same in another
// tree. Whatever cannot be read is different. A folder that is the same as a
// whole spares the look at everything below it.
func holds(tree reconciler.Tree, reads []read) bool {
	links, _ := tree.(fs.ReadLinkFS)
	unchanged := "/"
	for _, r := range reads {
		name, state := r.name, r.state
		if strings.HasPrefix(name, unchanged) {
			continue
		}
		if !same(tree, links, name, state) {
			return false
		}
		if id, folder := strings.CutPrefix(state, prefixFolder); folder && id != "" && folderState(tree, name) == state {
			unchanged = name + "/"
			if name == "." {
				return true
			}
		}
	}
	return true
}

func same(tree reconciler.Tree, links fs.ReadLinkFS, name, state string) bool {
	if links != nil {
		text, err := links.ReadLink(name)
		if isLink := err == nil; isLink || strings.HasPrefix(state, prefixLink) {
			return isLink && state == linkState(text)
		}
	}
	if strings.HasPrefix(state, prefixFile) {
		if id, ok := identify(tree, name); ok {
			return state == prefixFile+id
		}
	}
	info, err := tree.Stat(name)
	switch {
	case absent(err):
		return state == stateAbsent
	case err != nil:
		return false
	case info.IsDir():
		return strings.HasPrefix(state, prefixFolder)
	case !strings.HasPrefix(state, prefixFile):
		return state == stateOther
	}
	content, err := tree.ReadFile(name)
	return err == nil && state == fileState(tree, name, content)
}
