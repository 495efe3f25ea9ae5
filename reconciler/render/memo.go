package render

import (
	"slices"
	"sync"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// memo keeps renders with what they read, so that a commit that changed
// something else is not rendered again. It forgets what was not used for
// longest.
type memo struct {
	limit int64

	mu   sync.Mutex
	size int64
	// renders are ordered by their last use, newest first.
	renders []*remembered
}

// home is a folder in a repository.
type home struct{ repository, overlay string }

type remembered struct {
	at    home
	reads []read
	// objects are given to every caller, so that nobody may change them.
	objects []reconciler.Object
	size    int64
	// pieces are those that the render was built from, by their keys, if it is
	// the latest of its home. They are part of size and take room of it.
	pieces map[string][]byte
	room   int64
}

// get returns the objects of an overlay when a tree holds all that they were
// made from.
func (m *memo) get(tree reconciler.Tree, at home) ([]reconciler.Object, bool) {
	for _, r := range m.candidates(at) {
		if holds(tree, r.reads) {
			m.touch(r)
			return slices.Clone(r.objects), true
		}
	}
	return nil, false
}

// candidates are the renders of an overlay path, those of this repository
// first. A repository that was cloned again may have another name since.
func (m *memo) candidates(at home) []*remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	var own, others []*remembered
	for _, r := range m.renders {
		switch {
		case r.at == at:
			own = append(own, r)
		case r.at.overlay == at.overlay:
			others = append(others, r)
		}
	}
	return append(own, others...)
}

func (m *memo) touch(r *remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.renders, r); i > 0 {
		m.renders = slices.Insert(slices.Delete(m.renders, i, i+1), 0, r)
	}
}

// stock gives a render the pieces of the latest one at its home.
func (m *memo) stock(at home) *stock {
	s := &stock{used: map[string][]byte{}, room: m.limit / 4}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.renders {
		if r.at == at && r.pieces != nil {
			s.known = r.pieces
			break
		}
	}
	return s
}

// maxVersions is how many renders of one home are kept: one for each branch or
// tag that is followed. Repositories that do not tell their names share them.
const maxVersions = 8

// put keeps a render whose objects take size bytes of memory, and the pieces
// that it was built from if there is room for them too.
func (m *memo) put(at home, files *reader, objects []reconciler.Object, size int64) {
	for name, state := range files.reads {
		size += int64(len(name) + len(state))
	}
	if size > m.limit {
		return
	}
	r := &remembered{at: at, reads: files.reads.sorted(), objects: slices.Clone(objects), size: size}
	if room := m.limit/4 - files.pieces.room; len(files.pieces.used) > 0 && size+room <= m.limit {
		r.pieces, r.room = files.pieces.used, room
		r.size += room
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.supersede(at)
	m.renders = slices.Insert(m.renders, 0, r)
	m.size += r.size
	for m.size > m.limit {
		last := len(m.renders) - 1
		m.size -= m.renders[last].size
		m.renders = slices.Delete(m.renders, last, last+1)
	}
}

// supersede makes way for a render: pieces are kept once, and so many versions.
func (m *memo) supersede(at home) {
	versions := 1
	m.renders = slices.DeleteFunc(m.renders, func(old *remembered) bool {
		if old.at != at {
			return false
		}
		old.size -= old.room
		m.size -= old.room
		old.pieces, old.room = nil, 0
		if versions++; versions <= maxVersions {
			return false
		}
		m.size -= old.size
		return true
	})
}
