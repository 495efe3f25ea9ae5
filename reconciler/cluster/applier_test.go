package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/events"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// dryRun tells whether all objects would be taken, and why not.
func dryRun(ctx context.Context, tenant reconciler.Tenant, objects []reconciler.Object) error {
	changes, err := tenant.Compare(ctx, objects)
	if err != nil {
		return err
	}
	var errs []error
	terminal := true
	for _, change := range changes {
		if change.Err != nil {
			terminal = terminal && reconciler.IsTerminal(change.Err)
			errs = append(errs, change.Err)
		}
	}
	switch {
	case len(errs) == 0:
		return nil
	case !terminal:
		return reconciler.Transient("DryRunFailed", errors.Join(errs...))
	}
	return reconciler.Terminal("DryRunFailed", errors.Join(errs...))
}

// writeAll writes objects, whether they differ or not.
func writeAll(ctx context.Context, tenant reconciler.Tenant, objects []reconciler.Object) error {
	changes := make([]reconciler.Change, len(objects))
	for i, object := range objects {
		changes[i] = reconciler.Change{Object: object, Origin: object.Origin, Action: reconciler.ActionApply}
	}
	_, err := tenant.Write(ctx, changes)
	return err
}

// applier is what of a tenant compares, writes and deletes.
type applier interface {
	Ref(object reconciler.Object) (reconciler.Ref, error)
	Compare(ctx context.Context, objects []reconciler.Object) ([]reconciler.Change, error)
	Write(ctx context.Context, changes []reconciler.Change) ([]reconciler.Entry, error)
	Delete(ctx context.Context, entries []reconciler.Entry) ([]reconciler.Ref, error)
	Claim(ctx context.Context, ref reconciler.Ref) error
	Release(ctx context.Context, entry reconciler.Entry) error
}

// newFreeWorld is a world whose account may do all in its namespace.
func newFreeWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, rbacv1.PolicyRule{
		APIGroups: []string{"", "apps", "batch", "autoscaling", "rbac.authorization.k8s.io", "policy", "networking.k8s.io"},
		Resources: []string{"*"}, Verbs: []string{"*"},
	})
}

// applier is a new view of the tenant, as each pass gets one.
func (w *world) applier(t testing.TB) applier {
	t.Helper()
	return w.applierOf(t, w.cluster, "web")
}

func (w *world) applierOf(t testing.TB, c *cluster.Cluster, release string) applier {
	t.Helper()
	copied := w.release.DeepCopy()
	copied.Name = release
	tenant, err := c.As(copied)
	assert.NilError(t, err)
	made, ok := tenant.(applier)
	assert.Assert(t, ok, "%T", tenant)
	return made
}

// through is a cluster whose requests pass a round tripper.
func (w *world) through(t testing.TB, trip func(*http.Request, http.RoundTripper) (*http.Response, error), tweaks ...func(*cluster.Options)) *cluster.Cluster {
	t.Helper()
	config := controlplane.Config(t)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return tripper(func(request *http.Request) (*http.Response, error) { return trip(request, next) })
	})
	options := cluster.Options{Config: config, Log: slog.New(w.warnings), Events: events.NewFakeRecorder(1)}
	for _, tweak := range tweaks {
		tweak(&options)
	}
	c, err := cluster.New(options)
	assert.NilError(t, err)
	return c
}

type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// counted is a cluster that counts the requests to objects of the namespace.
func (w *world) counted(t testing.TB) (*cluster.Cluster, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	return w.through(t, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		if strings.Contains(request.URL.Path, "/namespaces/"+w.namespace+"/") {
			requests.Add(1)
		}
		return next.RoundTrip(request)
	}), &requests
}

// compared is Compare that must not fail.
func compared(t testing.TB, a applier, objects ...reconciler.Object) []reconciler.Change {
	t.Helper()
	changes, err := a.Compare(t.Context(), objects)
	assert.NilError(t, err)
	assert.Equal(t, len(changes), len(objects))
	return changes
}

// applyAll compares and writes, and returns the entries.
func applyAll(t testing.TB, a applier, objects ...reconciler.Object) []reconciler.Entry {
	t.Helper()
	entries, err := a.Write(t.Context(), compared(t, a, objects...))
	assert.NilError(t, err)
	return entries
}

func actions(changes []reconciler.Change) []reconciler.Action {
	out := make([]reconciler.Action, len(changes))
	for i, change := range changes {
		out[i] = change.Action
	}
	return out
}

// applyAs applies a manifest as another field manager, or for a part of one.
func applyAs(t testing.TB, client dynamic.ResourceInterface, manager string, object reconciler.Object) *unstructured.Unstructured {
	t.Helper()
	force := true
	body, err := object.MarshalJSON()
	assert.NilError(t, err)
	live, err := client.Patch(t.Context(), object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: manager, Force: &force})
	assert.NilError(t, err)
	return live
}

// patchAs changes an object by a merge patch as another field manager.
func patchAs(t testing.TB, client dynamic.ResourceInterface, manager, name, body string, subresources ...string) *unstructured.Unstructured {
	t.Helper()
	live, err := client.Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: manager}, subresources...)
	assert.NilError(t, err)
	return live
}

func managers(object *unstructured.Unstructured) []string {
	var out []string
	for _, entry := range object.GetManagedFields() {
		if !slices.Contains(out, entry.Manager) {
			out = append(out, entry.Manager)
		}
	}
	slices.Sort(out)
	return out
}

func apiServices() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
}

func deleting(client dynamic.ResourceInterface, name string) func(context.Context) error {
	return func(ctx context.Context) error { return client.Delete(ctx, name, metav1.DeleteOptions{}) }
}

// untilDying waits until an object is being deleted.
func (w *world) untilDying(t *testing.T, client dynamic.ResourceInterface, name string) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		live, err := client.Get(t.Context(), name, metav1.GetOptions{})
		switch {
		case err != nil:
			return poll.Error(err)
		case live.GetDeletionTimestamp() == nil:
			return poll.Continue("%s is not being deleted", name)
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
}
