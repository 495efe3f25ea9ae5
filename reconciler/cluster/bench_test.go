package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"

	"golang.org/x/sync/errgroup"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// figureOf prints one line that anybody can grep.
func figureOf(name string, value float64, unit string, goal float64) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.3g %s goal %.3g %s\n", name, value, unit, goal, verdict)
}

// benchObjects is how many ConfigMaps are delivered.
const benchObjects = 1000

// BenchmarkApply compares Write of a thousand new ConfigMaps, and Compare of as
// many that are there, with the shortest loop of bare applies that does the
// same: every object at once, so many at a time, of which the best number
// counts. Both are taken in turns on the same API server.
func BenchmarkApply(b *testing.B) {
	config := controlplane.Config(b)
	config.QPS = -1
	tenant := benchTenant(b, config)
	bare, err := dynamic.NewForConfig(config)
	assert.NilError(b, err)
	for b.Loop() {
		write, compare := math.Inf(1), math.Inf(1)
		for range 3 {
			objects := benchConfigMaps(b)
			a := tenant()
			changes := compared(b, a, objects...)
			write = min(write, took(func() error { _, err := a.Write(b.Context(), changes); return err }, b))
			changes, a = nil, tenant()
			compare = min(compare, took(func() error { changes, err = a.Compare(b.Context(), objects); return err }, b))
			assert.Equal(b, changes[999].Action, reconciler.ActionUnchanged)
		}
		loopWrite, loopDry := math.Inf(1), math.Inf(1)
		for _, parallel := range []int{4, 8, 16, 32} {
			objects := benchConfigMaps(b)
			loopWrite = min(loopWrite, took(func() error { return bareLoop(b.Context(), bare, objects, parallel) }, b))
			loopDry = min(loopDry, took(func() error { return bareLoop(b.Context(), bare, objects, parallel, metav1.DryRunAll) }, b))
		}
		fmt.Printf("bare loop: %.3gs write, %.3gs dry run; ours: %.3gs write, %.3gs compare\n", loopWrite, loopDry, write, compare)
		figureOf("apply_write_1000", write/loopWrite, "ratio", 1.25)
		figureOf("apply_compare_1000", compare/loopDry, "ratio", 1.25)
	}
}

func took(do func() error, b *testing.B) float64 {
	b.Helper()
	began := time.Now()
	assert.NilError(b, do())
	return time.Since(began).Seconds()
}

// bareLoop applies each object and throws the answer away.
func bareLoop(ctx context.Context, client dynamic.Interface, objects []reconciler.Object, parallel int, dry ...string) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	force := true
	configMaps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	for _, object := range objects {
		group.Go(func() error {
			body, err := object.MarshalJSON()
			if err != nil {
				return err
			}
			_, err = configMaps.Namespace(object.GetNamespace()).Patch(within, object.GetName(), types.ApplyPatchType, body,
				metav1.PatchOptions{FieldManager: "bare", Force: &force, DryRun: dry})
			return err
		})
	}
	return group.Wait()
}

// benchConfigMaps are ConfigMaps of 1 KiB for a namespace of their own.
func benchConfigMaps(b *testing.B) []reconciler.Object {
	b.Helper()
	made, err := controlplane.Client(b).CoreV1().Namespaces().Create(b.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "lockstep-bench-"}}, metav1.CreateOptions{})
	assert.NilError(b, err)
	controlplane.Cleanup(b, made.Name, func(ctx context.Context) error {
		return controlplane.Client(b).CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{})
	})
	objects := make([]reconciler.Object, benchObjects)
	for i := range objects {
		objects[i] = reconciler.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": fmt.Sprintf("c-%04d", i), "namespace": made.Name},
			"data":     map[string]any{"a": strings.Repeat("x", 1024)},
		}}}
	}
	return objects
}

// benchTenant returns tenants whose account may write ConfigMaps anywhere.
func benchTenant(b *testing.B, config *rest.Config) func() applier {
	b.Helper()
	kube := controlplane.Client(b)
	home := controlplane.Namespace(b)
	account := controlplane.Tenant(b, home)
	rule := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}
	_, err := kube.RbacV1().ClusterRoles().Create(b.Context(),
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: home}, Rules: []rbacv1.PolicyRule{rule}}, metav1.CreateOptions{})
	assert.NilError(b, err)
	_, err = kube.RbacV1().ClusterRoleBindings().Create(b.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: home},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: home},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: home}},
	}, metav1.CreateOptions{})
	assert.NilError(b, err)
	controlplane.Cleanup(b, "role of the benchmark", func(ctx context.Context) error {
		if err := kube.RbacV1().ClusterRoleBindings().Delete(ctx, home, metav1.DeleteOptions{}); err != nil {
			return err
		}
		return kube.RbacV1().ClusterRoles().Delete(ctx, home, metav1.DeleteOptions{})
	})
	c, err := cluster.New(cluster.Options{Config: config, Log: slog.New(slog.DiscardHandler), Events: events.NewFakeRecorder(1)})
	assert.NilError(b, err)
	return func() applier {
		tenant, err := c.As(&v1alpha1.Release{
			ObjectMeta: metav1.ObjectMeta{Name: "bench", Namespace: home}, Spec: v1alpha1.ReleaseSpec{ServiceAccountName: account},
		})
		assert.NilError(b, err)
		made, ok := tenant.(applier)
		assert.Assert(b, ok)
		return made
	}
}
