package reconciler

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Preview is what an attempt would work on and what it would do, found out
// without writing.
type Preview struct {
	// Revision that was rendered; empty for a tree that was given.
	Revision string   `json:"revision,omitempty"`
	Objects  []Object `json:"-"`
	// Changes to the objects, in the order in which they would be made.
	Changes []Change `json:"changes"`
	// Databases and what would run on them.
	Databases []DatabasePreview `json:"databases,omitempty"`
	// Refused is why the attempt would stop before it writes anything.
	Refused string `json:"refused,omitempty"`
}

// DatabasePreview is what would run on one database.
type DatabasePreview struct {
	Name string `json:"name"`
	// Version of the database now; empty when it has none.
	Version string `json:"version,omitempty"`
	// Pending are the versions of the files that would run.
	Pending []uint64 `json:"pending,omitempty"`
	// Unknown is why the database could not be asked.
	Unknown string `json:"unknown,omitempty"`
}

// Preview renders what a Release would deliver now: the tip of what it
// follows, or the given tree in place of it.
func (r *Reconciler) Preview(ctx context.Context, release *v1alpha1.Release, tree Tree) (Preview, error) {
	a, err := r.preview(ctx, release, tree)
	if err != nil {
		return Preview{}, err
	}
	return Preview{Revision: a.revision, Objects: a.objects}, nil
}

// PreviewPlan is Preview with what would be done.
func (r *Reconciler) PreviewPlan(ctx context.Context, release *v1alpha1.Release, tree Tree) (Preview, error) {
	a, err := r.preview(ctx, release, tree)
	if err != nil {
		return Preview{}, err
	}
	out := Preview{Revision: a.revision, Objects: a.objects}
	refused := a.makePlan(ctx)
	if refused != nil && !IsTerminal(refused) && len(a.plan.Changes()) == 0 {
		return Preview{}, refused
	}
	if refused == nil {
		refused = refusals(a.plan.Changes())
	}
	if refused != nil {
		out.Refused = refused.Error()
	}
	out.Changes = a.plan.Changes()
	for _, database := range release.Spec.Databases {
		if set, ok := a.plan.Sets[database.Name]; ok {
			out.Databases = append(out.Databases, a.previewDatabase(ctx, database, set))
		}
	}
	return out, nil
}

// PreviewDrift compares the last good revision with the cluster: all that it
// holds, whether somebody was seen to change it or not.
func (r *Reconciler) PreviewDrift(ctx context.Context, release *v1alpha1.Release) (Preview, error) {
	if release.Status.LastGoodRevision == "" {
		return Preview{}, fmt.Errorf("release %s/%s has no good revision yet to compare with", release.Namespace, release.Name)
	}
	tenant, err := r.Cluster.As(release)
	if err != nil {
		return Preview{}, err
	}
	a := &attempt{Reconciler: r, release: release.DeepCopy(), tenant: tenant, revision: release.Status.LastGoodRevision}
	if err := a.rebuild(ctx); err != nil {
		return Preview{}, fmt.Errorf("last good revision %s: %w", a.revision, err)
	}
	objects := make([]Object, len(a.objects))
	for i, object := range a.objects {
		objects[i] = withIgnored(a.release, object)
	}
	changes, err := tenant.Compare(ctx, objects)
	return Preview{Revision: a.revision, Objects: a.objects, Changes: changes}, err
}

func (r *Reconciler) preview(ctx context.Context, release *v1alpha1.Release, tree Tree) (*attempt, error) {
	tenant, err := r.Cluster.As(release)
	if err != nil {
		return nil, err
	}
	a := &attempt{Reconciler: r, release: release.DeepCopy(), tenant: tenant, tree: tree}
	if tree == nil {
		if a.repo, a.tip, err = r.tip(ctx, release, tenant); err != nil {
			return nil, err
		}
		a.revision = a.tip.Revision()
		if err := a.fetch(ctx); err != nil {
			return nil, err
		}
	}
	return a, a.render(ctx)
}

func (a *attempt) previewDatabase(ctx context.Context, database v1alpha1.Database, set MigrationSet) DatabasePreview {
	out := DatabasePreview{Name: database.Name}
	secret, err := a.tenant.Secret(ctx, database.SecretRef.Name)
	var state SchemaState
	if err == nil {
		state, err = a.Migrations.State(ctx, secret, a.release.Namespace)
	}
	if err != nil {
		out.Unknown = err.Error()
		return out
	}
	if state.Versioned {
		out.Version = fmt.Sprint(state.Version)
	}
	out.Pending = slices.DeleteFunc(slices.Clone(set.Versions), func(version uint64) bool { return state.Versioned && version <= state.Version })
	return out
}

// Quiet tells whether nothing would be done.
func (p Preview) Quiet() bool {
	for _, change := range p.Changes {
		if change.Action != ActionUnchanged && change.Action != ActionKeep {
			return false
		}
	}
	for _, database := range p.Databases {
		if len(database.Pending) > 0 || database.Unknown != "" {
			return false
		}
	}
	return p.Refused == ""
}
