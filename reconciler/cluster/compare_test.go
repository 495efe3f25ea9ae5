package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// TestCompareTellsWhatWouldHappen follows an object from its making to a
// change by others (A23: what the API server adds by itself is no change).
func TestCompareTellsWhatWouldHappen(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	a := w.applier(t)
	service := func(port string) reconciler.Object {
		return object(t, "svc.yaml", "{apiVersion: v1, kind: Service, metadata: {name: s, creationTimestamp: null}, spec: {selector: {app: a}, ports: [{name: http, port: "+port+"}]}}")
	}
	first := compared(t, a, service("80"), deployment(t, "d", "image:1"))
	assert.DeepEqual(t, actions(first), []reconciler.Action{reconciler.ActionCreate, reconciler.ActionCreate})
	assert.DeepEqual(t, first[1].Ref, reconciler.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: w.namespace, Name: "d"})
	assert.Equal(t, first[1].Origin, "d.yaml")
	assert.Assert(t, first[0].Live == nil)
	entries, err := a.Write(t.Context(), first)
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 2)

	same := compared(t, w.applier(t), service("80"), deployment(t, "d", "image:1"))
	assert.DeepEqual(t, actions(same), []reconciler.Action{reconciler.ActionUnchanged, reconciler.ActionUnchanged})
	assert.Equal(t, len(same[0].Fields)+len(same[1].Fields)+len(same[0].Foreign)+len(same[1].Foreign), 0)
	assert.Equal(t, same[0].Live.UID, entries[0].UID)
	assert.Equal(t, same[0].Live.Owner, w.namespace+"/web")
	assert.Equal(t, same[0].Live.Token, entries[0].Token)

	next := compared(t, w.applier(t), service("8080"), deployment(t, "d", "image:2"))
	assert.DeepEqual(t, actions(next), []reconciler.Action{reconciler.ActionUpdate, reconciler.ActionUpdate})
	assert.DeepEqual(t, next[1].Fields, []reconciler.FieldChange{
		{Path: "spec.template.spec.containers[name=main].image", Before: `"image:1"`, After: `"image:2"`},
	})
	assert.DeepEqual(t, next[0].Fields, []reconciler.FieldChange{
		{Path: "spec.ports[name=http].port", Before: "80", After: "8080"},
		{Path: "spec.ports[name=http].targetPort", Before: "80", After: "8080"},
	})
}

// TestMarksAreOnTheObjectAndNotOnItsPods shows that a new owner starts no Pod
// anew, and that the marks count for no digest.
func TestMarksAreOnTheObjectAndNotOnItsPods(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	made := deployment(t, "d", "image:1")
	entries := applyAll(t, w.applier(t), made)
	live, err := w.kube.AppsV1().Deployments(w.namespace).Get(t.Context(), "d", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, live.Labels["lockstep.dev/release"], "web")
	assert.Equal(t, live.Annotations["lockstep.dev/owner"], w.namespace+"/web")
	assert.DeepEqual(t, live.Spec.Template.Labels, map[string]string{"app": "d"})
	assert.Equal(t, len(live.Spec.Template.Annotations), 0)
	digest, err := deployment(t, "d", "image:1").Digest()
	assert.NilError(t, err)
	assert.Equal(t, entries[0].Digest, digest)
	assert.Equal(t, entries[0].UID, string(live.UID))
}

// TestFieldsOfOthersAreListed covers A2, and that a second pass resets what is
// ours and still lists what is not.
func TestFieldsOfOthersAreListed(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	applyAll(t, w.applier(t), configMap(t, "shared"), deployment(t, "d", "image:1"))
	patchAs(t, w.configMaps(), "kubectl-edit", "shared", `{"data":{"a":"edited","theirs":"x"}}`)
	patchAs(t, w.deployments(), "kubectl-rollout", "d", `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}`)

	changes := compared(t, w.applier(t), configMap(t, "shared"), deployment(t, "d", "image:1"))
	assert.DeepEqual(t, actions(changes), []reconciler.Action{reconciler.ActionUpdate, reconciler.ActionUnchanged})
	assert.DeepEqual(t, changes[0].Fields, []reconciler.FieldChange{{Path: "data.a", Before: `"edited"`, After: `"1"`}})
	assert.Equal(t, changes[0].Manager, "kubectl-edit", "who changed what is ours")
	assert.Equal(t, changes[1].Manager, "")
	assert.DeepEqual(t, changes[0].Foreign, []reconciler.ForeignField{{Path: "data.theirs", Manager: "kubectl-edit"}})
	assert.DeepEqual(t, changes[1].Foreign, []reconciler.ForeignField{{
		Path: "spec.template.metadata.annotations[kubectl.kubernetes.io/restartedAt]", Manager: "kubectl-rollout",
	}})
	_, err := w.applier(t).Write(t.Context(), changes)
	assert.NilError(t, err)
	again := compared(t, w.applier(t), configMap(t, "shared"))
	assert.Equal(t, again[0].Action, reconciler.ActionUnchanged)
	assert.DeepEqual(t, again[0].Foreign, changes[0].Foreign)
}

// TestAFieldWithTheSameValueBecomesOurs shows that a field which git begins to
// hold is owned from then on, though its value does not change.
func TestAFieldWithTheSameValueBecomesOurs(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	applyAll(t, w.applier(t), configMap(t, "c"))
	patchAs(t, w.configMaps(), "kubectl-edit", "c", `{"data":{"b":"2"}}`)
	wider := configMap(t, "c")
	wider.Object["data"].(map[string]any)["b"] = "2"
	changes := compared(t, w.applier(t), wider)
	assert.Equal(t, changes[0].Action, reconciler.ActionUpdate)
	assert.Equal(t, len(changes[0].Fields), 0)
	assert.Assert(t, strings.Contains(changes[0].Reason, "owned"), changes[0].Reason)
	applyAll(t, w.applier(t), wider)
	assert.Equal(t, compared(t, w.applier(t), wider)[0].Action, reconciler.ActionUnchanged)
}

// TestObjectLeftBehindIsTakenOver shows that a Release which was deleted and
// left its objects stands in nobody's way.
func TestObjectLeftBehindIsTakenOver(t *testing.T) {
	t.Parallel()
	controlplane.InstallCRD(t)
	w := newFreeWorld(t)
	storedRelease(t, w.releases(), "web")
	applyAll(t, w.applier(t), configMap(t, "c"))
	theirs := w.applierOf(t, w.cluster, "api")
	assert.Equal(t, compared(t, theirs, configMap(t, "c"))[0].Action, reconciler.ActionRefuse)
	assert.NilError(t, w.releases().Delete(t.Context(), "web", metav1.DeleteOptions{}))
	taken := applyAll(t, theirs, configMap(t, "c"))
	assert.Equal(t, len(taken), 1)
	assert.Equal(t, compared(t, theirs, configMap(t, "c"))[0].Action, reconciler.ActionUnchanged)
}

// TestObjectOfAnotherReleaseIsLeftAlone covers P15, and the hand-over: a claim,
// then the owner lets go, then the other takes it.
func TestObjectOfAnotherReleaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	controlplane.InstallCRD(t)
	w := newFreeWorld(t)
	storedRelease(t, w.releases(), "web")
	ours, theirs := w.applier(t), w.applierOf(t, w.cluster, "api")
	entries := applyAll(t, ours, configMap(t, "c"))

	wanted := configMap(t, "c")
	wanted.Object["data"] = map[string]any{"b": "2"}
	refused := compared(t, theirs, wanted)[0]
	assert.Equal(t, refused.Action, reconciler.ActionRefuse)
	assert.Equal(t, reconciler.ReasonOf(refused.Err, ""), "ObjectOwned")
	assert.Assert(t, !reconciler.IsTerminal(refused.Err))
	assert.ErrorContains(t, refused.Err, "c.yaml: ConfigMap c is delivered by Release "+w.namespace+"/web: it is handed over once")
	assert.Equal(t, refused.Live.Owner, w.namespace+"/web")
	refused.Action = reconciler.ActionApply
	_, err := theirs.Write(t.Context(), []reconciler.Change{refused})
	assert.Equal(t, reconciler.ReasonOf(err, ""), "ObjectOwned")

	assert.NilError(t, theirs.Claim(t.Context(), refused.Ref))
	assert.Equal(t, compared(t, ours, configMap(t, "c"))[0].Live.Claimant, w.namespace+"/api")
	assert.NilError(t, theirs.Release(t.Context(), entries[0]), "only the owner can let go")
	assert.Equal(t, compared(t, theirs, wanted)[0].Action, reconciler.ActionRefuse)

	assert.NilError(t, ours.Release(t.Context(), entries[0]))
	live, err := w.kube.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "c", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, len(live.Annotations)+len(live.Labels), 0)
	assert.DeepEqual(t, live.Data, map[string]string{"a": "1"})
	taken := applyAll(t, theirs, wanted)
	assert.Equal(t, taken[0].UID, entries[0].UID)
	live, err = w.kube.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "c", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, live.Data, map[string]string{"b": "2"})
	assert.NilError(t, ours.Release(t.Context(), entries[0]), "what is not ours any more is left alone")
	assert.Equal(t, compared(t, theirs, wanted)[0].Action, reconciler.ActionUnchanged)
}

// TestClaimMakesNoObject shows that an object which is gone is not made by a
// claim on it.
func TestClaimMakesNoObject(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	assert.NilError(t, w.applier(t).Claim(t.Context(), reconciler.Ref{Version: "v1", Kind: "ConfigMap", Namespace: w.namespace, Name: "gone"}))
	w.assertNothingWritten(t)
}

// TestWebhookWithSideEffects covers A8: what cannot be dry-run is written
// without, and nothing else is held up by it. The API no longer takes a webhook
// that says so of itself, only keeps an old one; its refusal is played here.
func TestWebhookWithSideEffects(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	applyAll(t, w.applier(t), configMap(t, "old"))
	hooked := w.through(t, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		if request.URL.Query().Get("dryRun") == "All" && strings.Contains(request.URL.Path, "/configmaps/") {
			return answer(request, http.StatusBadRequest, []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure",
				"reason":"BadRequest","code":400,"message":"admission webhook \"hook.example.org\" does not support dry run"}`)), nil
		}
		return next.RoundTrip(request)
	})
	a := w.applierOf(t, hooked, "web")
	changed := configMap(t, "old")
	changed.Object["data"] = map[string]any{"a": "2"}
	changes := compared(t, a, configMap(t, "new"), changed, deployment(t, "free", "image:1"))
	assert.DeepEqual(t, actions(changes), []reconciler.Action{reconciler.ActionApply, reconciler.ActionApply, reconciler.ActionCreate})
	assert.Equal(t, changes[0].Reason, `could not be dry-run: admission webhook "hook.example.org" does not support dry run`)
	assert.NilError(t, changes[0].Err)
	assert.Assert(t, changes[0].Live == nil && changes[1].Live != nil)
	entries, err := a.Write(t.Context(), changes)
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 3)
	live, err := w.kube.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "old", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, live.Data["a"], "2")
}

// TestWebhookThatIsDown shows that a webhook which cannot be called is one
// object's trouble and may pass.
func TestWebhookThatIsDown(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	w.deadWebhook(t)
	var changes []reconciler.Change
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		changes = compared(t, w.applier(t), configMap(t, "hooked"), deployment(t, "free", "image:1"))
		if changes[0].Action != reconciler.ActionRefuse {
			return poll.Continue("the webhook is not in force: %s", changes[0].Action)
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.Equal(t, reconciler.ReasonOf(changes[0].Err, ""), "WebhookFailed")
	assert.Assert(t, !reconciler.IsTerminal(changes[0].Err))
	assert.Equal(t, changes[1].Action, reconciler.ActionCreate)
}

// deadWebhook makes the API server ask nobody about the ConfigMaps of the
// namespace.
func (w *world) deadWebhook(t *testing.T) {
	t.Helper()
	effects, policy := admissionv1.SideEffectClassNone, admissionv1.Fail
	url := "https://127.0.0.1:1/never"
	made, err := w.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "hook.example.org", SideEffects: &effects, FailurePolicy: &policy, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:      admissionv1.WebhookClientConfig{URL: &url},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}},
			TimeoutSeconds:    new(int32(1)),
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	removal(t, w.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete, made.Name)
}

// TestWarningsAreKeptWithTheObject covers A22: the namespace wants restricted
// Pods, the Deployment is taken, and only a header of the answer tells.
func TestWarningsAreKeptWithTheObject(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	_, err := w.kube.CoreV1().Namespaces().Patch(t.Context(), w.namespace, "application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
	assert.NilError(t, err)
	var changes []reconciler.Change
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		changes = compared(t, w.applier(t), configMap(t, "quiet"), deployment(t, "loud", "image:1"))
		if len(changes[1].Warnings) == 0 {
			return poll.Continue("the label is not in force yet")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.Equal(t, changes[1].Action, reconciler.ActionCreate)
	assert.Assert(t, strings.Contains(changes[1].Warnings[0], "would violate PodSecurity"), changes[1].Warnings[0])
	assert.Equal(t, len(changes[0].Warnings), 0)
	assert.Equal(t, len(w.warnings.all()), 0, "what the plan tells is not logged as well")

	unplanned := []reconciler.Change{{Object: deployment(t, "loud", "image:1"), Action: reconciler.ActionApply}}
	_, err = w.applier(t).Write(t.Context(), unplanned)
	assert.NilError(t, err)
	assert.DeepEqual(t, unplanned[0].Warnings, changes[1].Warnings)
}

// TestChangesCarryNoSecret covers R5 for plans: neither values of a Secret nor
// those of variables that sound like one are in a change.
func TestChangesCarryNoSecret(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	secret := func(value string) reconciler.Object {
		return object(t, "s.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: "+value+", user: bob}}")
	}
	workload := func(value string) reconciler.Object {
		made := deployment(t, "d", "image:1")
		container := made.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		container["env"] = []any{
			map[string]any{"name": "DB_PASSWORD", "value": value},
			map[string]any{"name": "DATABASE_URL", "value": "postgres://bob:" + value + "@db/shop"},
		}
		return made
	}
	applyAll(t, w.applier(t), secret("Old-"+canary), workload("Old-"+canary))
	added := workload(canary)
	containers := added.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	second := deployment(t, "x", "image:2").Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	second["name"] = "second"
	second["env"] = []any{map[string]any{"name": "API_TOKEN", "value": canary}}
	containers["containers"] = append(containers["containers"].([]any), second)
	changes := compared(t, w.applier(t), secret(canary), added)
	assert.DeepEqual(t, actions(changes), []reconciler.Action{reconciler.ActionUpdate, reconciler.ActionUpdate})
	assert.DeepEqual(t, changes[0].Fields, []reconciler.FieldChange{
		{Path: "data.password", Before: "(masked, 15 bytes)", After: "(masked, 11 bytes)"},
	})
	assert.Equal(t, len(changes[1].Fields), 3)
	text := fmt.Sprintf("%+v", changes[1].Fields)
	assert.Assert(t, !strings.Contains(text, canary), text)
	assert.Assert(t, strings.Contains(text, "containers[name=main].env[name=DB_PASSWORD].value"), text)
	assert.Assert(t, strings.Contains(text, "postgres://bob:(masked)@db/shop"), text)
}

// TestCompareIsFrugal counts requests: one dry run an object, one list a kind of
// which an object is there, and a read only for what no list can bring.
func TestCompareIsFrugal(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	many := make([]reconciler.Object, 20)
	for i := range many {
		many[i] = configMap(t, fmt.Sprintf("c-%d", i))
	}
	counting, requests := w.counted(t)
	a := w.applierOf(t, counting, "web")
	changes := compared(t, a, many...)
	assert.Equal(t, requests.Swap(0), int64(20), "20 dry runs, and nothing there to list")
	_, err := a.Write(t.Context(), changes)
	assert.NilError(t, err)
	assert.Equal(t, requests.Swap(0), int64(20), "20 writes")
	many[7].Object["data"] = map[string]any{"a": "2"}
	changes = compared(t, a, many...)
	assert.Equal(t, requests.Swap(0), int64(21), "a list and 20 dry runs")
	entries, err := a.Write(t.Context(), changes)
	assert.NilError(t, err)
	assert.Equal(t, requests.Swap(0), int64(1), "one object has changed")
	assert.Equal(t, len(entries), 20)
	for i, entry := range entries {
		assert.Equal(t, entry.Name, fmt.Sprintf("c-%d", i))
		assert.Assert(t, entry.UID != "" && entry.Token != "" && entry.ResourceVersion != "" && entry.Digest != "")
	}
	_, err = a.Ref(many[0])
	assert.NilError(t, err)
	assert.Equal(t, requests.Load(), int64(0))
	for i := range many {
		many[i].Ignore = []string{"/data/b"}
	}
	for _, change := range compared(t, a, many...) {
		assert.Equal(t, change.Action, reconciler.ActionUnchanged)
	}
	assert.Equal(t, requests.Load(), int64(21), "what depends on the object as it stands is asked once, too")
}

// TestBrokenAggregatedAPI covers A13: while a part of the API cannot be
// listed, its kinds are not unknown and nothing of them counts as gone.
func TestBrokenAggregatedAPI(t *testing.T) {
	w := newFreeWorld(t)
	w.brokenAPI(t, "broken.example.org")
	thing := object(t, "thing.yaml", "{apiVersion: broken.example.org/v1, kind: Thing, metadata: {name: one}}")
	unknown := object(t, "unknown.yaml", "{apiVersion: unknown.example.org/v1, kind: Thing, metadata: {name: one}}")
	var changes []reconciler.Change
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		changes = compared(t, w.applier(t), thing, unknown, configMap(t, "c"))
		if reconciler.ReasonOf(changes[0].Err, "") != "KindUnavailable" {
			return poll.Continue("the API is not known yet: %v", changes[0].Err)
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.Assert(t, !reconciler.IsTerminal(changes[0].Err))
	assert.ErrorContains(t, changes[0].Err, "thing.yaml: Thing one: ")
	assert.ErrorContains(t, changes[0].Err, "APIService v1.broken.example.org")
	assert.Equal(t, reconciler.ReasonOf(changes[1].Err, ""), "KindUnknown")
	assert.Assert(t, reconciler.IsTerminal(changes[1].Err))
	assert.Equal(t, changes[2].Action, reconciler.ActionCreate)

	entry := func(group string) reconciler.Entry {
		return reconciler.Entry{UID: "u", Ref: reconciler.Ref{Group: group, Version: "v1", Kind: "Thing", Namespace: w.namespace, Name: "one"}}
	}
	gone, err := w.applier(t).Delete(t.Context(), []reconciler.Entry{entry("broken.example.org"), entry("unknown.example.org")})
	assert.DeepEqual(t, gone, []reconciler.Ref{entry("unknown.example.org").Ref})
	assert.ErrorContains(t, err, "APIService v1.broken.example.org")
	assert.Assert(t, !reconciler.IsTerminal(err))
}

// brokenAPI registers an aggregated API without a backend.
func (w *world) brokenAPI(t *testing.T, group string) {
	t.Helper()
	client := w.dynamic.Resource(apiServices())
	made := object(t, "", `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.`+group+`}
spec:
  group: `+group+`
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 15
  insecureSkipTLSVerify: true
  service: {name: nobody, namespace: `+w.namespace+`}
`)
	_, err := client.Create(t.Context(), made.Unstructured, metav1.CreateOptions{})
	assert.NilError(t, err)
	controlplane.Cleanup(t, "APIService of "+group, deleting(client, made.GetName()))
}
