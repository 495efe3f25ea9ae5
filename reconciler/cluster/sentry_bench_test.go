package cluster_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"golang.org/x/sync/errgroup"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// BenchmarkSentry prints what a thousand Releases of ten objects cost in ten
// namespaces, and how long a change by others takes to be told. It runs
// once, whatever b.N is:
//
//	go test ./reconciler/cluster -run '^$' -bench Sentry -benchtime 1x
func BenchmarkSentry(b *testing.B) {
	const namespaces, each, objects = 10, 100, 10
	inventories := map[types.NamespacedName][]reconciler.Entry{}
	for range namespaces {
		namespace := controlplane.Namespace(b)
		controlplane.Tenant(b, namespace, rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"list", "watch"}})
		maps.Copy(inventories, inventoriesIn(b, namespace, each, objects))
	}
	heapBefore, goroutinesBefore := liveHeap(), runtime.NumGoroutine()
	s := guard(b, controlplane.Config(b))
	b.ResetTimer()
	began := time.Now()
	for release, entries := range inventories {
		s.Watch(release, controlplane.ServiceAccount, entries)
	}
	for release := range inventories {
		s.synced(b, release)
	}
	printFigure("sentry-sync", time.Since(began).Seconds(), "s", 5)
	printFigure("sentry-requests", float64(len(s.requests)), "requests", 60)
	printFigure("sentry-goroutines", float64(runtime.NumGoroutine()-goroutinesBefore), "goroutines", 300)
	printFigure("sentry-heap", float64(liveHeap()-heapBefore)/(1<<20), "MiB", 20)

	began = time.Now()
	for release, entries := range inventories {
		s.Watch(release, controlplane.ServiceAccount, entries)
	}
	printFigure("sentry-unchanged", float64(time.Since(began).Microseconds())/float64(len(inventories)), "us/release", 20)
	printFigure("sentry-drift-p50", float64(medianDrift(b, s, inventories).Microseconds())/1000, "ms", 10)
	runtime.KeepAlive(inventories)
}

// medianDrift changes one object of each of some Releases and answers the median
// time from before that write until it is told.
func medianDrift(b *testing.B, s *sentries, inventories map[types.NamespacedName][]reconciler.Entry) time.Duration {
	b.Helper()
	var took []time.Duration
	configMaps := controlplane.Dynamic(b).Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	for release, entries := range inventories {
		began := time.Now()
		_, err := configMaps.Namespace(release.Namespace).Patch(b.Context(), entries[0].Name, types.MergePatchType,
			[]byte(`{"data":{"a":"drift"}}`), metav1.PatchOptions{})
		assert.NilError(b, err)
		s.tells(b, release)
		took = append(took, time.Since(began))
		if len(took) == 101 {
			break
		}
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// inventoriesIn makes the objects of so many Releases and answers their
// inventories.
func inventoriesIn(b *testing.B, namespace string, releases, objects int) map[types.NamespacedName][]reconciler.Entry {
	b.Helper()
	client := controlplane.Dynamic(b)
	lists := make([][]reconciler.Entry, releases)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range releases {
		group.Go(func() error {
			for j := range objects {
				live, err := createOne(b, client, namespace, i, j)
				if err != nil {
					return err
				}
				lists[i] = append(lists[i], entryOf(b, live))
			}
			return nil
		})
	}
	assert.NilError(b, group.Wait())
	out := map[types.NamespacedName][]reconciler.Entry{}
	for i, entries := range lists {
		out[types.NamespacedName{Namespace: namespace, Name: fmt.Sprint("web", i)}] = entries
	}
	return out
}

func createOne(b *testing.B, client dynamic.Interface, namespace string, release, i int) (*unstructured.Unstructured, error) {
	b.Helper()
	kind, resource := "ConfigMap", "configmaps"
	switch i {
	case 8:
		kind, resource = "Secret", "secrets"
	case 9:
		kind, resource = "ServiceAccount", "serviceaccounts"
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind}}
	o.SetName(fmt.Sprintf("web%d-%d", release, i))
	o.SetLabels(map[string]string{reconciler.ReleaseLabel: fmt.Sprint("web", release)})
	return client.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).Namespace(namespace).
		Create(b.Context(), o, metav1.CreateOptions{FieldManager: "lockstep"})
}

// printFigure prints a measurement; it never fails a test.
func printFigure(name string, value float64, unit string, goal float64) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.2f %s goal %g %s\n", name, value, unit, goal, verdict)
}
