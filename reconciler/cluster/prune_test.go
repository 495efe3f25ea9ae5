package cluster_test

import (
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// names are those of the objects that are gone.
func names(refs []reconciler.Ref) []string {
	var out []string
	for _, ref := range refs {
		out = append(out, ref.Name)
	}
	slices.Sort(out)
	return out
}

func (w *world) exists(t *testing.T, name string) bool {
	t.Helper()
	_, err := w.configMaps().Get(t.Context(), name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		assert.NilError(t, err)
	}
	return err == nil
}

// TestDelete covers A14 and A19: an object with a finalizer is reported and
// holds up nobody, what is gone or was made anew counts as gone, and an object
// that only carries our label is left alone.
func TestDelete(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	a := w.applier(t)
	entries := applyAll(t, a, configMap(t, "plain"), configMap(t, "held"), configMap(t, "missing"), configMap(t, "anew"))
	mergePatch(t, w.configMaps(), "held", `{"metadata":{"finalizers":["example.org/hold"]}}`)
	for _, name := range []string{"missing", "anew"} {
		assert.NilError(t, w.configMaps().Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	for _, name := range []string{"anew", "copied"} {
		_, err := w.kube.CoreV1().ConfigMaps(w.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{"lockstep.dev/release": "web"},
		}}, metav1.CreateOptions{})
		assert.NilError(t, err)
	}
	gone, err := a.Delete(t.Context(), entries)
	assert.DeepEqual(t, names(gone), []string{"anew", "missing", "plain"})
	assert.Error(t, err, "ConfigMap "+w.namespace+"/held is being deleted and waits for its finalizers: example.org/hold")
	assert.Equal(t, reconciler.ReasonOf(err, ""), "ObjectTerminating")
	assert.Assert(t, !reconciler.IsTerminal(err))
	assert.Assert(t, !w.exists(t, "plain"))
	assert.Assert(t, w.exists(t, "anew") && w.exists(t, "copied") && w.exists(t, "held"))

	gone, err = a.Delete(t.Context(), entries[1:2])
	assert.Equal(t, len(gone), 0)
	assert.ErrorContains(t, err, "waits for its finalizers")
	mergePatch(t, w.configMaps(), "held", `{"metadata":{"finalizers":null}}`)
	gone, err = a.Delete(t.Context(), entries[1:2])
	assert.NilError(t, err)
	assert.DeepEqual(t, names(gone), []string{"held"})
}

// TestDeleteWithoutUID covers A16: an object that was made by a daemon which was
// killed before it wrote the UID down is known by its marks, and no other is.
func TestDeleteWithoutUID(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	entries := applyAll(t, w.applier(t), configMap(t, "ours"))
	_, err := w.kube.CoreV1().ConfigMaps(w.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}, metav1.CreateOptions{})
	assert.NilError(t, err)
	entries = append(entries, entries[0])
	entries[0].UID, entries[1].UID, entries[1].Name = "", "", "theirs"
	gone, err := w.applier(t).Delete(t.Context(), entries)
	assert.NilError(t, err)
	assert.DeepEqual(t, names(gone), []string{"ours", "theirs"})
	assert.Assert(t, !w.exists(t, "ours") && w.exists(t, "theirs"))
}

// TestDeleteTakesDependentsInTheBackground shows that what a Deployment owns is
// left to the garbage collector, and the call does not wait for it.
func TestDeleteTakesDependentsInTheBackground(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	entries := applyAll(t, w.applier(t), deployment(t, "d", "image:1"))
	sets := w.kube.AppsV1().ReplicaSets(w.namespace)
	count := func(want int) func(poll.LogT) poll.Result {
		return func(poll.LogT) poll.Result {
			list, err := sets.List(t.Context(), metav1.ListOptions{})
			switch {
			case err != nil:
				return poll.Error(err)
			case len(list.Items) != want:
				return poll.Continue("%d ReplicaSets", len(list.Items))
			}
			return poll.Success()
		}
	}
	poll.WaitOn(t, count(1), poll.WithTimeout(patience))
	gone, err := w.applier(t).Delete(t.Context(), entries)
	assert.NilError(t, err)
	assert.DeepEqual(t, names(gone), []string{"d"})
	poll.WaitOn(t, count(0), poll.WithTimeout(patience))
}

// TestRefusedDeleteIsNotGone covers A16: a policy denies DELETE, and the object
// stays in the inventory.
func TestRefusedDeleteIsNotGone(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	entries := applyAll(t, w.applier(t), configMap(t, "kept"), configMap(t, "free"))
	w.forbidDelete(t, "kept")
	var gone []reconciler.Ref
	var err error
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if dry := w.dryDelete(t, "kept"); dry == nil {
			return poll.Continue("the policy is not in force yet")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	gone, err = w.applier(t).Delete(t.Context(), entries)
	assert.DeepEqual(t, names(gone), []string{"free"})
	assert.ErrorContains(t, err, "ConfigMap "+w.namespace+"/kept: ")
	assert.ErrorContains(t, err, "nobody deletes this")
	assert.Equal(t, reconciler.ReasonOf(err, ""), "AdmissionDenied")
	assert.Assert(t, w.exists(t, "kept"))
}

func (w *world) dryDelete(t *testing.T, name string) error {
	t.Helper()
	return w.configMaps().Delete(t.Context(), name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
}

// forbidDelete makes a policy that denies the deletion of one ConfigMap of the
// namespace. It goes before the namespace does.
func (w *world) forbidDelete(t *testing.T, name string) {
	t.Helper()
	policies, bindings := w.kube.AdmissionregistrationV1().ValidatingAdmissionPolicies(), w.kube.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	_, err := policies.Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Delete},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "oldObject.metadata.name != '" + name + "'", Message: "nobody deletes this"}},
		},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	removal(t, policies.Delete, w.namespace)
	_, err = bindings.Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: w.namespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	removal(t, bindings.Delete, w.namespace)
}

// TestClaimedObjectIsHandedOver covers P15 and A17 for a move between
// Releases: what another waits for is never deleted.
func TestClaimedObjectIsHandedOver(t *testing.T) {
	t.Parallel()
	controlplane.InstallCRD(t)
	w := newFreeWorld(t)
	storedRelease(t, w.releases(), "api")
	ours, theirs := w.applier(t), w.applierOf(t, w.cluster, "api")
	entries := applyAll(t, ours, configMap(t, "c"))
	assert.NilError(t, theirs.Claim(t.Context(), entries[0].Ref))
	gone, err := ours.Delete(t.Context(), entries)
	assert.NilError(t, err)
	assert.DeepEqual(t, names(gone), []string{"c"})
	gone, err = ours.Delete(t.Context(), entries)
	assert.NilError(t, err)
	assert.DeepEqual(t, names(gone), []string{"c"})
	assert.Assert(t, w.exists(t, "c"), "it was deleted by a prune that came twice, before the other took it")
	taken := applyAll(t, theirs, configMap(t, "c"))
	assert.Equal(t, taken[0].UID, entries[0].UID)
	gone, err = ours.Delete(t.Context(), entries)
	assert.NilError(t, err)
	assert.DeepEqual(t, names(gone), []string{"c"})
	assert.Assert(t, w.exists(t, "c"), "the object of another Release was deleted")
}

// TestClaimOfNobodyIsNoClaim shows that an object is not handed over to a
// Release that is gone, and so to nobody for ever.
func TestClaimOfNobodyIsNoClaim(t *testing.T) {
	t.Parallel()
	controlplane.InstallCRD(t)
	w := newFreeWorld(t)
	ours, theirs := w.applier(t), w.applierOf(t, w.cluster, "never-made")
	entries := applyAll(t, ours, configMap(t, "c"))
	assert.NilError(t, theirs.Claim(t.Context(), entries[0].Ref))
	gone, err := ours.Delete(t.Context(), entries)
	assert.NilError(t, err)
	assert.DeepEqual(t, names(gone), []string{"c"})
	assert.Assert(t, !w.exists(t, "c"))
}

// TestObjectThatSaysNeverIsNotDeleted covers A18 for an annotation that was put
// on the live object alone.
func TestObjectThatSaysNeverIsNotDeleted(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	entries := applyAll(t, w.applier(t), configMap(t, "c"))
	mergePatch(t, w.configMaps(), "c", `{"metadata":{"annotations":{"lockstep.dev/prune":"never"}}}`)
	_, err := w.applier(t).Delete(t.Context(), entries)
	assert.NilError(t, err)
	assert.Assert(t, w.exists(t, "c"))
}

// TestDefinitionGoesAfterItsObjects covers A20: both removed at once; the
// definition stays as long as an object of it is held, and afterwards an object
// of a kind that is unknown counts as gone.
func TestDefinitionGoesAfterItsObjects(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	group := w.namespace + ".example"
	w.clusterTenant(t,
		rbacv1.PolicyRule{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: []string{"*"}},
		rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"gadgets"}, Verbs: []string{"*"}})
	objects := gadgets(t, group, "integer")
	controlplane.Cleanup(t, "definition of gadgets", deleting(w.dynamic.Resource(definitions()), "gadgets."+group))
	a := w.applier(t)
	changes := compared(t, a, objects...)
	assert.DeepEqual(t, actions(changes), []reconciler.Action{reconciler.ActionCreate, reconciler.ActionApply})
	assert.Equal(t, changes[1].Reason, "its kind comes with the same commit")
	assert.Equal(t, changes[1].Ref.Namespace, w.namespace)
	entries, err := a.Write(t.Context(), changes)
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 2)

	client := w.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "gadgets"}).Namespace(w.namespace)
	mergePatch(t, client, "one", `{"metadata":{"finalizers":["example.org/hold"]}}`)
	gone, err := w.applier(t).Delete(t.Context(), entries)
	assert.Equal(t, len(gone), 0)
	assert.ErrorContains(t, err, "waits for its finalizers")
	assert.ErrorContains(t, err, "gadgets."+group+" stays until ")
	mergePatch(t, client, "one", `{"metadata":{"finalizers":null}}`)
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		gone, err = w.applier(t).Delete(t.Context(), entries)
		if err != nil {
			return poll.Continue("%v", err)
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.DeepEqual(t, names(gone), []string{"gadgets." + group, "one"})
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		gone, err = w.applier(t).Delete(t.Context(), entries[1:])
		if err != nil {
			return poll.Continue("%v", err)
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.DeepEqual(t, names(gone), []string{"one"})
}

func definitions() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// gadgets are a definition whose field size is of the type, and an object of it.
func gadgets(t *testing.T, group, size string) []reconciler.Object {
	t.Helper()
	value := map[string]string{"integer": "3", "string": "large"}[size]
	return []reconciler.Object{
		object(t, "crd.yaml", strings.ReplaceAll(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {size: {type: `+size+`}}}}
`, "GROUP", group)),
		object(t, "gadget.yaml", "{apiVersion: "+group+"/v1, kind: Gadget, metadata: {name: one}, size: "+value+"}"),
	}
}

// TestDefinitionChangesWithItsObjects covers A9 for a definition that is there:
// an object that only fits its next form is not refused.
func TestDefinitionChangesWithItsObjects(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	group := w.namespace + ".example"
	w.clusterTenant(t,
		rbacv1.PolicyRule{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: []string{"*"}},
		rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"gadgets"}, Verbs: []string{"*"}})
	first := gadgets(t, group, "integer")
	controlplane.Cleanup(t, "definition of gadgets", deleting(w.dynamic.Resource(definitions()), "gadgets."+group))
	applyAll(t, w.applier(t), first...)
	second := gadgets(t, group, "string")
	alone := compared(t, w.applier(t), first[0], second[1])
	assert.DeepEqual(t, actions(alone), []reconciler.Action{reconciler.ActionUnchanged, reconciler.ActionRefuse})
	changes := compared(t, w.applier(t), second...)
	assert.DeepEqual(t, actions(changes), []reconciler.Action{reconciler.ActionUpdate, reconciler.ActionApply})
	assert.Equal(t, changes[1].Reason, "its kind changes with the same commit")
}
