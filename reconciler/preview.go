package reconciler

import (
	"context"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Preview is what an attempt would work on, found out without writing.
type Preview struct {
	// Revision that was rendered; empty for a tree that was given.
	Revision string
	Objects  []Object
}

// Preview renders what a Release would deliver now: the tip of what it
// follows, or the given tree in place of it.
func (r *Reconciler) Preview(ctx context.Context, release *v1alpha1.Release, tree Tree) (Preview, error) {
	tenant, err := r.Cluster.As(release)
	if err != nil {
		return Preview{}, err
	}
	a := &attempt{Reconciler: r, release: release.DeepCopy(), tenant: tenant, tree: tree}
	if tree == nil {
		if a.repo, a.tip, err = r.tip(ctx, release, tenant); err != nil {
			return Preview{}, err
		}
		a.revision = a.tip.Revision()
		if err := a.fetch(ctx); err != nil {
			return Preview{}, err
		}
	}
	if err := a.render(ctx); err != nil {
		return Preview{}, err
	}
	return Preview{Revision: a.revision, Objects: a.objects}, nil
}
