package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/golden"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

func object(apiVersion, kind, name string, fields map[string]any) reconciler.Object {
	u := &unstructured.Unstructured{Object: fields}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	u.SetName(name)
	return reconciler.Object{Unstructured: u}
}

// TestPlanText shows every kind of line that a plan can have.
func TestPlanText(t *testing.T) {
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: "unity", Name: "unity"}}
	ref := func(kind, name string) reconciler.Ref {
		return reconciler.Ref{Version: "v1", Kind: kind, Namespace: "unity", Name: name}
	}
	preview := reconciler.Preview{
		Revision: "main@sha1:" + strings.Repeat("a", 40),
		Changes: []reconciler.Change{
			{Ref: ref("ConfigMap", "new"), Origin: "base/new.yaml", Action: reconciler.ActionCreate, Warnings: []string{"an old field"}},
			{Ref: ref("Service", "same"), Action: reconciler.ActionUnchanged},
			{Ref: ref("Deployment", "web"), Action: reconciler.ActionUpdate, Fields: []reconciler.FieldChange{
				{Path: "spec.replicas", Before: "1", After: "2"}, {Path: "spec.paused", Before: "true"}, {Path: "metadata.labels[a]", After: `"b"`}, {Path: "and 7 more fields"},
			}},
			{Ref: ref("Job", "seed"), Action: reconciler.ActionReplace, Reason: "spec.template cannot be changed"},
			{Ref: ref("Gadget", "one"), Action: reconciler.ActionApply, Reason: "its kind comes with the same commit"},
			{Ref: ref("Secret", "bad"), Action: reconciler.ActionRefuse, Reason: "bad.yaml: Secret bad: data must be a map\nof strings"},
			{Ref: ref("ConfigMap", "old"), Action: reconciler.ActionDelete},
			{Ref: ref("PersistentVolumeClaim", "data"), Action: reconciler.ActionKeep, Reason: "lockstep.dev/prune is never"},
		},
		Databases: []reconciler.DatabasePreview{
			{Name: "homelab_db", Version: "1", Pending: []uint64{2, 3}}, {Name: "new_db", Pending: []uint64{1}},
			{Name: "far_db", Unknown: "no route to host"}, {Name: "done_db", Version: "4"},
		},
	}
	golden.Assert(t, planText(release, preview), "plan.txt")
	release.Spec.Source.Path = "overlay"
	golden.Assert(t, planText(release, reconciler.Preview{}), "plan-nothing.txt")
}

func TestDriftText(t *testing.T) {
	ref := reconciler.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "unity", Name: "a"}
	foreign := []reconciler.ForeignField{{Path: "data.theirs", Manager: "kubectl-edit"}}
	golden.Assert(t, driftText(reconciler.Preview{Revision: "main@sha1:aa", Changes: []reconciler.Change{
		{Ref: ref, Action: reconciler.ActionUnchanged},
		{Ref: ref, Action: reconciler.ActionUnchanged, Foreign: foreign},
		{Ref: ref, Action: reconciler.ActionUpdate, Fields: []reconciler.FieldChange{{Path: "data.k", Before: `"x"`, After: `"y"`}}, Foreign: foreign},
		{Ref: ref, Action: reconciler.ActionCreate},
	}}), "drift.txt")
}

// planned is a Release on a real API server that follows a real git server,
// with nothing delivered yet.
func planned(t *testing.T) (namespace string, flags []string, origin *gitrepotest.Repo) {
	t.Helper()
	controlplane.InstallCRD(t)
	namespace = controlplane.Namespace(t)
	origin = gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", overlay())
	release := object(v1alpha1.GroupVersionKind().GroupVersion().String(), "Release", "app", map[string]any{"spec": map[string]any{
		"serviceAccountName": "nobody",
		"source":             map[string]any{"url": origin.URL, "branch": "main", "path": "overlay"},
	}})
	_, err := controlplane.Dynamic(t).Resource(v1alpha1.Resource()).Namespace(namespace).Create(t.Context(), release.Unstructured, metav1.CreateOptions{})
	assert.NilError(t, err)
	return namespace, []string{"--kubeconfig", os.Getenv(controlplane.Variable), "-n", namespace}, origin
}

func TestPlanOfARelease(t *testing.T) {
	namespace, flags, _ := planned(t)
	code, stdout, stderr := run(t, append([]string{"plan", "--release", "app"}, flags...)...)
	assert.Equal(t, code, 2, stderr)
	assert.Check(t, cmp.Contains(stdout, "+ ConfigMap "+namespace+"/my-settings  (base/settings.yaml)\n"))
	assert.Check(t, cmp.Contains(stdout, "\n1 to create.\n"))
	assert.Equal(t, stderr, "")

	_, err := controlplane.Client(t).CoreV1().ConfigMaps(namespace).Get(t.Context(), "my-settings", metav1.GetOptions{})
	assert.ErrorContains(t, err, "not found", "a plan wrote something")
}

// The files here are planned before they are pushed; the Release is found by
// the folder that it follows.
func TestPlanOfTheFilesHere(t *testing.T) {
	namespace, flags, _ := planned(t)
	_, err := controlplane.Client(t).CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "my-settings"}, Data: map[string]string{"host": "${HOST:=localhost}", "plain": "old"},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	folder := checkout(t, overlay())
	code, stdout, stderr := run(t, append([]string{"plan", filepath.Join(folder, "overlay"), "-o", "json"}, flags...)...)
	assert.Equal(t, code, 2, stderr)
	var got reconciler.Preview
	assert.NilError(t, json.Unmarshal([]byte(stdout), &got))
	assert.Equal(t, got.Changes[0].Action, reconciler.ActionUpdate)
	assert.DeepEqual(t, got.Changes[0].Fields, []reconciler.FieldChange{{Path: "data.plain", Before: `"old"`, After: `"yes"`}})

	code, _, stderr = run(t, append([]string{"plan", filepath.Join(folder, "base")}, flags...)...)
	assert.Equal(t, code, 1)
	assert.Check(t, cmp.Contains(stderr, "0 Releases in namespace "+namespace+" follow base: name one with --release; there are: app (overlay)"))
}

func TestPlanOfARefusedCommit(t *testing.T) {
	_, flags, origin := planned(t)
	bad := overlay()
	bad["base/settings.yaml"] = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: [1]}}\n"
	origin.Commit("main", bad)
	code, stdout, stderr := run(t, append([]string{"plan", "--release", "app"}, flags...)...)
	assert.Equal(t, code, 1)
	assert.Check(t, cmp.Contains(stdout, "1 refused."))
	assert.Check(t, cmp.Contains(stderr, "lockstep: refused: base/settings.yaml: ConfigMap my-settings: "))
}

func TestDriftOfARelease(t *testing.T) {
	namespace, flags, origin := planned(t)
	args := append([]string{"drift", "--release", "app"}, flags...)
	code, _, stderr := run(t, args...)
	assert.Equal(t, code, 1)
	assert.Check(t, cmp.Contains(stderr, "has no good revision yet"))

	status := `{"status":{"lastGoodRevision":"main@sha1:` + origin.Git("rev-parse", "main") + `"}}`
	_, err := controlplane.Dynamic(t).Resource(v1alpha1.Resource()).Namespace(namespace).Patch(t.Context(), "app", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
	assert.NilError(t, err)
	code, stdout, stderr := run(t, args...)
	assert.Equal(t, code, 2, stderr)
	assert.Check(t, cmp.Contains(stdout, "+ ConfigMap "+namespace+"/my-settings"))
	assert.Check(t, cmp.Contains(stdout, "1 of 1 objects differ, 0 fields are set by others."))
}

func TestComparisonsKeepTheirExitCodes(t *testing.T) {
	for name, args := range map[string][]string{
		"plan of nothing":           {"plan"},
		"plan with a wrong flag":    {"plan", "--nope"},
		"plan in a wrong format":    {"plan", "--release", "r", "-o", "xml"},
		"plan of two folders":       {"plan", "a", "b"},
		"drift of nothing":          {"drift"},
		"drift with a wrong flag":   {"drift", "--nope"},
		"drift in a wrong format":   {"drift", "--release", "r", "-o", "xml"},
		"plan without a kubeconfig": {"plan", "--release", "r", "--kubeconfig", "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, args...)
			assert.Equal(t, code, 1, "2 would say that something changes")
			assert.Equal(t, stdout, "")
			assert.Check(t, cmp.Contains(stderr, "lockstep: "))
		})
	}
}
