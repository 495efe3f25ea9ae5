package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// TestWriteAnswersWhatIsThere shows the entries of a write that stops half-way:
// what was written and what is unchanged, and nothing else (A16).
func TestWriteAnswersWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	applyAll(t, w.applier(t), deployment(t, "same", "image:1"))
	changes := compared(t, w.applier(t), configMap(t, "new"),
		object(t, "svc.yaml", "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}"),
		deployment(t, "same", "image:1"), deployment(t, "late", "image:1"))
	bad := object(t, "svc.yaml", "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80, protocol: NO}]}}")
	changes[1].Object = bad
	entries, err := w.applier(t).Write(t.Context(), changes)
	assert.ErrorContains(t, err, "svc.yaml: Service s: ")
	assert.Assert(t, reconciler.IsTerminal(err))
	assert.Equal(t, len(entries), 2)
	assert.Equal(t, entries[0].Name, "new")
	assert.Equal(t, entries[1].Name, "same")
	_, err = w.deployments().Get(t.Context(), "late", metav1.GetOptions{})
	assert.ErrorContains(t, err, "not found")
}

// TestWriteKeepsTheOrderOfKinds records the requests: kind by kind, and objects
// of one kind beside each other.
func TestWriteKeepsTheOrderOfKinds(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	fresh := w.namespace + "-fresh"
	w.clusterTenant(t, rbacv1.PolicyRule{APIGroups: []string{"", "apps"}, Resources: []string{"*"}, Verbs: []string{"*"}})
	removal(t, w.kube.CoreV1().Namespaces().Delete, fresh)
	var mu sync.Mutex
	var order []string
	under, most := 0, 0
	c := w.through(t, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		if request.Method != http.MethodPatch || request.URL.Query().Has("dryRun") {
			return next.RoundTrip(request)
		}
		mu.Lock()
		parts := strings.Split(request.URL.Path, "/")
		order = append(order, parts[len(parts)-2])
		under++
		most = max(most, under)
		mu.Unlock()
		response, err := next.RoundTrip(request)
		mu.Lock()
		under--
		mu.Unlock()
		return response, err
	})
	objects := []reconciler.Object{object(t, "ns.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: "+fresh+"}}")}
	want := []string{"namespaces"}
	for i := range 12 {
		objects = append(objects, configMap(t, fmt.Sprintf("c-%d", i)))
		want = append(want, "configmaps")
	}
	objects = append(objects, object(t, "s.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: s}}"), deployment(t, "d", "image:1"))
	want = append(want, "secrets", "deployments")
	for _, object := range objects[1:] {
		object.SetNamespace(fresh)
	}
	a := w.applierOf(t, c, "web")
	changes := compared(t, a, objects...)
	assert.Equal(t, changes[0].Action, reconciler.ActionCreate)
	assert.Equal(t, changes[1].Action, reconciler.ActionApply)
	assert.Equal(t, changes[1].Reason, "its namespace comes with the same commit")
	_, err := a.Write(t.Context(), changes)
	assert.NilError(t, err)
	assert.DeepEqual(t, order, want)
	assert.Assert(t, most > 1 && most <= 16, "%d at one time", most)
}
