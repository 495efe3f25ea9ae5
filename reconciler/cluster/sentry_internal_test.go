package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"gotest.tools/v3/assert"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// scene is a Sentry that sees what the test shows it, in place of a watch.
type scene struct {
	*testing.T
	sentry *Sentry
	told   []string
	again  int
}

const sceneAccount = "deployer"

func newScene(t *testing.T) *scene {
	s := &scene{T: t}
	s.sentry = NewSentry(nil, nil, slog.New(slog.DiscardHandler), func(release types.NamespacedName) {
		s.told = append(s.told, release.Name)
	})
	return s
}

// was is an entry of a ConfigMap as it was written.
func was(name string, version int) reconciler.Entry {
	v := strconv.Itoa(version)
	return reconciler.Entry{
		Ref: reconciler.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: name},
		UID: "uid-" + name, Token: "r" + v, ResourceVersion: v,
	}
}

// is the ConfigMap as a watch shows it.
func is(name string, version int) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID("uid-" + name), ResourceVersion: strconv.Itoa(version),
	}}
}

// other is an object of that name that came later.
func other(name string, version int) *metav1.PartialObjectMetadata {
	o := is(name, version)
	o.UID = "another"
	return o
}

func (s *scene) watch(release string, entries ...reconciler.Entry) {
	s.sentry.Watch(types.NamespacedName{Namespace: "shop", Name: release}, sceneAccount, entries)
}

func (s *scene) sink() sink {
	at := postOf(types.NamespacedName{Namespace: "shop", Name: sceneAccount}, was("", 0).Ref)
	w := s.sentry.watchers[at]
	assert.Assert(s, w != nil, "nobody watches ConfigMaps")
	if w.again == nil {
		s.sentry.begin(w, func() { s.again++ })
	}
	return sink{s.sentry, w}
}

func (s *scene) list(version int, objects ...any) {
	assert.NilError(s, s.sink().Replace(objects, strconv.Itoa(version)))
}

func (s *scene) shown(o *metav1.PartialObjectMetadata)   { assert.NilError(s, s.sink().Update(o)) }
func (s *scene) deleted(o *metav1.PartialObjectMetadata) { assert.NilError(s, s.sink().Delete(o)) }

// moved names what moved of a Release.
func (s *scene) moved(release string) []string {
	refs, _ := s.sentry.Moved(types.NamespacedName{Namespace: "shop", Name: release})
	names := []string{}
	for _, ref := range refs {
		names = append(names, ref.Name)
	}
	return names
}

// TestSentryJudges shows what counts as a move. In each case the watch began
// with a list at version 10, and Release web holds a (written at 5) and b
// (written at 7).
func TestSentryJudges(t *testing.T) {
	for name, test := range map[string]struct {
		act   func(*scene)
		moved []string
		told  int
		again int
	}{
		"nothing happens":                    {func(*scene) {}, []string{}, 0, 0},
		"an object is changed":               {func(s *scene) { s.shown(is("a", 11)) }, []string{"a"}, 1, 0},
		"an object is changed twice":         {func(s *scene) { s.shown(is("a", 11)); s.shown(is("a", 12)) }, []string{"a"}, 1, 0},
		"two objects are changed":            {func(s *scene) { s.shown(is("b", 11)); s.shown(is("a", 12)) }, []string{"a", "b"}, 2, 0},
		"an object is deleted":               {func(s *scene) { s.deleted(is("a", 11)) }, []string{"a"}, 1, 0},
		"an object is deleted and made anew": {func(s *scene) { s.deleted(is("a", 11)); s.shown(other("a", 12)) }, []string{"a"}, 1, 0},
		"an object of no inventory is new":   {func(s *scene) { s.shown(is("z", 11)); s.deleted(is("z", 12)) }, []string{}, 0, 0},
		"a list after a gap lacks an object": {func(s *scene) { s.list(20, is("a", 5)) }, []string{"b"}, 1, 0},
		"a list after a gap shows a change":  {func(s *scene) { s.list(20, is("a", 5), is("b", 15)) }, []string{"b"}, 1, 0},
		"a list of long ago changes nothing": {func(s *scene) { s.shown(is("a", 30)); s.list(20, is("a", 5), is("b", 7)) }, []string{"a"}, 1, 0},
		"the kind is served no more":         {func(s *scene) { s.sentry.ended(s.sink().watcher, errKindGone) }, []string{"a", "b"}, 1, 0},
		"the same entries are watched again": {func(s *scene) { s.shown(is("a", 11)); s.watch("web", was("a", 5), was("b", 7)) }, []string{"a"}, 1, 0},
		"an object leaves the inventory":     {func(s *scene) { s.shown(is("a", 11)); s.watch("web", was("b", 7)) }, []string{}, 1, 0},
		"our write is seen after its entry":  {func(s *scene) { s.watch("web", was("a", 12), was("b", 7)); s.shown(is("a", 12)) }, []string{}, 0, 0},
		"our write is seen before its entry": {func(s *scene) { s.shown(is("a", 12)); s.watch("web", was("a", 12), was("b", 7)) }, []string{}, 1, 0},
		"a change came before our write":     {func(s *scene) { s.watch("web", was("a", 13), was("b", 7)); s.shown(is("a", 12)); s.shown(is("a", 13)) }, []string{}, 0, 0},
		"a change came after our write":      {func(s *scene) { s.shown(is("a", 14)); s.watch("web", was("a", 13), was("b", 7)) }, []string{"a"}, 2, 0},
		"it was deleted before our write": {func(s *scene) {
			s.watch("web", was("a", 13), was("b", 7))
			s.deleted(is("a", 12))
			s.shown(is("a", 13))
		}, []string{}, 0, 0},
		"a new object was seen as written":    {func(s *scene) { s.shown(is("c", 12)); s.watch("web", was("a", 5), was("b", 7), was("c", 12)) }, []string{}, 0, 0},
		"a new object is still to be seen":    {func(s *scene) { s.watch("web", was("a", 5), was("b", 7), was("c", 12)); s.shown(is("c", 12)) }, []string{}, 0, 0},
		"a new object was changed at once":    {func(s *scene) { s.shown(is("c", 12)); s.shown(is("c", 13)); s.watch("web", was("a", 5), was("c", 12)) }, []string{"c"}, 1, 0},
		"a new object was deleted at once":    {func(s *scene) { s.deleted(is("c", 13)); s.watch("web", was("a", 5), was("c", 12)) }, []string{"c"}, 1, 0},
		"a new object is older than the list": {func(s *scene) { s.watch("web", was("a", 5), was("c", 8)) }, []string{}, 0, 1},
		"a new object came among too many": {func(s *scene) {
			for i := range maxRecent + 1 {
				s.shown(is(fmt.Sprint("z", i), 20+i))
			}
			s.watch("web", was("a", 5), was("c", 12))
			s.list(9000, is("a", 5), is("c", 13))
		}, []string{"c"}, 1, 1},
		"a new object is the newest of too many": {func(s *scene) {
			for i := range maxRecent {
				s.shown(is(fmt.Sprint("z", i), 20+i))
			}
			s.shown(is("c", 8000))
			s.shown(is("c", 8001))
			s.watch("web", was("a", 5), was("c", 8000))
		}, []string{"c"}, 1, 0},
		"a new object was in a list": {func(s *scene) {
			s.list(20, is("a", 5), is("b", 7), is("c", 12))
			s.watch("web", was("a", 5), was("c", 12))
		}, []string{}, 0, 0},
		"a new object was changed before a list": {func(s *scene) {
			s.list(20, is("a", 5), is("b", 7), is("c", 13))
			s.watch("web", was("a", 5), was("c", 12))
		}, []string{"c"}, 1, 0},
		"a new object was deleted before a list": {func(s *scene) {
			s.list(20, is("a", 5), is("b", 7))
			s.watch("web", was("a", 5), was("c", 12))
			s.list(21, is("a", 5), is("b", 7))
		}, []string{"c"}, 1, 1},
		"a list shows too many others": {func(s *scene) {
			objects := []any{is("a", 5), is("b", 7), is("c", 12)}
			for i := range maxRecent {
				objects = append(objects, is(fmt.Sprint("z", i), 20+i))
			}
			s.list(9000, objects...)
			s.watch("web", was("a", 5), was("z0", 20))
			s.watch("api", was("c", 12))
		}, []string{}, 0, 1},
		"an object left and came back": {func(s *scene) {
			s.shown(is("a", 11))
			s.watch("web", was("b", 7))
			s.watch("web", was("a", 10), was("b", 7))
		}, []string{"a"}, 2, 0},
		"an object is only kept": {func(s *scene) {
			kept := was("a", 5)
			kept.Kept = true
			s.watch("web", kept, was("b", 7))
			s.deleted(is("a", 11))
		}, []string{}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.watch("web", was("a", 5), was("b", 7))
			s.list(10, is("a", 5), is("b", 7), is("foreign", 9))
			assert.DeepEqual(t, s.moved("web"), []string{})
			test.act(s)
			assert.DeepEqual(t, s.moved("web"), test.moved)
			assert.Equal(t, len(s.told), test.told, "%v", s.told)
			assert.Equal(t, s.again, test.again, "lists anew")
		})
	}
}

// TestSentryListsSeldom shows that Releases that come one after the other, each
// with new objects and with its inventory a while after them, share the lists of
// one watch (P6).
func TestSentryListsSeldom(t *testing.T) {
	const releases, each, late = 100, 10, 5
	s := newScene(t)
	var written []any
	inventories := make([][]reconciler.Entry, releases)
	for i := range releases + late {
		if i < releases {
			for j := range each {
				name, version := fmt.Sprintf("%d-%d", i, j), 100+i*each+j
				inventories[i] = append(inventories[i], was(name, version))
				written = append(written, is(name, version))
				if i > late {
					s.shown(is(name, version))
				}
			}
		}
		if i < late {
			continue
		}
		asked := s.again
		s.watch(fmt.Sprint("web", i-late), inventories[i-late]...)
		if i == late || s.again > asked {
			s.list(100+len(written), written...)
		}
	}
	assert.Equal(t, s.again, 0, "lists after the first")
	assert.Equal(t, len(s.told), 0, "%v", s.told)
	for w := range releases {
		moved, synced := s.sentry.Moved(types.NamespacedName{Namespace: "shop", Name: fmt.Sprint("web", w)})
		assert.Equal(t, len(moved), 0)
		assert.Assert(t, synced)
	}
	for _, w := range s.sentry.watchers {
		assert.Equal(t, len(w.recent), 0, "sightings kept of what is held")
	}
}

// TestSentrySharesWatches shows that Releases of one account share a watch,
// that each is told of its own objects, and that the last one ends it.
func TestSentrySharesWatches(t *testing.T) {
	s := newScene(t)
	s.watch("web", was("a", 5))
	s.watch("api", was("b", 7), was("a", 5))
	s.list(10, is("a", 5), is("b", 7))
	assert.Equal(t, len(s.sentry.watchers), 1)

	s.shown(is("b", 11))
	assert.DeepEqual(t, s.told, []string{"api"})
	s.shown(is("a", 12))
	slices.Sort(s.told)
	assert.DeepEqual(t, s.told, []string{"api", "api", "web"})
	assert.DeepEqual(t, s.moved("api"), []string{"b", "a"})

	s.sentry.Forget(types.NamespacedName{Namespace: "shop", Name: "api"})
	assert.DeepEqual(t, s.moved("web"), []string{"a"})
	assert.DeepEqual(t, s.moved("api"), []string{})
	s.sentry.Forget(types.NamespacedName{Namespace: "shop", Name: "web"})
	assert.Equal(t, len(s.sentry.watchers), 0)
	s.sentry.Forget(types.NamespacedName{Namespace: "shop", Name: "web"})
}

// TestSentryIsSyncedWhileItWatches shows when a quiet Release can be trusted.
func TestSentryIsSyncedWhileItWatches(t *testing.T) {
	s := newScene(t)
	release := types.NamespacedName{Namespace: "shop", Name: "web"}
	synced := func() bool {
		_, synced := s.sentry.Moved(release)
		return synced
	}
	assert.Assert(t, !synced(), "a Release that nobody watches")
	s.watch("web", was("a", 5))
	assert.Assert(t, !synced(), "before the first list")
	s.list(10, is("a", 5))
	assert.Assert(t, synced())
	s.sentry.ended(s.sink().watcher, nil)
	assert.Assert(t, !synced(), "after the connection broke")
	s.list(11, is("a", 5))
	s.watch("web", was("a", 5), was("c", 8))
	assert.Assert(t, !synced(), "while an object is looked for")
	s.list(12, is("a", 5), is("c", 8))
	assert.Assert(t, synced())
	s.sentry.ended(s.sink().watcher, errKindGone)
	assert.Assert(t, synced(), "a kind that is gone is known to be gone")
	s.watch("web")
	assert.Assert(t, synced(), "nothing to watch")
}

// TestSentryExplainsATrouble shows that the message names what to do.
func TestSentryExplainsATrouble(t *testing.T) {
	resource := schema.GroupResource{Group: "apps", Resource: "deployments"}
	at := post{
		kind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, namespace: "shop",
		account: types.NamespacedName{Namespace: "shop", Name: "deployer"},
	}
	l := &lookout{watcher: newWatcher(at), resource: resource.WithVersion("v1")}
	for name, test := range map[string]struct {
		err    error
		reason string
		text   string
	}{
		"a right is missing": {
			fmt.Errorf("failed to list: %w", apierrors.NewForbidden(resource, "", errors.New("no rule"))), "WatchForbidden",
			"watch of Deployment objects in namespace shop as ServiceAccount shop/deployer: deployments.apps is forbidden: no rule: " +
				"give it the verbs list and watch on deployments.apps; until then a change by others is not seen",
		},
		"the kind is gone": {
			fmt.Errorf("%w: Deployment of apps/v1", errKindGone), "KindGone",
			"watch of Deployment objects in namespace shop: the API does not serve the kind: Deployment of apps/v1: " +
				"install its CustomResourceDefinition again, or take the objects out of the commit",
		},
		"the API is away": {
			context.DeadlineExceeded, "WatchFailed",
			"watch of Deployment objects in namespace shop as ServiceAccount shop/deployer: context deadline exceeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := l.explain(test.err)
			assert.Error(t, err, test.text)
			assert.Equal(t, reconciler.ReasonOf(err, ""), test.reason)
			assert.Assert(t, !reconciler.IsTerminal(err))
		})
	}
	assert.NilError(t, l.explain(nil))
}

// TestSentryWaitsByItself shows which errors the Reflector must not see as
// they are: it would try again for ever and say nothing.
func TestSentryWaitsByItself(t *testing.T) {
	refused := fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	assert.Assert(t, !errors.Is(untried(refused), syscall.ECONNREFUSED))
	assert.Error(t, untried(refused), refused.Error())
	assert.Assert(t, !apierrors.IsTooManyRequests(untried(apierrors.NewTooManyRequests("slow down", 1))))
	gone := apierrors.NewResourceExpired("compacted")
	assert.Equal(t, gone.ErrStatus.Code, int32(http.StatusGone))
	assert.Assert(t, apierrors.IsResourceExpired(untried(gone)))
	assert.NilError(t, untried(nil))
}
