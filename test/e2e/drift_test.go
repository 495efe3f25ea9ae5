//go:build e2e

package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/poll"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/test/harness"
)

const overlayFile = "kustomize/overlays/kind/kustomization.yaml"

// becomes waits until ask gives what is wanted.
func becomes[T comparable](t *testing.T, want T, ask func(ctx context.Context) (T, error)) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		got, err := ask(t.Context())
		if err != nil {
			return poll.Error(err)
		}
		if got != want {
			return poll.Continue("it is %v, not %v", got, want)
		}
		return poll.Success()
	}, poll.WithTimeout(time.Minute), poll.WithDelay(20*time.Millisecond))
}

// What somebody changes by hand is put back at once, whatever it is.
func TestWhatIsEditedByHandIsPutBack(t *testing.T) {
	kube := shared.cluster.Kube
	deployments := kube.AppsV1().Deployments(harness.Namespace)
	replicas := func(ctx context.Context) (int32, error) {
		deployment, err := deployments.Get(ctx, "unity-backend", metav1.GetOptions{})
		if err != nil {
			return 0, err
		}
		return *deployment.Spec.Replicas, nil
	}
	want, err := replicas(t.Context())
	assert.NilError(t, err)
	began := time.Now()
	_, err = deployments.Patch(t.Context(), "unity-backend", types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	assert.NilError(t, err)
	becomes(t, want, replicas)
	figure("drift-corrected", time.Since(began).Seconds()*1000, "ms", 1000)

	services := kube.CoreV1().Services(harness.Namespace)
	assert.NilError(t, services.Delete(t.Context(), "unity-backend", metav1.DeleteOptions{}))
	becomes(t, true, func(ctx context.Context) (bool, error) {
		_, err := services.Get(ctx, "unity-backend", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	for _, note := range []string{
		"Deployment unity/unity-backend is put back: spec.replicas, set by kubectl-edit",
		"Service unity/unity-backend is put back: it was deleted",
	} {
		becomes(t, true, func(ctx context.Context) (bool, error) {
			events, err := kube.EventsV1().Events(harness.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=DriftCorrected"})
			return err == nil && slices.ContainsFunc(events.Items, func(event eventsv1.Event) bool { return event.Note == note }), err
		})
	}
	release, err := shared.cluster.Release(t.Context())
	assert.NilError(t, err)
	assert.Assert(t, isReady(release))
}

// With the mode report nothing is put back, and the status says what differs
// and who did it; then it is put back by the mode correct.
func TestDriftIsReported(t *testing.T) {
	edit(t, `{"spec":{"drift":{"mode":"report"}}}`)
	deployments := shared.cluster.Kube.AppsV1().Deployments(harness.Namespace)
	_, err := deployments.Patch(t.Context(), "unity-backend", types.MergePatchType, []byte(`{"spec":{"replicas":1}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	assert.NilError(t, err)
	release, err := shared.cluster.WaitRelease(t.Context(), patience, nil, func(release *v1alpha1.Release) bool { return len(release.Status.Drift) > 0 })
	assert.NilError(t, err)
	assert.DeepEqual(t, release.Status.Drift, []v1alpha1.DriftedObject{{
		Object: "Deployment unity/unity-backend", Fields: []string{"spec.replicas"}, Manager: "kubectl-edit", Reason: "Reported",
	}})
	edit(t, `{"spec":{"drift":{"mode":"correct"}}}`)
	becomes(t, 2, func(ctx context.Context) (int, error) {
		deployment, err := deployments.Get(ctx, "unity-backend", metav1.GetOptions{})
		if err != nil {
			return 0, err
		}
		return int(*deployment.Spec.Replicas), nil
	})
}

// What leaves the branch leaves the cluster, but for what holds data.
func TestWhatLeavesTheBranchLeavesTheCluster(t *testing.T) {
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: passing\ndata:\n  a: b\n"
	const claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: kept\nspec:\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Mi}}\n"
	assert.NilError(t, shared.repo.Write("kustomize/overlays/kind/passing.yaml", object))
	assert.NilError(t, shared.repo.Write("kustomize/overlays/kind/kept.yaml", claim))
	assert.NilError(t, shared.repo.Replace(overlayFile, "resources:\n", "resources:\n  - passing.yaml\n  - kept.yaml\n"))
	push(t, "Add two objects", harness.Settled)
	_, err := shared.cluster.Kube.CoreV1().ConfigMaps(harness.Namespace).Get(t.Context(), "passing", metav1.GetOptions{})
	assert.NilError(t, err)

	assert.NilError(t, shared.repo.Replace(overlayFile, "  - passing.yaml\n", ""))
	push(t, "Take one away", harness.Settled)
	_, err = shared.cluster.Kube.CoreV1().ConfigMaps(harness.Namespace).Get(t.Context(), "passing", metav1.GetOptions{})
	assert.Assert(t, apierrors.IsNotFound(err), "%v", err)

	assert.NilError(t, shared.repo.Replace(overlayFile, "  - kept.yaml\n", ""))
	held := push(t, "Take the claim away", harness.Held)
	assert.Check(t, cmp.Contains(harness.Message(held), "PersistentVolumeClaim/kept left the commit and may hold data"))
	_, err = shared.cluster.Kube.CoreV1().PersistentVolumeClaims(harness.Namespace).Get(t.Context(), "kept", metav1.GetOptions{})
	assert.NilError(t, err)

	assert.NilError(t, shared.repo.Replace(overlayFile, "kind: Kustomization\n", "kind: Kustomization\nmetadata:\n  annotations:\n    lockstep.dev/allow-prune: PersistentVolumeClaim/kept\n"))
	push(t, "Allow it", harness.Settled)
	becomes(t, true, func(ctx context.Context) (bool, error) {
		_, err := shared.cluster.Kube.CoreV1().PersistentVolumeClaims(harness.Namespace).Get(ctx, "kept", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

// A17: the Deployment of before goes after the one that replaces it serves: a
// client inside the cluster sees no gap.
func TestARenameLeavesNoGap(t *testing.T) {
	deployments := shared.cluster.Kube.AppsV1().Deployments(harness.Namespace)
	probe := startProbe(t)
	assert.NilError(t, shared.repo.Replace(overlayFile, "images:\n", `patches:
  - target: {kind: Deployment, name: unity-backend}
    patch: '[{"op": "replace", "path": "/metadata/name", "value": "unity-backend-renamed"}]'
    options: {allowNameChange: true}
images:
`))
	push(t, "Rename the Deployment", harness.Settled)
	probe.assertNoneFailed(t)
	_, err := deployments.Get(t.Context(), "unity-backend", metav1.GetOptions{})
	assert.Assert(t, apierrors.IsNotFound(err), "the old one is there yet: %v", err)
	renamed, err := deployments.Get(t.Context(), "unity-backend-renamed", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, renamed.Status.ReadyReplicas, int32(2))

	assert.NilError(t, shared.repo.Replace(overlayFile, `patches:
  - target: {kind: Deployment, name: unity-backend}
    patch: '[{"op": "replace", "path": "/metadata/name", "value": "unity-backend-renamed"}]'
    options: {allowNameChange: true}
`, ""))
	push(t, "Name it as before", harness.Settled)
}

// A Release that says so takes its objects along when it is deleted.
func TestADeletedReleaseTakesItsObjectsAlong(t *testing.T) {
	assert.NilError(t, shared.repo.Write("extra/kustomization.yaml", "resources: [object.yaml]\n"))
	assert.NilError(t, shared.repo.Write("extra/object.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"))
	push(t, "Add another overlay", harness.Settled)
	objects, err := harness.Parse(`
apiVersion: lockstep.dev/v1alpha1
kind: Release
metadata: {name: extra, namespace: unity}
spec:
  source: {url: ` + harness.RepositoryURL + `, path: extra, interval: 5s, secretRef: {name: git-credentials}}
  serviceAccountName: unity-deployer
  deletionPolicy: delete
`)
	assert.NilError(t, err)
	assert.NilError(t, shared.cluster.Apply(t.Context(), objects...))
	exists := func(ctx context.Context) (bool, error) {
		_, err := shared.cluster.Kube.CoreV1().ConfigMaps(harness.Namespace).Get(ctx, "extra", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}
	becomes(t, true, exists)
	releases := shared.cluster.Dynamic.Resource(v1alpha1.Resource()).Namespace(harness.Namespace)
	assert.NilError(t, releases.Delete(t.Context(), "extra", metav1.DeleteOptions{}))
	becomes(t, false, exists)
	becomes(t, true, func(ctx context.Context) (bool, error) {
		_, err := releases.Get(ctx, "extra", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}
