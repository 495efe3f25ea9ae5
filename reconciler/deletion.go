package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Finalizer keeps a Release whose deletionPolicy is delete until its objects
// are gone.
const Finalizer = "lockstep.dev/delete"

// holdForDeletion has the Release wait for us when it is deleted, if its
// objects are to go with it.
func (r *Reconciler) holdForDeletion(ctx context.Context, release *v1alpha1.Release) error {
	wanted := release.Spec.DeletionPolicy == v1alpha1.DeletionDelete
	if wanted == slices.Contains(release.Finalizers, Finalizer) {
		return nil
	}
	return r.Cluster.SetFinalizer(ctx, release, wanted)
}

// deleted ends a Release that is being deleted.
func (r *Reconciler) deleted(ctx context.Context, release *v1alpha1.Release) (Next, error) {
	retry := Next{After: release.Spec.Source.Interval.Duration, Retry: true}
	if !slices.Contains(release.Finalizers, Finalizer) {
		return Next{After: release.Spec.Source.Interval.Duration}, nil // Somebody else holds it.
	}
	if release.Spec.DeletionPolicy == v1alpha1.DeletionDelete {
		done, err := r.deleteObjects(ctx, release)
		if err != nil {
			return retry, r.save(ctx, release, func(release *v1alpha1.Release) { retryDeletion(release, err) })
		}
		if !done {
			return retry, nil
		}
	}
	return Next{After: release.Spec.Source.Interval.Duration}, r.Cluster.SetFinalizer(ctx, release, false)
}

// deleteObjects deletes what a Release has applied and tells whether all of it
// is gone. A namespace that is being deleted takes its objects along, and the
// rights to delete them with it.
func (r *Reconciler) deleteObjects(ctx context.Context, release *v1alpha1.Release) (bool, error) {
	leaving, err := r.Cluster.NamespaceLeaving(ctx, release.Namespace)
	if err != nil || leaving {
		return leaving, err
	}
	tenant, err := r.Cluster.As(release)
	if err != nil {
		return false, err
	}
	held, err := r.inventoryOf(ctx, release, tenant)
	if errors.Is(err, ErrRecordMissing) {
		r.Cluster.Event(release, true, "ObjectsLeft", "what was applied is not known any more: "+err.Error())
		return true, nil
	}
	if err != nil {
		return false, err
	}
	r.Cluster.Unwatch(keyOf(release))
	going, staying := deletions(held)
	gone, err := tenant.Delete(ctx, going)
	held.drop(gone...)
	if err != nil {
		return false, err
	}
	if len(staying) > 0 {
		r.Cluster.Event(release, false, "ObjectsLeft", "left in the cluster: "+strings.Join(staying, ", "))
	}
	return true, nil
}

// deletions sorts an inventory into what goes with its Release, in order, and
// what stays.
func deletions(held inventory) (going []Entry, staying []string) {
	for _, entry := range held.entries() {
		if entry.Kept || protected(entry.Ref) {
			staying = append(staying, entry.String())
			continue
		}
		going = append(going, entry)
	}
	slices.SortStableFunc(going, func(a, b Entry) int { return pruneRank(a.Ref) - pruneRank(b.Ref) })
	return going, staying
}

func retryDeletion(release *v1alpha1.Release, err error) {
	setCondition(release, v1alpha1.ConditionReady, "False", ReasonOf(err, "DeletionFailed"), fmt.Sprintf("deletion: %s", err))
}
