package cluster_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"k8s.io/client-go/dynamic"

	"golang.org/x/sync/errgroup"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// cord is the way to the API server, which a test cuts and mends.
type cord struct {
	mu    sync.Mutex
	off   bool
	conns []net.Conn
}

func newCord() *cord { return &cord{} }

func (c *cord) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	off := c.off
	c.mu.Unlock()
	if off {
		return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

func (c *cord) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

func (c *cord) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = false
}

// TestSentryOfAKindThatGoes shows that the objects of a kind are gone with its
// definition, and watched again when it is back (A13, A20).
func TestSentryOfAKindThatGoes(t *testing.T) {
	t.Parallel()
	group := "sentry-" + strings.TrimPrefix(controlplane.Namespace(t), "lockstep-test-") + ".example"
	w := newWorldWith(t, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"tunnels"}, Verbs: []string{"list", "watch"}})
	web := w.key("web")
	definition := object(t, "crd.yaml", fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tunnels.%[1]s}
spec:
  group: %[1]s
  names: {kind: Tunnel, plural: tunnels, singular: tunnel, listKind: TunnelList}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`, group))
	definitions := w.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	define := func() {
		made, err := definitions.Create(t.Context(), definition.Unstructured, metav1.CreateOptions{})
		assert.NilError(t, err)
		controlplane.Await(t, definitions, made)
	}
	define()
	controlplane.Cleanup(t, definition.GetName(), func(ctx context.Context) error {
		return definitions.Delete(ctx, definition.GetName(), metav1.DeleteOptions{})
	})
	tunnels := w.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "tunnels"}).Namespace(w.namespace)
	dig := func() reconciler.Entry {
		tunnel := object(t, "tunnel.yaml", "{apiVersion: "+group+"/v1, kind: Tunnel, metadata: {name: east}}")
		var entry reconciler.Entry
		poll.WaitOn(t, func(poll.LogT) poll.Result {
			tunnel.SetLabels(map[string]string{reconciler.ReleaseLabel: "web"})
			live, err := tunnels.Create(t.Context(), tunnel.Unstructured, metav1.CreateOptions{})
			if err != nil {
				return poll.Continue("%v", err)
			}
			entry = entryOf(t, live)
			return poll.Success()
		}, poll.WithTimeout(patience))
		return entry
	}
	entry := dig()
	s := guard(t, controlplane.Config(t))
	s.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
	s.synced(t, web)

	assert.NilError(t, definitions.Delete(t.Context(), definition.GetName(), metav1.DeleteOptions{}))
	assert.DeepEqual(t, s.tells(t, web), []string{"Tunnel." + group + " " + w.namespace + "/east"})
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		_, synced := s.Moved(web)
		if err := s.Trouble(web); !synced || reconciler.ReasonOf(err, "") != "KindGone" {
			return poll.Continue("synced %v, trouble %v", synced, err)
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	s.silent(t, web)

	// Another Sentry never saw the kind, nor did its mapper.
	late := guard(t, controlplane.Config(t))
	late.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
	assert.DeepEqual(t, late.tells(t, web), []string{"Tunnel." + group + " " + w.namespace + "/east"})

	poll.WaitOn(t, func(poll.LogT) poll.Result {
		_, err := definitions.Get(t.Context(), definition.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return poll.Success()
		}
		return poll.Continue("the definition goes: %v", err)
	}, poll.WithTimeout(patience))
	define()
	entry = dig()
	for _, sentry := range []*sentries{s, late} {
		// The entry of what was just written wakes the watch at once.
		sentry.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
		sentry.synced(t, web)
		assert.NilError(t, sentry.Trouble(web))
		assert.DeepEqual(t, sentry.movedOf(web), []string{})
	}
	assert.NilError(t, tunnels.Delete(t.Context(), "east", metav1.DeleteOptions{}))
	assert.DeepEqual(t, s.tells(t, web), []string{"Tunnel." + group + " " + w.namespace + "/east"})
	assert.DeepEqual(t, late.tells(t, web), []string{"Tunnel." + group + " " + w.namespace + "/east"})
}

// TestSentryKeepsNothingForeign covers P6 and P7: five thousand ConfigMaps of
// others leave the heap as it is, with our label or without, whether they
// come with the list or later.
func TestSentryKeepsNothingForeign(t *testing.T) {
	w := newWorld(t)
	web := w.key("web")
	entry := w.marked(t, w.configMaps(), configMap(t, "ours"), "web")
	config := controlplane.Config(t)
	config.QPS, config.Burst = 2000, 2000
	client, err := dynamic.NewForConfig(config)
	assert.NilError(t, err)
	configMaps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(w.namespace)
	foreign := func(from, to int) {
		var group errgroup.Group
		group.SetLimit(8)
		for i := from; i < to; i++ {
			group.Go(func() error {
				o := configMap(t, fmt.Sprintf("foreign-%d", i))
				o.SetAnnotations(map[string]string{"note": strings.Repeat("x", 2000)})
				if i%2 == 0 {
					o.SetLabels(map[string]string{reconciler.ReleaseLabel: "another"})
				}
				_, err := configMaps.Create(t.Context(), o.Unstructured, metav1.CreateOptions{})
				return err
			})
		}
		assert.NilError(t, group.Wait())
	}
	s := guard(t, controlplane.Config(t))
	s.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
	s.synced(t, web)
	seen := func(value string) {
		// An event of our own object comes after all those before it.
		mergePatch(t, w.configMaps(), "ours", `{"data":{"a":"`+value+`"}}`)
		assert.DeepEqual(t, s.tells(t, web), []string{"ConfigMap " + w.namespace + "/ours"})
	}
	seen("before")
	before := liveHeap()
	foreign(0, 2500)
	entry = w.marked(t, w.configMaps(), configMap(t, "ours"), "web")
	s.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
	seen("during")
	during := liveHeap()
	foreign(2500, 5000)
	late := guard(t, controlplane.Config(t))
	late.Watch(web, controlplane.ServiceAccount, []reconciler.Entry{entry})
	late.synced(t, web)
	after := liveHeap()
	t.Logf("heap: %d KiB, %d KiB with 2500 foreign ConfigMaps, %d KiB with 5000 and a second Sentry", before>>10, during>>10, after>>10)
	// The second Sentry brings its own connection, which has buffers.
	const room = 1 << 20
	assert.Assert(t, during < before+room, "%d bytes became %d", before, during)
	assert.Assert(t, after < before+2*room, "%d bytes became %d", before, after)
	runtime.KeepAlive(s)
	runtime.KeepAlive(late)
}

// liveHeap is what is alive, after everything else was collected.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestSentryEndsCleanly covers P10: Releases come and go, watches fail and
// begin anew, and in the end no goroutine is left.
func TestSentryEndsCleanly(t *testing.T) {
	w := newWorld(t)
	var entries []reconciler.Entry
	for i := range 4 {
		entries = append(entries, w.marked(t, w.configMaps(), configMap(t, fmt.Sprint("a", i)), "web"))
	}
	unknown := entries[0]
	unknown.Group, unknown.Kind = "nowhere.example", "Nothing"
	cord := newCord()
	config := controlplane.Config(t)
	config.Dial = cord.dial
	var before int
	const rounds = 6
	for round := range rounds {
		s := guard(t, config)
		for i := range 20 {
			release := w.key(fmt.Sprint("web", i))
			s.Watch(release, fmt.Sprint("deployer", i%3), append(entries[i%4:], unknown))
			if i%2 == 1 {
				s.Forget(release)
			}
		}
		s.Watch(w.key("web"), controlplane.ServiceAccount, entries)
		s.synced(t, w.key("web"))
		if round%2 == 1 {
			cord.cut()
			poll.WaitOn(t, func(poll.LogT) poll.Result {
				if _, synced := s.Moved(w.key("web")); synced {
					return poll.Continue("the loss of the connection is not seen")
				}
				return poll.Success()
			}, poll.WithTimeout(patience))
		}
		began := time.Now()
		s.stop()
		assert.Assert(t, time.Since(began) < 2*time.Second, "the end took %s", time.Since(began))
		cord.cut()
		cord.mend()
		if round == 0 {
			before = settled()
		}
	}
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		// One of them is the poll. A leak leaves one or more each round; fewer
		// are of a connection that the test itself has opened meanwhile.
		if now := runtime.NumGoroutine() - 1; now >= before+rounds-1 {
			return poll.Continue("%d goroutines, %d after the first round:\n%s", now, before, stacks())
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.Assert(t, !strings.Contains(stacks(), "cluster.(*lookout)"), "%s", stacks())
}

// settled is the number of goroutines once it stays the same for a while.
func settled() int {
	count, same := runtime.NumGoroutine(), 0
	for same < 10 {
		<-time.After(50 * time.Millisecond)
		same++
		if now := runtime.NumGoroutine(); now != count {
			count, same = now, 0
		}
	}
	return count
}

func stacks() string {
	buffer := make([]byte, 1<<20)
	return string(buffer[:runtime.Stack(buffer, true)])
}

// TestSentryAgreesWithWhoWrites shows that the token of an object is the same
// in the answer to a write and in a watch, for kinds of all sorts, and that a
// status moves none of them.
func TestSentryAgreesWithWhoWrites(t *testing.T) {
	t.Parallel()
	rule := rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"list", "watch"}}
	w := newWorldWith(t, rule)
	web := w.key("web")
	var entries []reconciler.Entry
	for resource, manifest := range map[string]string{
		"resourcequotas":         "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {configmaps: 40}}}",
		"persistentvolumeclaims": "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: p}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
		"services":               "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}",
		"serviceaccounts":        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}",
	} {
		client := w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).Namespace(w.namespace)
		o := object(t, resource, manifest)
		entry := w.marked(t, client, o, "web")
		if o.GetKind() != "ResourceQuota" {
			entries = append(entries, entry)
		}
	}
	entries = append(entries, w.usedUp(t, "q"))
	entries = append(entries, w.marked(t, w.deployments(), deployment(t, "backend", "app:1"), "web"))
	s := guard(t, controlplane.Config(t))
	s.Watch(web, controlplane.ServiceAccount, entries)
	s.synced(t, web)
	assert.DeepEqual(t, s.movedOf(web), []string{})
	// The controller numbers rollouts by way of the status.
	mergePatch(t, w.deployments(), "backend", `{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"2"}}}`, "status")
	mergePatch(t, w.quotas(), "q", `{"status":{"used":{"configmaps":"17"}}}`, "status")
	mergePatch(t, w.quotas(), "q", `{"spec":{"hard":{"configmaps":"41"}}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{"ResourceQuota " + w.namespace + "/q"})
	mergePatch(t, w.deployments(), "backend", `{"spec":{"replicas":3}}`)
	assert.DeepEqual(t, s.tells(t, web), []string{"ResourceQuota " + w.namespace + "/q", "Deployment " + w.namespace + "/backend"})
	s.silent(t, web)
}

func (w *world) quotas() dynamic.ResourceInterface {
	return w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}).Namespace(w.namespace)
}

// usedUp waits for the first status of a quota and answers its entry then.
func (w *world) usedUp(t *testing.T, name string) reconciler.Entry {
	t.Helper()
	var entry reconciler.Entry
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		live, err := w.quotas().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return poll.Error(err)
		}
		if _, found, _ := unstructured.NestedMap(live.Object, "status", "used"); !found {
			return poll.Continue("no status yet")
		}
		entry = entryOf(t, live)
		return poll.Success()
	}, poll.WithTimeout(patience))
	return entry
}
