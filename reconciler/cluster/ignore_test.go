package cluster_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// TestIgnoredFieldsKeepTheirValue shows that a field which others may set is
// made as git says, is theirs once they change it, and is not lost when git
// drops it.
func TestIgnoredFieldsKeepTheirValue(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	data := func(values map[string]any) reconciler.Object {
		made := configMap(t, "c")
		made.Object["data"] = values
		made.Ignore = []string{"/data/a", "/data/gone", "/metadata/annotations/example.org~1note"}
		return made
	}
	stands := func(want map[string]string) {
		t.Helper()
		live, err := w.kube.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "c", metav1.GetOptions{})
		assert.NilError(t, err)
		assert.DeepEqual(t, live.Data, want)
	}
	applyAll(t, w.applier(t), data(map[string]any{"a": "1", "b": "1"}))
	stands(map[string]string{"a": "1", "b": "1"})
	applyAll(t, w.applier(t), data(map[string]any{"b": "2"}))
	stands(map[string]string{"a": "1", "b": "2"})

	patchAs(t, w.configMaps(), "somebody", "c", `{"data":{"a":"theirs"}}`)
	unchanged := compared(t, w.applier(t), data(map[string]any{"a": "1", "b": "2"}))[0]
	assert.Equal(t, unchanged.Action, reconciler.ActionUnchanged, "%v %s", unchanged.Fields, unchanged.Reason)
	a := w.applier(t)
	changes := compared(t, a, data(map[string]any{"a": "1", "b": "3"}))
	assert.DeepEqual(t, changes[0].Fields, []reconciler.FieldChange{{Path: "data.b", Before: `"2"`, After: `"3"`}})
	patchAs(t, w.configMaps(), "somebody", "c", `{"data":{"a":"later"}}`)
	_, err := a.Write(t.Context(), changes)
	assert.NilError(t, err)
	stands(map[string]string{"a": "later", "b": "3"})
}

// TestIgnoredFieldOfAContainer shows a rule that reaches into a list.
func TestIgnoredFieldOfAContainer(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	ignoring := func(image string) reconciler.Object {
		made := deployment(t, "d", image)
		made.Ignore = []string{"/spec/template/spec/containers/0/image"}
		return made
	}
	applyAll(t, w.applier(t), ignoring("image:1"))
	change := compared(t, w.applier(t), ignoring("image:2"))[0]
	assert.Equal(t, change.Action, reconciler.ActionUnchanged, "%v %s", change.Fields, change.Reason)
	change = compared(t, w.applier(t), deployment(t, "d", "image:2"))[0]
	assert.Equal(t, change.Action, reconciler.ActionUpdate)
}
