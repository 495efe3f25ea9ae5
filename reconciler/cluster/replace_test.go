package cluster_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// replaceable is an object that may be replaced.
func replaceable(object reconciler.Object) reconciler.Object {
	object.SetAnnotations(map[string]string{"lockstep.dev/replace": "true"})
	return object
}

func selecting(t *testing.T, label string) reconciler.Object {
	t.Helper()
	return object(t, "d.yaml", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {app: `+label+`}}
  template:
    metadata: {labels: {app: `+label+`}}
    spec: {containers: [{name: main, image: i}]}
`)
}

// TestImmutableFieldOfADeployment covers A7: refused with the way out, and
// replaced when the object says so.
func TestImmutableFieldOfADeployment(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	before := applyAll(t, w.applier(t), selecting(t, "old"))
	refused := compared(t, w.applier(t), selecting(t, "new"))[0]
	assert.Equal(t, refused.Action, reconciler.ActionRefuse)
	assert.Equal(t, reconciler.ReasonOf(refused.Err, ""), "FieldImmutable")
	assert.Assert(t, reconciler.IsTerminal(refused.Err))
	assert.ErrorContains(t, refused.Err, "d.yaml: Deployment d: is invalid: spec.selector: ")
	assert.ErrorContains(t, refused.Err, `set its annotation lockstep.dev/replace: "true"`)

	change := compared(t, w.applier(t), replaceable(selecting(t, "new")))[0]
	assert.Equal(t, change.Action, reconciler.ActionReplace)
	assert.Equal(t, change.Reason, "cannot be changed: spec.selector")
	assert.DeepEqual(t, change.Fields, []reconciler.FieldChange{
		{Path: "spec.selector", Before: `{"matchLabels":{"app":"old"}}`, After: `{"matchLabels":{"app":"new"}}`},
	})
	after, err := w.applier(t).Write(t.Context(), []reconciler.Change{change})
	assert.NilError(t, err)
	assert.Assert(t, after[0].UID != before[0].UID)
	live, err := w.kube.AppsV1().Deployments(w.namespace).Get(t.Context(), "d", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, live.Spec.Selector.MatchLabels, map[string]string{"app": "new"})
	assert.Equal(t, string(live.UID), after[0].UID)
}

// TestReleaseAllowsReplacement shows the word of the Release for all of its
// objects, and that of an object against it.
func TestReleaseAllowsReplacement(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	applyAll(t, w.applier(t), selecting(t, "old"))
	w.release.Spec.ReplaceImmutable = true
	assert.Equal(t, compared(t, w.applier(t), selecting(t, "new"))[0].Action, reconciler.ActionReplace)
	against := selecting(t, "new")
	against.SetAnnotations(map[string]string{"lockstep.dev/replace": "false"})
	assert.Equal(t, compared(t, w.applier(t), against)[0].Action, reconciler.ActionRefuse)
}

// TestReplacementWaitsForFinalizers shows that the new object is made when the
// old one is really gone.
func TestReplacementWaitsForFinalizers(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	before := applyAll(t, w.applier(t), selecting(t, "old"))
	mergePatch(t, w.deployments(), "d", `{"metadata":{"finalizers":["example.org/hold"]}}`)
	changes := compared(t, w.applier(t), replaceable(selecting(t, "new")))
	assert.Equal(t, changes[0].Action, reconciler.ActionReplace)
	answer := make(chan error, 1)
	go func() {
		_, err := w.applier(t).Write(t.Context(), changes)
		answer <- err
	}()
	w.untilDying(t, w.deployments(), "d")
	mergePatch(t, w.deployments(), "d", `{"metadata":{"finalizers":null}}`)
	assert.NilError(t, <-answer)
	live, err := w.deployments().Get(t.Context(), "d", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Assert(t, string(live.GetUID()) != before[0].UID)
}

// TestDataIsNeverReplaced covers A7 and A18 for what data hangs on, whatever
// its annotation says.
func TestDataIsNeverReplaced(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	claim := func(size string) reconciler.Object {
		return replaceable(object(t, "pvc.yaml", `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: `+size+`, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`))
	}
	set := func(service string) reconciler.Object {
		return replaceable(object(t, "set.yaml", `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: `+service+`
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: i}]}
`))
	}
	job := func(image string) reconciler.Object {
		return replaceable(object(t, "job.yaml", `
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: `+image+`}]}}}
`))
	}
	applyAll(t, w.applier(t), claim("slow"), set("one"), job("one"))
	changes := compared(t, w.applier(t), claim("fast"), set("two"), job("two"))
	for i, want := range []string{
		"pvc.yaml: PersistentVolumeClaim data: ", "set.yaml: StatefulSet db: ", "job.yaml: Job j: ",
	} {
		assert.Equal(t, changes[i].Action, reconciler.ActionRefuse, want)
		assert.Equal(t, reconciler.ReasonOf(changes[i].Err, ""), "FieldImmutable", "%v", changes[i].Err)
		assert.ErrorContains(t, changes[i].Err, want)
	}
	assert.ErrorContains(t, changes[0].Err, "a PersistentVolumeClaim is never replaced")
	assert.ErrorContains(t, changes[1].Err, "a StatefulSet is never replaced")
	assert.ErrorContains(t, changes[2].Err, "give it another name")
}

// TestReplacementTellsNoSecret covers R5: the immutable Secret is replaced, and
// the change tells no value of it.
func TestReplacementTellsNoSecret(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	secret := func(value string) reconciler.Object {
		return replaceable(object(t, "s.yaml", "{apiVersion: v1, kind: Secret, immutable: true, metadata: {name: s}, stringData: {pin: "+value+"}}"))
	}
	applyAll(t, w.applier(t), secret("before"))
	change := compared(t, w.applier(t), secret(canary))[0]
	assert.Equal(t, change.Action, reconciler.ActionReplace)
	assert.DeepEqual(t, change.Fields, []reconciler.FieldChange{
		{Path: "data", Before: `{"pin":"(masked, 6 bytes)"}`, After: `{"pin":"(masked, 11 bytes)"}`},
	})
	_, err := w.applier(t).Write(t.Context(), []reconciler.Change{change})
	assert.NilError(t, err)
	var live *corev1.Secret
	live, err = w.kube.CoreV1().Secrets(w.namespace).Get(t.Context(), "s", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, string(live.Data["pin"]), canary)
}
