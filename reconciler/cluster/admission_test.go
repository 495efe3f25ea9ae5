package cluster_test

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// TestWhatAPolicyChangesIsNoDrift covers A23: a policy adds an annotation to
// every write and puts its own value in place of ours. The dry run passes the
// same policy, so both are as they shall be.
func TestWhatAPolicyChangesIsNoDrift(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	w.mutatingPolicy(t, `[
		JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("example.org/stamp"), value: "set"},
		JSONPatch{op: "replace", path: "/data/a", value: "policy"}]`)
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		made, err := w.kube.CoreV1().ConfigMaps(w.namespace).Create(t.Context(), configMapOf("probe"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case err != nil:
			return poll.Error(err)
		case made.Data["a"] != "policy":
			return poll.Continue("the policy is not in force yet")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	applyAll(t, w.applier(t), configMap(t, "c"))
	live, err := w.kube.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "c", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, live.Data["a"], "policy")
	assert.Equal(t, live.Annotations["example.org/stamp"], "set")
	for range 2 {
		change := compared(t, w.applier(t), configMap(t, "c"))[0]
		assert.Equal(t, change.Action, reconciler.ActionUnchanged, "%v %s", change.Fields, change.Reason)
	}
}

// mutatingPolicy changes what is written to the ConfigMaps of the namespace.
func (w *world) mutatingPolicy(t *testing.T, patch string) {
	t.Helper()
	policies, bindings := w.kube.AdmissionregistrationV1().MutatingAdmissionPolicies(), w.kube.AdmissionregistrationV1().MutatingAdmissionPolicyBindings()
	_, err := policies.Create(t.Context(), &admissionv1.MutatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: admissionv1.MutatingAdmissionPolicySpec{
			ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				}}},
			},
			MatchConditions: []admissionv1.MatchCondition{{Name: "delivered", Expression: "has(object.metadata.annotations) && has(object.data)"}},
			Mutations: []admissionv1.Mutation{{
				PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{Expression: patch},
			}},
		},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	removal(t, policies.Delete, w.namespace)
	_, err = bindings.Create(t.Context(), &admissionv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: w.namespace},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	removal(t, bindings.Delete, w.namespace)
}

func configMapOf(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"a": "b"}}, Data: map[string]string{"a": "1"},
	}
}
