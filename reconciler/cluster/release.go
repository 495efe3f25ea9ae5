package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

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
