package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Release reads a Release.
func (c *Cluster) Release(ctx context.Context, namespace, name string) (*v1alpha1.Release, error) {
	object, err := c.releases.Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no Release %s in namespace %s; `kubectl get releases --all-namespaces` lists them: %w", name, namespace, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read Release %s/%s: %w", namespace, name, err)
	}
	release := &v1alpha1.Release{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, release); err != nil {
		return nil, fmt.Errorf("decode Release %s/%s: %w", namespace, name, err)
	}
	return release, nil
}

// Releases lists the Releases of a namespace.
func (c *Cluster) Releases(ctx context.Context, namespace string) ([]v1alpha1.Release, error) {
	list, err := c.releases.Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("releases of namespace %s: %w", namespace, err)
	}
	releases := make([]v1alpha1.Release, len(list.Items))
	for i := range list.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &releases[i]); err != nil {
			return nil, fmt.Errorf("decode Release %s/%s: %w", namespace, list.Items[i].GetName(), err)
		}
	}
	return releases, nil
}

// SetFinalizer puts our finalizer on a Release or takes it off. One that is
// gone has none.
func (c *Cluster) SetFinalizer(ctx context.Context, release *v1alpha1.Release, set bool) error {
	finalizers := slices.DeleteFunc(slices.Clone(release.Finalizers), func(name string) bool { return name == reconciler.Finalizer })
	if set {
		finalizers = append(finalizers, reconciler.Finalizer)
	}
	// The resourceVersion keeps a finalizer that somebody added meanwhile.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"finalizers": finalizers, "resourceVersion": release.ResourceVersion,
	}})
	if err != nil {
		return err
	}
	written, err := c.releases.Namespace(release.Namespace).Patch(ctx, release.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finalizer of Release %s/%s: %w", release.Namespace, release.Name, err)
	}
	release.Finalizers, release.ResourceVersion = finalizers, written.GetResourceVersion()
	if c.options.Saved != nil {
		c.options.Saved(written)
	}
	return nil
}

// NamespaceLeaving tells whether a namespace is being deleted, or gone.
func (c *Cluster) NamespaceLeaving(ctx context.Context, namespace string) (bool, error) {
	found, err := c.metadata.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("namespace %s: %w", namespace, err)
	}
	return found.DeletionTimestamp != nil, nil
}
