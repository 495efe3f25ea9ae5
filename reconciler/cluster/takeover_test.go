package cluster_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// kubectlApply applies a manifest as a person does: with kubectl, on the
// client's side. Without the program, the same is sent as kubectl sends it.
func (w *world) kubectlApply(t *testing.T, object reconciler.Object) {
	t.Helper()
	body, err := object.MarshalJSON()
	assert.NilError(t, err)
	kubeconfig := os.Getenv(controlplane.Variable)
	path := w.kubectl(t)
	if path == "" {
		w.applyLikeKubectl(t, object, string(body))
		return
	}
	command := exec.CommandContext(t.Context(), path, "--kubeconfig", kubeconfig, "-n", w.namespace, "apply", "-f", "-")
	command.Stdin = bytes.NewReader(body)
	output, err := command.CombinedOutput()
	assert.NilError(t, err, "%s", output)
}

// kubectl is the program in PATH, or the one of a cluster that test/cluster has
// up; nothing when there is none.
func (w *world) kubectl(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("kubectl"); err == nil {
		return path
	}
	home, err := os.UserHomeDir()
	assert.NilError(t, err)
	found, err := filepath.Glob(filepath.Join(home, ".local", "state", "lockstep", "cluster", "*", "bin", "kubectl"))
	assert.NilError(t, err)
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// applyLikeKubectl makes or patches the object, and keeps the manifest in the
// annotation, under the name that kubectl uses.
func (w *world) applyLikeKubectl(t *testing.T, object reconciler.Object, manifest string) {
	t.Helper()
	made := object.DeepCopy()
	made.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": manifest})
	resource, _ := meta.UnsafeGuessKindToResource(made.GroupVersionKind())
	client := w.dynamic.Resource(resource).Namespace(w.namespace)
	options := metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"}
	_, err := client.Create(t.Context(), made, options)
	if !apierrors.IsAlreadyExists(err) {
		assert.NilError(t, err)
		return
	}
	body, err := made.MarshalJSON()
	assert.NilError(t, err)
	patchAs(t, client, options.FieldManager, made.GetName(), string(body))
}

// TestTakeoverFromKubectl covers A1: a field that kubectl set and git does not
// hold goes away at first contact, and the plan says so before.
func TestTakeoverFromKubectl(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	by := configMap(t, "c")
	by.Object["data"].(map[string]any)["b"] = "2"
	w.kubectlApply(t, by)

	changes := compared(t, w.applier(t), configMap(t, "c"))
	assert.Equal(t, changes[0].Action, reconciler.ActionUpdate)
	assert.Equal(t, changes[0].Reason, "is taken over from kubectl-client-side-apply")
	assert.Equal(t, len(changes[0].Foreign), 0)
	assert.Equal(t, len(changes[0].Fields), 2)
	assert.DeepEqual(t, changes[0].Fields[0], reconciler.FieldChange{Path: "data.b", Before: `"2"`})
	assert.Equal(t, changes[0].Fields[1].Path, "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]")
	assert.Assert(t, strings.HasPrefix(changes[0].Fields[1].Before, "(masked, "), changes[0].Fields[1].Before)

	entries, err := w.applier(t).Write(t.Context(), changes)
	assert.NilError(t, err)
	live, err := w.configMaps().Get(t.Context(), "c", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, entries[0].UID, string(live.GetUID()))
	assert.DeepEqual(t, live.Object["data"], map[string]any{"a": "1"})
	assert.DeepEqual(t, managers(live), []string{"lockstep"})
	assert.Equal(t, len(live.GetAnnotations()), 1)
	assert.Equal(t, compared(t, w.applier(t), configMap(t, "c"))[0].Action, reconciler.ActionUnchanged)

	// What kubectl does after that is a change by somebody else.
	w.kubectlApply(t, by)
	after := compared(t, w.applier(t), configMap(t, "c"))[0]
	assert.Assert(t, slices.Contains(after.Foreign, reconciler.ForeignField{Path: "data.b", Manager: "kubectl-client-side-apply"}), "%v", after.Foreign)
}

// TestTakeoverOfADeployment shows that defaults which kubectl owns by the way
// it applies are not told as removed, and no Pod is started anew for them.
func TestTakeoverOfADeployment(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	wanted := deployment(t, "d", "image:1")
	wider := deployment(t, "d", "image:1")
	container := wider.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	container["env"] = []any{map[string]any{"name": "LEFT", "value": "over"}}
	w.kubectlApply(t, wider)
	change := compared(t, w.applier(t), wanted)[0]
	assert.NilError(t, change.Err)
	var paths []string
	for _, field := range change.Fields {
		paths = append(paths, field.Path)
	}
	assert.DeepEqual(t, paths, []string{
		"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]",
		"spec.template.spec.containers[name=main].env",
	})
	applyAll(t, w.applier(t), wanted)
	again := compared(t, w.applier(t), wanted)[0]
	assert.Equal(t, again.Action, reconciler.ActionUnchanged, "%v", again.Fields)

	same := deployment(t, "same", "image:1")
	w.kubectlApply(t, same)
	before, err := w.deployments().Get(t.Context(), "same", metav1.GetOptions{})
	assert.NilError(t, err)
	applyAll(t, w.applier(t), same)
	after, err := w.deployments().Get(t.Context(), "same", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, after.Object["spec"], before.Object["spec"])
}

// TestTakeoverFromOthers covers A1 for those who apply on the server's side,
// and for Secrets, whose last manifest must not be told.
func TestTakeoverFromOthers(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	wider := configMap(t, "c")
	wider.Object["data"].(map[string]any)["b"] = "2"
	applyAs(t, w.configMaps(), "kustomize-controller", wider)
	patchAs(t, w.configMaps(), "helm", "c", `{"data":{"h":"3"}}`)
	patchAs(t, w.configMaps(), "kubectl-edit", "c", `{"data":{"p":"4"}}`)
	change := compared(t, w.applier(t), configMap(t, "c"))[0]
	assert.Equal(t, change.Reason, "is taken over from kustomize-controller, helm")
	assert.DeepEqual(t, change.Fields, []reconciler.FieldChange{{Path: "data.b", Before: `"2"`}, {Path: "data.h", Before: `"3"`}})
	assert.DeepEqual(t, change.Foreign, []reconciler.ForeignField{{Path: "data.p", Manager: "kubectl-edit"}})
	_, err := w.applier(t).Write(t.Context(), []reconciler.Change{change})
	assert.NilError(t, err)
	live, err := w.configMaps().Get(t.Context(), "c", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, live.Object["data"], map[string]any{"a": "1", "p": "4"})

	secret := object(t, "s.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {pin: "+canary+", old: "+canary+"}}")
	w.kubectlApply(t, secret)
	fewer := object(t, "s.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {pin: "+canary+"}}")
	for _, field := range compared(t, w.applier(t), fewer)[0].Fields {
		assert.Assert(t, strings.HasPrefix(field.Before, "(masked, "), "%+v", field)
	}
}

// TestTakeoverWithoutAPlan shows that a write which was not compared moves the
// ownership, too.
func TestTakeoverWithoutAPlan(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	wider := configMap(t, "c")
	wider.Object["data"].(map[string]any)["b"] = "2"
	w.kubectlApply(t, wider)
	assert.NilError(t, writeAll(t.Context(), w.tenant, []reconciler.Object{configMap(t, "c")}))
	live, err := w.configMaps().Get(t.Context(), "c", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, live.Object["data"], map[string]any{"a": "1"})
}
