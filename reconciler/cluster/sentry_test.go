package cluster_test

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// sentries is a Sentry that runs against the real API server, and what it
// told.
type sentries struct {
	*cluster.Sentry
	told chan types.NamespacedName
	stop func()

	mu       sync.Mutex
	requests []string
}

// guard runs a Sentry until the test ends.
func guard(t testing.TB, config *rest.Config) *sentries {
	t.Helper()
	s := &sentries{told: make(chan types.NamespacedName, 10000)}
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &countedRequests{next: next, sentry: s} })
	s.Sentry = cluster.NewSentry(config, freshMapper(t), slog.New(slog.DiscardHandler), func(release types.NamespacedName) { s.told <- release })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			assert.Check(t, err == nil, "%v", err)
		case <-time.After(patience):
			t.Error("the Sentry does not end")
		}
	})
	t.Cleanup(s.stop)
	return s
}

func freshMapper(t testing.TB) meta.RESTMapper {
	t.Helper()
	return restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(controlplane.Client(t).Discovery()))
}

// countedRequests takes down what is asked of the API.
type countedRequests struct {
	next   http.RoundTripper
	sentry *sentries
}

// RoundTrip implements http.RoundTripper.
func (c *countedRequests) RoundTrip(request *http.Request) (*http.Response, error) {
	c.sentry.mu.Lock()
	c.sentry.requests = append(c.sentry.requests, request.URL.Path+"?"+request.URL.RawQuery)
	c.sentry.mu.Unlock()
	return c.next.RoundTrip(request)
}

// asked are the requests for a resource until now.
func (s *sentries) asked(resource string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, request := range s.requests {
		if strings.Contains(request, "/"+resource+"?") {
			out = append(out, request)
		}
	}
	return out
}

// synced waits until all that a Release holds is watched.
func (s *sentries) synced(t testing.TB, release types.NamespacedName) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if _, synced := s.Moved(release); synced {
			return poll.Success()
		}
		return poll.Continue("not synced: %v", s.Trouble(release))
	}, poll.WithTimeout(patience), poll.WithDelay(5*time.Millisecond))
}

// tells waits for a move of a Release and names what moved.
func (s *sentries) tells(t testing.TB, release types.NamespacedName) []string {
	t.Helper()
	select {
	case told := <-s.told:
		assert.Equal(t, told, release)
	case <-time.After(patience):
		t.Fatalf("no move of %s: %v", release, s.Trouble(release))
	}
	return s.movedOf(release)
}

func (s *sentries) movedOf(release types.NamespacedName) []string {
	moved, _ := s.Moved(release)
	names := []string{}
	for _, ref := range moved {
		names = append(names, ref.String())
	}
	return names
}

// silent asserts that nothing was told but for what was read.
func (s *sentries) silent(t testing.TB, release types.NamespacedName) {
	t.Helper()
	select {
	case told := <-s.told:
		t.Fatalf("a move of %s that nobody made: %v", told, s.movedOf(release))
	default:
	}
}

// marked gives an object the marks of a Release and applies it; the entry is
// that of an inventory.
func (w *world) marked(t *testing.T, client dynamic.ResourceInterface, o reconciler.Object, release string) reconciler.Entry {
	t.Helper()
	labels := map[string]string{reconciler.ReleaseLabel: release}
	maps.Copy(labels, o.GetLabels())
	o.SetLabels(labels)
	live, err := client.Apply(t.Context(), o.GetName(), o.Unstructured, metav1.ApplyOptions{FieldManager: cluster.FieldManager, Force: true})
	assert.NilError(t, err)
	return entryOf(t, live)
}

func entryOf(t testing.TB, live *unstructured.Unstructured) reconciler.Entry {
	t.Helper()
	kind := live.GroupVersionKind()
	is, err := cluster.TokenOf(live)
	assert.NilError(t, err)
	return reconciler.Entry{
		Ref: reconciler.Ref{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Namespace: live.GetNamespace(), Name: live.GetName()},
		UID: string(live.GetUID()), Token: is, ResourceVersion: live.GetResourceVersion(),
	}
}

func (w *world) key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.namespace, Name: name}
}

// TestSentryTellsWhatOthersDo shows each way in which an object moves, and
// that it is told once.
func TestSentryTellsWhatOthersDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	web := w.key("web")
	entries := map[string]reconciler.Entry{}
	watched := func() (out []reconciler.Entry) {
		for _, name := range []string{"a", "b", "c", "d"} {
			out = append(out, entries[name])
		}
		return append(out, entries["backend"])
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		entries[name] = w.marked(t, w.configMaps(), configMap(t, name), "web")
	}
	entries["backend"] = w.marked(t, w.deployments(), deployment(t, "backend", "app:1"), "web")
	s := guard(t, controlplane.Config(t))
	s.Watch(web, controlplane.ServiceAccount, watched())
	s.synced(t, web)
	assert.NilError(t, s.Trouble(web))
	s.silent(t, web)

	mergePatch(t, w.configMaps(), "a", `{"data":{"a":"2"}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/a"})
	again := mergePatch(t, w.configMaps(), "a", `{"data":{"a":"3"}}`)

	// The object was looked at and is to stay: its entry is the one it has.
	entries["a"] = entryOf(t, again)
	s.Watch(web, controlplane.ServiceAccount, watched())
	assert.NilError(t, w.configMaps().Delete(t.Context(), "b", metav1.DeleteOptions{}))
	assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/b"})

	mergePatch(t, w.configMaps(), "c", `{"metadata":{"labels":{"lockstep.dev/release":null}}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/b", "ConfigMap " + w.namespace + "/c"})

	// A status is no move; a change of the spec is.
	mergePatch(t, w.deployments(), "backend", `{"status":{"collisionCount":1}}`, "status")
	mergePatch(t, w.deployments(), "backend", `{"spec":{"replicas":7}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{
		"ConfigMap " + w.namespace + "/b", "ConfigMap " + w.namespace + "/c", "Deployment " + w.namespace + "/backend",
	})

	// Our own write puts the object back; it is no move, seen late or early.
	entries["b"] = w.marked(t, w.configMaps(), configMap(t, "b"), "web")
	entries["c"] = w.marked(t, w.configMaps(), configMap(t, "c"), "web")
	entries["backend"] = w.marked(t, w.deployments(), deployment(t, "backend", "app:1"), "web")
	s.Watch(web, controlplane.ServiceAccount, watched())
	assert.DeepEqual(t, s.movedOf(web), []string{})
	mergePatch(t, w.configMaps(), "d", `{"data":{"a":"2"}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/d"})
	s.silent(t, web)
}

// TestSentryFindsWhatItMissed covers changes made before the watch began and
// while the API server was out of reach.
func TestSentryFindsWhatItMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	web := w.key("web")
	entries := []reconciler.Entry{}
	for _, name := range []string{"a", "b", "c"} {
		entries = append(entries, w.marked(t, w.configMaps(), configMap(t, name), "web"))
	}
	mergePatch(t, w.configMaps(), "a", `{"data":{"a":"2"}}`)
	cord := newCord()
	config := controlplane.Config(t)
	config.Dial = cord.dial
	s := guard(t, config)
	s.Watch(web, controlplane.ServiceAccount, entries)
	assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/a"})
	s.synced(t, web)

	cord.cut()
	assert.NilError(t, w.configMaps().Delete(t.Context(), "b", metav1.DeleteOptions{}))
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if _, synced := s.Moved(web); synced || s.Trouble(web) == nil {
			return poll.Continue("the loss of the connection is not seen")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.DeepEqual(t, s.movedOf(web), []string{"ConfigMap " + w.namespace + "/a"})

	cord.mend()
	assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/a", "ConfigMap " + w.namespace + "/b"})
	s.synced(t, web)
	assert.NilError(t, s.Trouble(web))
}

// TestSentryWithoutTheRight shows that a watch that is refused is told, does
// not storm the API, and begins when the right is given.
func TestSentryWithoutTheRight(t *testing.T) {
	t.Parallel()
	may := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}}
	w := newWorldWith(t, may...)
	web := w.key("web")
	entry := w.marked(t, w.configMaps(), configMap(t, "a"), "web")
	s := guard(t, controlplane.Config(t))
	s.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if s.Trouble(web) == nil {
			return poll.Continue("no trouble yet")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.Equal(t, reconciler.ReasonOf(s.Trouble(web), ""), "WatchForbidden")
	assert.ErrorContains(t, s.Trouble(web), "as ServiceAccount "+w.namespace+"/deployer: configmaps is forbidden")
	assert.ErrorContains(t, s.Trouble(web), "cannot watch resource")
	assert.ErrorContains(t, s.Trouble(web), "give it the verbs list and watch on configmaps")
	_, synced := s.Moved(web)
	assert.Assert(t, !synced)

	began := time.Now()
	for time.Since(began) < 3*time.Second {
		s.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
		<-time.After(100 * time.Millisecond)
	}
	assert.Assert(t, len(s.asked("configmaps")) <= 12, "%d requests in three seconds", len(s.asked("configmaps")))

	may[0].Verbs = []string{"list", "watch"}
	role, err := w.kube.RbacV1().Roles(w.namespace).Get(t.Context(), controlplane.ServiceAccount, metav1.GetOptions{})
	assert.NilError(t, err)
	role.Rules = may
	_, err = w.kube.RbacV1().Roles(w.namespace).Update(t.Context(), role, metav1.UpdateOptions{})
	assert.NilError(t, err)
	s.synced(t, web)
	assert.NilError(t, s.Trouble(web))
	mergePatch(t, w.configMaps(), "a", `{"data":{"a":"2"}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/a"})
}

// TestSentryNeedsOneNameOnly shows that the Namespace of a Release is watched
// by an account that may see no other.
func TestSentryNeedsOneNameOnly(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t)
	web := w.key("web")
	name := "lockstep-test-sentry-" + w.namespace
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{w.namespace}, Verbs: []string{"list", "watch"},
	}}}
	_, err := w.kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	assert.NilError(t, err)
	controlplane.Cleanup(t, "ClusterRole "+name, func(ctx context.Context) error {
		return w.kube.RbacV1().ClusterRoles().Delete(ctx, name, metav1.DeleteOptions{})
	})
	_, err = w.kube.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: controlplane.ServiceAccount, Namespace: w.namespace}},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	controlplane.Cleanup(t, "ClusterRoleBinding "+name, func(ctx context.Context) error {
		return w.kube.RbacV1().ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{})
	})

	namespaces := w.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("namespaces"))
	live := mergePatch(t, namespaces, w.namespace, `{"metadata":{"labels":{"lockstep.dev/release":"web"}}}`)
	s := guard(t, controlplane.Config(t))
	s.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entryOf(t, live)})
	s.synced(t, web)
	mergePatch(t, namespaces, w.namespace, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{"Namespace " + w.namespace})
}
