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

type remembered struct {
	overlay string
	reads   []read
	// objects are given to every caller, so that nobody may change them.
	objects []reconciler.Object
	size    int64
}

// get returns the objects of an overlay when a tree holds all that they were
// made from.
func (m *memo) get(tree reconciler.Tree, overlay string) ([]reconciler.Object, bool) {
	for _, r := range m.candidates(overlay) {
		if holds(tree, r.reads) {
			m.touch(r)
			return slices.Clone(r.objects), true
		}
	}
	return nil, false
}

func (m *memo) candidates(overlay string) []*remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.renders), func(r *remembered) bool { return r.overlay != overlay })
}

func (m *memo) touch(r *remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.renders, r); i > 0 {
		m.renders = slices.Insert(slices.Delete(m.renders, i, i+1), 0, r)
	}
}

// maxVersions is how many renders of one overlay path are kept: one for each
// repository that has an overlay there.
const maxVersions = 8

// put keeps a render whose objects take size bytes of memory.
func (m *memo) put(overlay string, reads readSet, objects []reconciler.Object, size int64) {
	for name, state := range reads {
		size += int64(len(name) + len(state))
	}
	if size > m.limit {
		return
	}
	r := &remembered{overlay: overlay, reads: reads.sorted(), objects: slices.Clone(objects), size: size}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.renders = slices.Insert(m.renders, 0, r)
	m.size += r.size
	versions := 0
	m.renders = slices.DeleteFunc(m.renders, func(old *remembered) bool {
		if old.overlay == overlay {
			versions++
		}
		surplus := old.overlay == overlay && versions > maxVersions
		if surplus {
			m.size -= old.size
		}
		return surplus
	})
	for m.size > m.limit {
		last := len(m.renders) - 1
		m.size -= m.renders[last].size
		m.renders = slices.Delete(m.renders, last, last+1)
	}
}
