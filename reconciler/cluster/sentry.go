package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Sentry watches the metadata of the objects in inventories and tells when one
// moved: when it was changed, deleted, made anew or robbed of its label by
// anybody but Lockstep. There is one watch for each kind, namespace and
// ServiceAccount, with the rights of that account, whatever the number of
// Releases. Of what a watch brings only a few words are kept for each name in
// an inventory, and nothing of other objects (P6, P7). While nothing happens,
// nothing is asked of the API.
type Sentry struct {
	config *rest.Config
	mapper meta.RESTMapperWithContext
	log    *slog.Logger
	moved  func(types.NamespacedName)
	// changed tells Run that watches are to be started or stopped.
	changed chan struct{}

	mu       sync.Mutex
	rosters  map[types.NamespacedName]*roster
	watchers map[post]*watcher
}

// NewSentry returns a Sentry that watches nothing until Run. The function
// moved is called with each Release of which an object moved that had not
// before: from the goroutine that saw it, which may be that of a call of
// Watch, and with no lock held. It must be quick.
func NewSentry(config *rest.Config, mapper meta.RESTMapper, log *slog.Logger, moved func(types.NamespacedName)) *Sentry {
	return &Sentry{
		config: config, mapper: meta.ToRESTMapperWithContext(mapper), log: log, moved: moved,
		changed:  make(chan struct{}, 1),
		rosters:  map[types.NamespacedName]*roster{},
		watchers: map[post]*watcher{},
	}
}

// Run watches until the context ends and the last watch has stopped.
func (s *Sentry) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	stops := map[*watcher]context.CancelFunc{}
	for {
		for _, w := range s.muster(stops) {
			watching, stop := context.WithCancel(ctx)
			stops[w] = stop
			running.Go(func() {
				defer stop()
				(&lookout{sentry: s, watcher: w}).run(watching)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
	}
}

// muster stops the watches that nobody needs any more and answers those that
// do not run yet.
func (s *Sentry) muster(stops map[*watcher]context.CancelFunc) []*watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w, stop := range stops {
		if s.watchers[w.post] != w {
			stop()
			delete(stops, w)
		}
	}
	var fresh []*watcher
	for _, w := range s.watchers {
		if stops[w] == nil {
			fresh = append(fresh, w)
		}
	}
	return fresh
}

// Watch replaces what is watched for a Release: the entries of its inventory,
// with the rights of the ServiceAccount in its namespace. Entries that are
// only kept are not watched: there is nothing to compare them with. Whether
// an object moved is judged anew for each entry that changed, from what was
// seen since; so an object that was compared and is to stay as it is must
// come back with the token it has now, or it stays among those that moved. It
// costs next to nothing when no entry changed.
func (s *Sentry) Watch(release types.NamespacedName, account string, entries []reconciler.Entry) {
	out := news{}
	s.mu.Lock()
	s.enlist(release, account, entries, out)
	s.mu.Unlock()
	s.tell(out)
}

func (s *Sentry) enlist(release types.NamespacedName, account string, entries []reconciler.Entry, out news) {
	old := s.rosters[release]
	if old != nil && old.account == account && old.covers(entries) {
		return
	}
	fresh := &roster{release: release, account: account, posts: map[*watcher]bool{}, held: make([]held, 0, len(entries))}
	unknown := map[*watcher]bool{}
	for _, entry := range entries {
		if entry.Kept {
			continue
		}
		w := s.watcherOf(postOf(types.NamespacedName{Namespace: release.Namespace, Name: account}, entry.Ref))
		fresh.posts[w] = true
		// The slice never grows, so that pointers into it stay good.
		fresh.held = append(fresh.held, held{roster: fresh, claim: claim{
			watcher: w, name: entry.Name, uid: entry.UID, token: entry.Token, version: entry.ResourceVersion,
		}})
		if w.hold(&fresh.held[len(fresh.held)-1]) {
			unknown[w] = true
		}
	}
	for w := range unknown {
		w.relist()
	}
	fresh.judge(old, out)
	s.rosters[release] = fresh
	s.dismiss(old)
}

// covers tells whether exactly these entries are watched already.
func (r *roster) covers(entries []reconciler.Entry) bool {
	i := 0
	for _, entry := range entries {
		if entry.Kept {
			continue
		}
		if i == len(r.held) || !r.held[i].holds(entry) {
			return false
		}
		i++
	}
	return i == len(r.held)
}

// judge compares all entries with what was seen. Those that moved before and
// are still the same are no news.
func (r *roster) judge(old *roster, out news) {
	told := map[claim]bool{}
	if old != nil && old.moved > 0 {
		for _, h := range old.held {
			told[h.claim] = h.moved
		}
	}
	for i := range r.held {
		h := &r.held[i]
		ears := out
		if told[h.claim] {
			ears = news{}
		}
		h.judge(h.watcher.spots[h.name].sighting, ears)
	}
}

// watcherOf returns the watcher of a post, which Run starts when it is new.
func (s *Sentry) watcherOf(at post) *watcher {
	w, ok := s.watchers[at]
	if !ok {
		w = newWatcher(at)
		s.watchers[at] = w
		s.nudge()
	}
	return w
}

// dismiss ends what is watched for a Release, and the watches that no other
// needs.
func (s *Sentry) dismiss(old *roster) {
	if old == nil {
		return
	}
	for i := range old.held {
		old.held[i].watcher.release(&old.held[i])
	}
	for w := range old.posts {
		if len(w.spots) == 0 {
			delete(s.watchers, w.post)
			s.nudge()
		}
	}
}

func (s *Sentry) nudge() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Forget ends what is watched for a Release.
func (s *Sentry) Forget(release types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dismiss(s.rosters[release])
	delete(s.rosters, release)
}

// Moved names the objects of a Release that are no longer as its entries say,
// in the order of the entries. It is not synced while some of them are not
// watched: at the start, or because a watch is refused or broken; then an
// object may have moved that is not named.
func (s *Sentry) Moved(release types.NamespacedName) (moved []reconciler.Ref, synced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rosters[release]
	if !ok {
		return nil, false
	}
	synced = true
	for w := range r.posts {
		synced = synced && w.listed
	}
	if r.moved == 0 {
		return nil, synced
	}
	for i := range r.held {
		if r.held[i].moved {
			moved = append(moved, r.held[i].ref())
		}
	}
	return moved, synced
}

// Trouble says why objects of a Release cannot be watched, and which right
// the ServiceAccount lacks when that is the reason; nil when all is well. It
// never says that trying again is useless: the watch is tried again at least
// once a minute.
func (s *Sentry) Trouble(release types.NamespacedName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rosters[release]
	if !ok {
		return nil
	}
	var troubles []error
	for w := range r.posts {
		if w.trouble != nil {
			troubles = append(troubles, w.trouble)
		}
	}
	if len(troubles) == 0 {
		return nil
	}
	slices.SortFunc(troubles, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return reconciler.Transient(reconciler.ReasonOf(troubles[0], "WatchFailed"), errors.Join(troubles...))
}

func (s *Sentry) tell(out news) {
	for release := range out {
		s.moved(release)
	}
}
