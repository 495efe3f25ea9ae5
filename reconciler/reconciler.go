package reconciler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Reconciler carries Releases through their phases. Its fields are set once,
// before the first pass.
type Reconciler struct {
	Source     Source
	Renderer   Renderer
	Migrations Migrations
	Cluster    Cluster
	HTTP       HTTPClient
	Loop       Loop
	Recorder   Recorder
	Log        *slog.Logger

	// Boundary, when set, is called before and after each phase. Tests use it
	// to cut a pass off; a release build leaves it nil.
	Boundary func(phase Phase, after bool)

	credentials credentialCache
	inventories inventories
	fights      fights
}

// Next says when a Release wants to be looked at again.
type Next struct {
	// After is the time until then.
	After time.Duration
	// Retry is true when an attempt is to go on: the caller waits longer
	// after each failure in a row, but never longer than After.
	Retry bool
}

// Reconcile is one pass over a Release. Failures of the Release end in its
// status, not here: an error means that the status itself could not be
// written, or that ctx ended.
func (r *Reconciler) Reconcile(ctx context.Context, release *v1alpha1.Release) (Next, error) {
	interval := Next{After: release.Spec.Source.Interval.Duration}
	r.Recorder.Observe(release)
	if release.DeletionTimestamp != nil {
		return r.deleted(ctx, release)
	}
	if err := r.holdForDeletion(ctx, release); err != nil {
		return interval, err
	}
	if release.Spec.Suspend {
		return interval, r.save(ctx, release, suspend)
	}
	tenant, err := r.Cluster.As(release)
	if err != nil {
		return interval, r.unreachable(ctx, release, err)
	}
	if err := r.drift(ctx, release, tenant); err != nil && ctx.Err() == nil {
		interval.Retry = true
		r.Log.WarnContext(ctx, "drift not looked at", "namespace", release.Namespace, "release", release.Name, "error", err)
	}
	repo, tip, err := r.tip(ctx, release, tenant)
	if ctx.Err() != nil {
		return interval, ctx.Err()
	}
	if err != nil {
		// Who asked for a look does not want to wait for the next one.
		interval.Retry = interval.Retry || wished(release) && !IsTerminal(err)
		return interval, r.unreachable(ctx, release, err)
	}
	r.Recorder.Polled(keyOf(release), time.Now())
	a := &attempt{Reconciler: r, release: release, tenant: tenant, repo: repo, tip: tip, revision: tip.Revision()}
	switch decide(release, a.revision) {
	case actionIdle:
		return interval, r.save(ctx, release, reachable)
	case actionStart:
		err = a.start(ctx)
	case actionResume:
		a.aheadOfStatus()
		handled(release)
		a.resumed.phase, a.resumed.at = release.Status.Phase, release.Status.PhaseStartedAt
	}
	if err != nil {
		return interval, err
	}
	return a.run(ctx)
}

// tip asks where the reference leads. Credentials are read once and kept until
// the server refuses them, so that an idle Release costs the API nothing and a
// rotated password is taken up within the same poll (G15).
func (r *Reconciler) tip(ctx context.Context, release *v1alpha1.Release, tenant Tenant) (Repository, Tip, error) {
	repo := repositoryOf(release)
	if repo.MaxAge == 0 {
		r.Source.Expire(repo.URL) // An answer that is under way may be from before the wish.
	}
	fresh := false
	for {
		secret, read, err := r.credentials.get(ctx, release, tenant)
		if err != nil {
			return repo, Tip{}, err
		}
		fresh = fresh || read
		repo.Credentials = secret
		tip, err := r.Source.Resolve(ctx, repo)
		if err == nil {
			repo.MaxAge = shareAge(release)
			return repo, tip, nil
		}
		if fresh || release.Spec.Source.SecretRef == nil || ReasonOf(err, "") != ReasonAuthenticationFailed {
			return repo, Tip{}, err
		}
		r.credentials.forget(release)
	}
}

// repositoryOf is what a Release follows, still without credentials.
func repositoryOf(release *v1alpha1.Release) Repository {
	source := &release.Spec.Source
	repo := Repository{
		URL:       source.URL,
		Reference: Reference{Branch: source.FollowedBranch(), Tag: source.Tag, Semver: source.Semver},
		MaxAge:    shareAge(release),
	}
	if wished(release) {
		repo.MaxAge = 0
	}
	return repo
}

// wished tells whether somebody asked for a look that was not taken yet.
func wished(release *v1alpha1.Release) bool {
	return requestedAt(release) != release.Status.LastHandledRequestedAt
}

// handled notes that the look was taken.
func handled(release *v1alpha1.Release) {
	release.Status.LastHandledRequestedAt = requestedAt(release)
}

// shareAge is how old an answer may be that another Release of the same
// repository has asked for. It is less than the interval, so that a Release
// alone asks each time.
func shareAge(release *v1alpha1.Release) time.Duration {
	return release.Spec.Source.Interval.Duration * 9 / 10
}

// requestedAt is the last wish for a look at the source.
func requestedAt(release *v1alpha1.Release) string {
	return release.Annotations[v1alpha1.RequestedAtAnnotation]
}

// Forget drops what is kept in memory for a Release that is gone.
func (r *Reconciler) Forget(key types.NamespacedName) {
	r.credentials.forgetKey(key)
	r.inventories.forget(key)
	r.fights.forget(key)
	r.Cluster.Unwatch(key)
	r.Recorder.Forget(key)
}

// unreachable records that the branch could not be read. What is deployed
// stays deployed and stays Ready: an outage of the git server is no outage of
// the workload (G8).
func (r *Reconciler) unreachable(ctx context.Context, release *v1alpha1.Release, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return ctx.Err()
	}
	r.Log.WarnContext(ctx, "source not readable", "namespace", release.Namespace, "release", release.Name, "error", err)
	return r.save(ctx, release, func(release *v1alpha1.Release) { sourceFailed(release, err) })
}

// save changes the status and writes it when that made a difference.
func (r *Reconciler) save(ctx context.Context, release *v1alpha1.Release, change func(*v1alpha1.Release)) error {
	return r.saveSince(ctx, release, release.Status.DeepCopy(), change)
}

// saveSince writes the status when it is not as it was before any more.
func (r *Reconciler) saveSince(ctx context.Context, release *v1alpha1.Release, before *v1alpha1.ReleaseStatus, change func(*v1alpha1.Release)) error {
	change(release)
	if equalStatus(before, &release.Status) {
		return nil
	}
	if err := r.Cluster.SaveStatus(ctx, release); err != nil {
		return err
	}
	r.Recorder.Observe(release)
	return nil
}

func keyOf(release *v1alpha1.Release) types.NamespacedName {
	return types.NamespacedName{Namespace: release.Namespace, Name: release.Name}
}
