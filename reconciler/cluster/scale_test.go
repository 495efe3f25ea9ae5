package cluster_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// autoscaler is a HorizontalPodAutoscaler of a Deployment. There are no
// metrics in the control plane, so what it would write is written by the tests.
func autoscaler(t *testing.T, name string) reconciler.Object {
	t.Helper()
	return object(t, "hpa.yaml", `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: `+name+`}
spec:
  minReplicas: 2
  maxReplicas: 10
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: `+name+`}
`)
}

func (w *world) replicas(t *testing.T, name string) int64 {
	t.Helper()
	live, err := w.deployments().Get(t.Context(), name, metav1.GetOptions{})
	assert.NilError(t, err)
	replicas, _, err := unstructured.NestedInt64(live.Object, "spec", "replicas")
	assert.NilError(t, err)
	return replicas
}

func withoutReplicas(object reconciler.Object) reconciler.Object {
	unstructured.RemoveNestedField(object.Object, "spec", "replicas")
	return object
}

// TestReplicasAreLeftToTheAutoscaler covers A21: scaled to 7, an apply leaves
// 7; dropped from git before anybody scaled, the number does not fall to one.
func TestReplicasAreLeftToTheAutoscaler(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	scale := func(name, replicas string) {
		patchAs(t, w.deployments(), "kube-controller-manager", name, `{"spec":{"replicas":`+replicas+`}}`, "scale")
	}
	apply := func(objects ...reconciler.Object) []reconciler.Change {
		changes := compared(t, w.applier(t), objects...)
		_, err := w.applier(t).Write(t.Context(), changes)
		assert.NilError(t, err)
		return changes
	}
	apply(deployment(t, "d", "image:1"), autoscaler(t, "d"))
	assert.Equal(t, w.replicas(t, "d"), int64(2), "the first apply sets what git says")
	apply(withoutReplicas(deployment(t, "d", "image:1")), autoscaler(t, "d"))
	assert.Equal(t, w.replicas(t, "d"), int64(2), "git drops the number before anybody has scaled")

	scale("d", "7")
	change := apply(deployment(t, "d", "image:2"), autoscaler(t, "d"))[0]
	assert.Equal(t, w.replicas(t, "d"), int64(7))
	assert.DeepEqual(t, change.Fields, []reconciler.FieldChange{
		{Path: "spec.template.spec.containers[name=main].image", Before: `"image:1"`, After: `"image:2"`},
	})
	assert.Equal(t, compared(t, w.applier(t), deployment(t, "d", "image:2"))[0].Action, reconciler.ActionUnchanged,
		"the autoscaler is known by what it owns, without its object")
	apply(withoutReplicas(deployment(t, "d", "image:3")))
	assert.Equal(t, w.replicas(t, "d"), int64(7))
	scale("d", "3")
	assert.NilError(t, writeAll(t.Context(), w.tenant, []reconciler.Object{deployment(t, "d", "image:4")}))
	assert.Equal(t, w.replicas(t, "d"), int64(3), "without a plan, too")
}

// TestReplicasSetByHandAreDrift shows that a person who scales is corrected.
func TestReplicasSetByHandAreDrift(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	applyAll(t, w.applier(t), deployment(t, "d", "image:1"))
	patchAs(t, w.deployments(), "kubectl", "d", `{"spec":{"replicas":5}}`, "scale")
	change := compared(t, w.applier(t), deployment(t, "d", "image:1"))[0]
	assert.DeepEqual(t, change.Fields, []reconciler.FieldChange{{Path: "spec.replicas", Before: "5", After: "2"}})
	_, err := w.applier(t).Write(t.Context(), []reconciler.Change{change})
	assert.NilError(t, err)
	assert.Equal(t, w.replicas(t, "d"), int64(2))
}

// TestTheAutoscalerActsBetweenPlanAndWrite covers A21 for a plan that is older
// than what the autoscaler did.
func TestTheAutoscalerActsBetweenPlanAndWrite(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	applyAll(t, w.applier(t), deployment(t, "d", "image:1"), autoscaler(t, "d"))
	a := w.applier(t)
	changes := compared(t, a, deployment(t, "d", "image:2"), autoscaler(t, "d"))
	patchAs(t, w.deployments(), "kube-controller-manager", "d", `{"spec":{"replicas":7}}`, "scale")
	_, err := a.Write(t.Context(), changes)
	assert.NilError(t, err)
	assert.Equal(t, w.replicas(t, "d"), int64(7))
}

// TestTakeoverOfAnAutoscaledDeployment covers A1 and A21 at once: kubectl owns
// the number, an autoscaler points at it and has not scaled yet.
func TestTakeoverOfAnAutoscaledDeployment(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	by := deployment(t, "d", "image:1")
	assert.NilError(t, unstructured.SetNestedField(by.Object, int64(4), "spec", "replicas"))
	w.kubectlApply(t, by)
	applyAll(t, w.applier(t), withoutReplicas(deployment(t, "d", "image:1")), autoscaler(t, "d"))
	assert.Equal(t, w.replicas(t, "d"), int64(4))
}
