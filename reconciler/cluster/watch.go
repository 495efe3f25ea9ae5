package cluster

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Run keeps the watches over managed objects until the context ends.
func (c *Cluster) Run(ctx context.Context) error { return c.sentry.Run(ctx) }

// Watch keeps an eye on the entries of a Release, under the rights of its
// ServiceAccount.
func (c *Cluster) Watch(release *v1alpha1.Release, entries []reconciler.Entry) {
	c.sentry.Watch(types.NamespacedName{Namespace: release.Namespace, Name: release.Name}, release.Spec.ServiceAccountName, entries)
}

// Moved lists the entries that are not as they were applied.
func (c *Cluster) Moved(release types.NamespacedName) (moved []reconciler.Ref, synced bool) {
	return c.sentry.Moved(release)
}

// Trouble says why objects of a Release cannot be watched, nil when they are.
func (c *Cluster) Trouble(release types.NamespacedName) error { return c.sentry.Trouble(release) }

// Unwatch ends Watch.
func (c *Cluster) Unwatch(release types.NamespacedName) { c.sentry.Forget(release) }
