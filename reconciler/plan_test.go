package reconciler_test

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

func annotated(object reconciler.Object, pairs ...string) reconciler.Object {
	annotations := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		annotations[pairs[i]] = pairs[i+1]
	}
	object.SetAnnotations(annotations)
	return object
}

// applied runs a whole pass and returns what it applied, in order, with the
// digests of Jobs cut off.
func applied(t *testing.T, w *world) []string {
	t.Helper()
	pass(t, w, newRelease())
	var out []string
	for _, line := range w.writes() {
		if words := strings.Fields(line); words[1] == "Job" {
			line = line[:len(line)-10]
		}
		out = append(out, line)
	}
	return out
}

func TestObjectsAreAppliedInTheOrderOfTheirStages(t *testing.T) {
	w := newWorld()
	w.objects = objects(
		"apps/v1 Deployment backend", "batch/v1 CronJob nightly", "batch/v1 Job seed",
		"networking.k8s.io/v1 Ingress web", "apps/v1 StatefulSet postgres", "v1 Service web",
		"rbac.authorization.k8s.io/v1 RoleBinding r", "rbac.authorization.k8s.io/v1 Role r", "v1 ServiceAccount s",
		"apiextensions.k8s.io/v1 CustomResourceDefinition things", "v1 Namespace unity", "v1 Secret s", "v1 ConfigMap c",
		"example.com/v1 Thing one",
	)
	assert.DeepEqual(t, applied(t, w), []string{
		"apply Namespace unity", "apply CustomResourceDefinition things", "apply ServiceAccount s", "apply Role r",
		"apply RoleBinding r", "apply ConfigMap c", "apply Secret s", "apply Service web", "apply StatefulSet postgres",
		"apply Deployment backend", "apply CronJob nightly", "apply Job seed-", "apply Ingress web", "apply Thing one",
	})
}

func TestAnnotationsChooseTheStage(t *testing.T) {
	w := newWorld()
	w.objects = objects(
		"batch/v1 Job smoke", "batch/v1 Job two", "batch/v1 Job one", "batch/v1 Job after", "apps/v1 Deployment cache", "apps/v1 Deployment backend",
	)
	annotated(w.objects[0], "argocd.argoproj.io/hook", "PostSync")
	annotated(w.objects[1], "argocd.argoproj.io/hook", "PreSync")
	annotated(w.objects[2], "helm.sh/hook", "pre-install, pre-upgrade")
	annotated(w.objects[3], "argocd.argoproj.io/hook", "PreSync", reconciler.StageAnnotation, "workload")
	annotated(w.objects[4], reconciler.StageAnnotation, "foundation")
	assert.DeepEqual(t, applied(t, w), []string{
		"apply Deployment cache", "apply Job two-", "apply Job one-", "apply Job after-", "apply Deployment backend", "apply Job smoke-",
	})
}

func TestAStageThatCannotBeIsAnErrorThatNamesTheFile(t *testing.T) {
	for name, stage := range map[string]string{"a word that is no stage": "earlier", "migrate on what is no Job": "migrate"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			annotated(w.objects[0], reconciler.StageAnnotation, stage)
			pass(t, w, newRelease())
			assert.Equal(t, w.saved.Status.Phase, "Held")
			message := condition(w.saved, "Ready").Message
			assert.Check(t, cmp.Contains(message, "overlay/settings.yaml: ConfigMap settings: annotation lockstep.dev/stage"))
			assert.Equal(t, len(w.writes()), 0)
		})
	}
}

func TestAJobRunsOnceForEachContent(t *testing.T) {
	name := func(spec map[string]any, revision string) string {
		w := newWorld()
		w.tip = revision
		w.objects = objects("batch/v1 Job migrate-database")
		annotated(w.objects[0], reconciler.StageAnnotation, "migrate")
		w.objects[0].Object["spec"] = spec
		pass(t, w, newRelease())
		assert.Equal(t, len(w.writes()), 1)
		return strings.TrimPrefix(w.writes()[0], "apply Job ")
	}
	first := name(map[string]any{"backoffLimit": int64(0)}, commitA)
	assert.Equal(t, name(map[string]any{"backoffLimit": int64(0)}, commitB), first, "the revision alone changes nothing")
	assert.Equal(t, name(map[string]any{"backoffLimit": int64(0), "ttlSecondsAfterFinished": int64(0)}, commitB), first, "a time to live is taken out (J4)")
	assert.Assert(t, name(map[string]any{"backoffLimit": int64(1)}, commitA) != first, "another content is another Job")
}

func TestAJobOfTheOverlayThatSucceededIsNotRunAgain(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.objects = append(w.objects, objects("batch/v1 Job migrate-database")...)
	annotated(w.objects[3], reconciler.StageAnnotation, "migrate")
	pass(t, w, release)
	assert.Equal(t, len(w.saved.Status.Ledger), 1)
	w.tip, w.trace = commitB, nil
	pass(t, w, release)
	for _, line := range w.writes() {
		assert.Assert(t, !strings.Contains(line, "Job"), line)
	}
	assert.Equal(t, w.saved.Status.LastGoodRevision, "main@sha1:"+commitB)
}

func TestJobNamesFitIntoALabel(t *testing.T) { // J10
	w, release := newWorld(), newRelease()
	release.Name = strings.Repeat("r", 63)
	release.Spec.Databases[0].Name = strings.Repeat("D_", 31)
	w.schema.Version = 1
	w.objects = append(w.objects, objects("batch/v1 Job "+strings.Repeat("j", 63))...)
	pass(t, w, release)
	assert.Equal(t, len(w.jobs), 1)
	assert.Assert(t, len(w.jobs[0].Name) <= 63, w.jobs[0].Name)
	assert.Assert(t, !strings.ContainsAny(w.jobs[0].Name, "_D"), w.jobs[0].Name)
	for _, line := range w.writes() {
		words := strings.Fields(line)
		assert.Assert(t, len(words[len(words)-1]) <= 63, line)
	}
}
