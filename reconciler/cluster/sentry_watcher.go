package cluster

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// maxRecent is how many sightings of names that no inventory holds are kept,
// about 250 bytes each. They bridge the time between the write of a new object
// and the inventory that names it; beyond it the watch lists anew.
const maxRecent = 4096

// roster is what is watched for one Release.
type roster struct {
	release types.NamespacedName
	account string
	held    []held
	posts   map[*watcher]bool
	// moved counts the entries that moved.
	moved int
}

// held is an entry of an inventory that is watched.
type held struct {
	claim
	roster *roster
	moved  bool
}

// claim is what an inventory says of one object.
type claim struct {
	watcher             *watcher
	name                string
	uid, token, version string
}

// ref names the object.
func (c claim) ref() reconciler.Ref {
	kind := c.watcher.post.kind
	return reconciler.Ref{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Namespace: c.watcher.post.namespace, Name: c.name}
}

// holds tells whether this is the very entry.
func (c claim) holds(entry reconciler.Entry) bool {
	return c.name == entry.Name && c.uid == entry.UID && c.token == entry.Token && c.version == entry.ResourceVersion && c.ref() == entry.Ref
}

// spot is a name that inventories hold: mostly one, two while an object is
// handed over.
type spot struct {
	sighting
	holders []*held
}

// watcher is what one watch has seen. All of it is guarded by the mutex of
// the Sentry.
type watcher struct {
	post  post
	spots map[string]*spot
	// recent are sightings of other names: all since the version floor, and
	// those from before for which there is room.
	recent map[string]sighting
	floor  string
	// listed is true while the sightings are those of a watch that goes on;
	// gone while the API does not serve the kind.
	listed, gone bool
	trouble      error
	// again ends the round of the watch that goes on, so that it lists anew;
	// wake ends the pause between two rounds.
	again func()
	wake  chan struct{}
}

func newWatcher(at post) *watcher {
	return &watcher{post: at, spots: map[string]*spot{}, recent: map[string]sighting{}, wake: make(chan struct{}, 1)}
}

// news are the Releases of which an object moved that had not before.
type news map[types.NamespacedName]bool

// judge compares an entry with what was seen.
func (h *held) judge(at sighting, out news) {
	moved := at.moved(h.claim)
	if moved == h.moved {
		return
	}
	h.moved = moved
	if moved {
		h.roster.moved++
		out[h.roster.release] = true
	} else {
		h.roster.moved--
	}
}

// note takes a sighting down, unless it is from before the last one.
func (s *spot) note(at sighting, out news) {
	if older(at.version, s.version) {
		return
	}
	s.sighting = at
	for _, h := range s.holders {
		h.judge(at, out)
		if !h.moved && h.uid == at.uid && h.token == at.token {
			// One copy of the strings is enough.
			s.uid, s.token = h.uid, h.token
		}
	}
}

// see takes an event down.
func (w *watcher) see(g *glimpse, out news) {
	if at, ok := w.spots[g.name]; ok {
		at.note(g.sighting, out)
		return
	}
	w.remember(g.name, g.sighting)
}

// remember keeps a sighting that no inventory asks for.
func (w *watcher) remember(name string, at sighting) {
	w.recent[name] = at
	if len(w.recent) > maxRecent {
		// Half of them go at once, so that they are seldom sorted.
		w.thin(maxRecent / 2)
	}
}

// thin keeps the newest of the sightings that no inventory asks for. Of a name
// that is let go nothing is known from before the newest of those, so whatever
// is older has to be listed.
func (w *watcher) thin(room int) {
	if len(w.recent) <= room {
		return
	}
	names := slices.SortedFunc(maps.Keys(w.recent), func(a, b string) int {
		return newestFirst(w.recent[a].version, w.recent[b].version)
	})
	if newest := w.recent[names[room]].version; older(w.floor, newest) {
		w.floor = newest
	}
	for _, name := range names[room:] {
		delete(w.recent, name)
	}
}

// newestFirst orders versions. One that is no number counts as the oldest.
func newestFirst(a, b string) int {
	return cmp.Compare(number(b), number(a))
}

func number(version string) uint64 {
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// replace takes a whole list down. What it does not hold is gone: that is how
// a deletion is found that came while nobody watched.
func (w *watcher) replace(list []*glimpse, version string, out news) {
	found := make(map[string]sighting, len(w.spots))
	// Others are kept, too: the inventories that name what was written before
	// this list may still be to come.
	w.recent = map[string]sighting{}
	for _, g := range list {
		if _, wanted := w.spots[g.name]; wanted {
			found[g.name] = g.sighting
		} else {
			w.recent[g.name] = g.sighting
		}
	}
	for name, at := range w.spots {
		now, there := found[name]
		if !there {
			now = sighting{gone: true, version: version}
		}
		at.note(now, out)
	}
	w.floor = version
	w.thin(maxRecent)
	w.listed, w.gone, w.trouble = true, false, nil
}

// vanish takes down that the API serves the kind no more: whatever was
// written until now is gone.
func (w *watcher) vanish(out news) {
	for _, at := range w.spots {
		for _, h := range at.holders {
			if at.version == "" || older(at.version, h.version) {
				at.version = h.version
			}
		}
		at.note(sighting{gone: true, version: at.version}, out)
	}
	w.recent = map[string]sighting{}
	w.listed, w.gone = true, true
}

// hold adds an entry. It answers true when what was seen does not tell how
// the object is now.
func (w *watcher) hold(h *held) (unknown bool) {
	at, known := w.spots[h.name]
	if !known {
		at = &spot{sighting: sighting{uid: h.uid, token: h.token, version: h.version}}
		if recent, ok := w.recent[h.name]; ok && !older(recent.version, h.version) {
			at.sighting = recent
		} else {
			unknown = w.floor != h.version && !older(w.floor, h.version)
		}
		delete(w.recent, h.name)
		w.spots[h.name] = at
	}
	at.holders = append(at.holders, h)
	return w.listed && (unknown || w.gone)
}

// release takes an entry away.
func (w *watcher) release(h *held) {
	at, ok := w.spots[h.name]
	if !ok {
		return
	}
	at.holders = slices.DeleteFunc(at.holders, func(other *held) bool { return other == h })
	if len(at.holders) == 0 {
		delete(w.spots, h.name)
		w.remember(h.name, at.sighting)
	}
}

// relist makes the watch list anew, at once.
func (w *watcher) relist() {
	w.listed = false
	if w.again != nil {
		w.again()
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
