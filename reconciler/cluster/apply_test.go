package cluster_test

import (
	"context"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// TestDryRunRefusesAndWritesNothing covers R15 and A6: three good objects and
// a bad one write nothing, and the API's 500 for a wrong type is final.
func TestDryRunRefusesAndWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := object(t, "overlay/bad.yaml", `
apiVersion: v1
kind: Service
metadata: {name: bad}
spec: {ports: [{port: eighty}]}
`)
	err := dryRun(t.Context(), w.tenant, []reconciler.Object{configMap(t, "a"), configMap(t, "b"), bad, configMap(t, "c")})
	assert.ErrorContains(t, err, "overlay/bad.yaml: Service bad: ")
	assert.ErrorContains(t, err, "failed to create typed patch object")
	assert.Assert(t, reconciler.IsTerminal(err))
	w.assertNothingWritten(t)
}

func (w *world) assertNothingWritten(t *testing.T) {
	t.Helper()
	list, err := w.configMaps().List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	assert.NilError(t, err)
	assert.Equal(t, len(list.Items), 0)
}

// TestDryRunNamesEveryBadFile covers A5 and A6: all that is wrong is told at
// once, each with its file.
func TestDryRunNamesEveryBadFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unknown := deployment(t, "unknown", "image:1")
	unknown.Object["spec"].(map[string]any)["replica"] = int64(2)
	duplicate := object(t, "duplicate.yaml", `
apiVersion: v1
kind: Pod
metadata: {name: duplicate}
spec: {containers: [{name: main, image: i, env: [{name: A, value: x}, {name: A, value: y}]}]}
`)
	invalid := configMap(t, "invalid")
	invalid.SetName("Not_A_Name")
	nameless, slashed := configMap(t, ""), configMap(t, "slashed")
	slashed.SetName("a/b")
	err := dryRun(t.Context(), w.tenant, []reconciler.Object{configMap(t, "good"), unknown, duplicate, invalid, nameless, slashed})
	assert.Assert(t, reconciler.IsTerminal(err))
	for _, want := range []string{
		"unknown.yaml: Deployment unknown: ", "spec.replica",
		"duplicate.yaml: Pod duplicate: ",
		"invalid.yaml: ConfigMap Not_A_Name: ", "metadata.name",
		".yaml: ConfigMap : metadata.name is missing", `slashed.yaml: ConfigMap a/b: metadata.name "a/b" may not contain '/'`,
	} {
		assert.ErrorContains(t, err, want)
	}
	w.assertNothingWritten(t)
}

// clusterTenant gives the account of the world rights in the whole cluster.
func (w *world) clusterTenant(t *testing.T, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role, err := w.kube.RbacV1().ClusterRoles().Create(t.Context(),
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Rules: rules}, metav1.CreateOptions{})
	assert.NilError(t, err)
	binding, err := w.kube.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: controlplane.ServiceAccount, Namespace: w.namespace}},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	removal(t, w.kube.RbacV1().ClusterRoles().Delete, role.Name)
	removal(t, w.kube.RbacV1().ClusterRoleBindings().Delete, binding.Name)
}

func allVerbs() []string { return []string{"get", "list", "watch", "create", "patch"} }

// removal deletes a cluster-wide object when the test ends.
func removal(t *testing.T, remove func(context.Context, string, metav1.DeleteOptions) error, name string) {
	t.Helper()
	controlplane.Cleanup(t, name, func(ctx context.Context) error { return remove(ctx, name, metav1.DeleteOptions{}) })
}

// TestNamespaceOfTheSameCommit covers A10: what lies in a namespace that the
// commit brings passes the dry run and is applied after it.
func TestNamespaceOfTheSameCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clusterTenant(t, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces", "configmaps"}, Verbs: allVerbs()})
	fresh := w.namespace + "-fresh"
	inside := configMap(t, "inside")
	inside.SetNamespace(fresh)
	objects := []reconciler.Object{
		object(t, "ns.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: "+fresh+"}}"), inside,
	}
	removal(t, w.kube.CoreV1().Namespaces().Delete, fresh)

	assert.NilError(t, dryRun(t.Context(), w.tenant, objects))
	_, err := w.kube.CoreV1().Namespaces().Get(t.Context(), fresh, metav1.GetOptions{})
	assert.Assert(t, apierrors.IsNotFound(err), "a dry run made the namespace: %v", err)

	assert.ErrorContains(t, dryRun(t.Context(), w.tenant, objects[1:]), "not found")
	unknown := object(t, "thing.yaml", "{apiVersion: nobody.example/v1, kind: Thing, metadata: {name: one, namespace: "+fresh+"}}")
	err = dryRun(t.Context(), w.tenant, append(objects[:2:2], unknown))
	assert.ErrorContains(t, err, "thing.yaml: Thing "+fresh+"/one: the cluster knows no kind Thing", "a new namespace excuses no unknown kind")
	assert.Assert(t, reconciler.IsTerminal(err))
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	live, err := w.kube.CoreV1().ConfigMaps(fresh).Get(t.Context(), "inside", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, live.Data, map[string]string{"a": "1"})
}

// TestDefinitionOfTheSameCommit covers A9: an object of a kind that the same
// commit defines passes the dry run, and is applied after its definition.
func TestDefinitionOfTheSameCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	group := w.namespace + ".example"
	w.clusterTenant(t,
		rbacv1.PolicyRule{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: allVerbs()},
		rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"gadgets"}, Verbs: allVerbs()})
	objects := []reconciler.Object{
		object(t, "crd.yaml", `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.`+group+`}
spec:
  group: `+group+`
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {size: {type: integer}}}}
`),
		object(t, "gadget.yaml", "{apiVersion: "+group+"/v1, kind: Gadget, metadata: {name: one}, size: 3}"),
	}
	alone := dryRun(t.Context(), w.tenant, objects[1:])
	assert.ErrorContains(t, alone, "gadget.yaml: Gadget one: the cluster knows no kind Gadget of "+group+"/v1")
	assert.Assert(t, reconciler.IsTerminal(alone))

	assert.NilError(t, dryRun(t.Context(), w.tenant, objects))
	definitions := w.dynamic.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
	controlplane.Cleanup(t, "definition of gadgets", func(ctx context.Context) error {
		return definitions.Delete(ctx, "gadgets."+group, metav1.DeleteOptions{})
	})
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	gadgets := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "gadgets"}
	gadget, err := w.dynamic.Resource(gadgets).Namespace(w.namespace).Get(t.Context(), "one", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, gadget.Object["size"], int64(3))
}

// TestKeyTakenOutOfStringDataLeavesTheSecret covers A4.
func TestKeyTakenOutOfStringDataLeavesTheSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := func(data string) []reconciler.Object {
		return []reconciler.Object{object(t, "s.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: "+data+"}")}
	}
	assert.NilError(t, writeAll(t.Context(), w.tenant, secret("{old: one, kept: two}")))
	assert.NilError(t, writeAll(t.Context(), w.tenant, secret("{kept: three}")))
	data, err := w.tenant.Secret(t.Context(), "s")
	assert.NilError(t, err)
	assert.Equal(t, len(data), 1)
	assert.Equal(t, string(data["kept"]), "three")
}

// TestQuotaIsNotALackOfRights covers A11: both are 403, one passes by itself.
func TestQuotaIsNotALackOfRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.kube.CoreV1().ResourceQuotas(w.namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/services": resource.MustParse("0")}},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		quota, err := w.kube.CoreV1().ResourceQuotas(w.namespace).Get(t.Context(), "few", metav1.GetOptions{})
		if err != nil {
			return poll.Error(err)
		}
		if len(quota.Status.Hard) != 1 {
			return poll.Continue("the quota is not counted yet")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	service := object(t, "svc.yaml", "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 80}]}}")
	full := writeAll(t.Context(), w.tenant, []reconciler.Object{service})
	assert.ErrorContains(t, full, "exceeded quota: few")
	assert.Equal(t, reconciler.ReasonOf(full, ""), "QuotaExceeded")
	assert.Assert(t, !reconciler.IsTerminal(full))

	role := object(t, "role.yaml", "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}, rules: []}")
	forbidden := writeAll(t.Context(), w.tenant, []reconciler.Object{role})
	assert.ErrorContains(t, forbidden, "role.yaml: Role r: as ServiceAccount "+w.namespace+"/deployer: ")
	assert.Equal(t, reconciler.ReasonOf(forbidden, ""), "Forbidden")
	assert.Assert(t, reconciler.IsTerminal(forbidden))
}

// TestObjectBeingDeletedComesBack covers A15: the API takes the apply of a
// dying object with 200, and the object is gone a moment later.
func TestObjectBeingDeletedComesBack(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	before := applyAll(t, w.applier(t), configMap(t, "dying"))
	mergePatch(t, w.configMaps(), "dying", `{"metadata":{"finalizers":["example.org/hold"]}}`)
	assert.NilError(t, w.configMaps().Delete(t.Context(), "dying", metav1.DeleteOptions{}))

	changes := compared(t, w.applier(t), configMap(t, "dying"))
	assert.Equal(t, changes[0].Action, reconciler.ActionApply)
	assert.Equal(t, changes[0].Reason, "is being deleted")
	hurried, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := w.applier(t).Write(hurried, changes)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "dying.yaml: ConfigMap dying is being deleted and not gone yet")
	assert.Assert(t, !reconciler.IsTerminal(err))

	type written struct {
		entries []reconciler.Entry
		err     error
	}
	answer := make(chan written, 1)
	go func() {
		entries, err := w.applier(t).Write(t.Context(), changes)
		answer <- written{entries, err}
	}()
	mergePatch(t, w.configMaps(), "dying", `{"metadata":{"finalizers":null}}`)
	got := <-answer
	assert.NilError(t, got.err)
	live, err := w.configMaps().Get(t.Context(), "dying", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Assert(t, live.GetDeletionTimestamp() == nil)
	assert.Equal(t, got.entries[0].UID, string(live.GetUID()))
	assert.Assert(t, got.entries[0].UID != before[0].UID)
}

// TestTenantStaysInItsNamespace shows that the rights are those of the
// account and not those of the daemon, whatever is done.
func TestTenantStaysInItsNamespace(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	elsewhere := controlplane.Namespace(t)
	stray := configMap(t, "stray")
	stray.SetNamespace(elsewhere)
	victim, err := w.kube.CoreV1().ConfigMaps(elsewhere).Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "victim"}}, metav1.CreateOptions{})
	assert.NilError(t, err)
	ref := reconciler.Ref{Version: "v1", Kind: "ConfigMap", Namespace: elsewhere, Name: "victim"}
	entry := reconciler.Entry{Ref: ref, UID: string(victim.UID)}
	a := w.applier(t)
	for name, test := range map[string]struct {
		try  func() error
		want string
	}{
		"dry run": {func() error { return dryRun(t.Context(), w.tenant, []reconciler.Object{stray}) }, "stray.yaml: ConfigMap " + elsewhere + "/stray: "},
		"apply":   {func() error { return writeAll(t.Context(), w.tenant, []reconciler.Object{stray}) }, "stray.yaml: ConfigMap " + elsewhere + "/stray: "},
		"compare": {func() error { return compared(t, a, stray)[0].Err }, "stray.yaml: ConfigMap " + elsewhere + "/stray: "},
		"write": {func() error {
			_, err := a.Write(t.Context(), []reconciler.Change{{Object: stray, Action: reconciler.ActionCreate}})
			return err
		}, "stray.yaml: ConfigMap " + elsewhere + "/stray: "},
		"delete": {func() error {
			gone, err := a.Delete(t.Context(), []reconciler.Entry{entry})
			assert.Equal(t, len(gone), 0)
			return err
		}, "ConfigMap " + elsewhere + "/victim: "},
		"claim":   {func() error { return a.Claim(t.Context(), ref) }, "ConfigMap " + elsewhere + "/victim: "},
		"release": {func() error { return a.Release(t.Context(), entry) }, "ConfigMap " + elsewhere + "/victim: "},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.try()
			assert.ErrorContains(t, err, test.want+"as ServiceAccount "+w.namespace+"/deployer: ")
			assert.Assert(t, reconciler.IsTerminal(err))
			assert.Equal(t, reconciler.ReasonOf(err, ""), map[bool]string{true: "DryRunFailed", false: "Forbidden"}[name == "dry run"])
			_, err = w.kube.CoreV1().ConfigMaps(elsewhere).Get(t.Context(), "stray", metav1.GetOptions{})
			assert.Assert(t, apierrors.IsNotFound(err), "%v", err)
			left, err := w.kube.CoreV1().ConfigMaps(elsewhere).Get(t.Context(), "victim", metav1.GetOptions{})
			assert.NilError(t, err)
			assert.Equal(t, left.ResourceVersion, victim.ResourceVersion)
		})
	}
}

// TestFieldsOfOthersStay shows server-side apply at work: what another
// manager added stays, what we set is set again.
func TestFieldsOfOthersStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	objects := []reconciler.Object{configMap(t, "shared")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	mergePatch(t, w.configMaps(), "shared", `{"data":{"a":"edited","theirs":"x"}}`)
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	live, err := w.kube.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "shared", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, live.Data, map[string]string{"a": "1", "theirs": "x"})
}
