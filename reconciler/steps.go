package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// verifyPause is the time between two tries of a check.
const verifyPause = 500 * time.Millisecond

// fetch brings the commit here. Where a signature is asked for, nothing of a
// commit is looked at before it holds.
func (a *attempt) fetch(ctx context.Context) error {
	tree, err := a.Source.Fetch(ctx, a.repo, a.tip)
	if err != nil {
		return err
	}
	a.tree = tree
	asked := a.release.Spec.Source.Verify
	if asked == nil {
		a.release.Status.Signer = ""
		return nil
	}
	keys, err := a.tenant.Secret(ctx, asked.SecretRef.Name)
	if err != nil {
		return fmt.Errorf("spec.source.verify.secretRef: %w", err)
	}
	a.release.Status.Signer, err = a.Source.Verify(tree, a.repo, a.tip, keys)
	return err
}

func (a *attempt) render(ctx context.Context) error {
	tree, err := a.decrypted(ctx)
	if err != nil {
		return err
	}
	objects, err := a.Renderer.Render(ctx, tree, a.release.Spec.Source.Path)
	if err != nil {
		return err
	}
	if objects, err = a.substituted(ctx, objects); err != nil {
		return err
	}
	if len(objects) == 0 {
		return Terminalf("RenderEmpty", "%s renders to no objects at all; nothing is applied and nothing is removed", a.release.Spec.Source.Path)
	}
	a.objects = objects
	kinds := map[string]int{}
	for _, object := range objects {
		kinds[object.GetKind()]++
	}
	a.Recorder.Objects(keyOf(a.release), kinds)
	return nil
}

// decrypted is the tree as the renderer sees it. The keys are read anew for
// each attempt, so that one taken away opens nothing any more.
func (a *attempt) decrypted(ctx context.Context) (Tree, error) {
	asked := a.release.Spec.Decryption
	if asked == nil {
		return a.tree, nil
	}
	keys, err := a.tenant.Secret(ctx, asked.SecretRef.Name)
	if err != nil {
		return nil, fmt.Errorf("spec.decryption.secretRef: %w", err)
	}
	tree, err := a.Renderer.Decrypt(a.tree, keys)
	if err != nil {
		return nil, fmt.Errorf("spec.decryption.secretRef: %w", err)
	}
	return tree, nil
}

// substituted puts variables into the objects, when any are asked for.
func (a *attempt) substituted(ctx context.Context, objects []Object) ([]Object, error) {
	spec := &a.release.Spec
	if len(spec.Substitute) == 0 && len(spec.SubstituteFrom) == 0 {
		return objects, nil
	}
	variables := map[string]string{}
	for i, from := range spec.SubstituteFrom {
		values, found, err := a.tenant.Values(ctx, from.Kind, from.Name)
		if err != nil {
			return nil, fmt.Errorf("spec.substituteFrom[%d]: %w", i, err)
		}
		if !found && !from.Optional {
			return nil, Transientf("VariablesMissing", "spec.substituteFrom[%d]: there is no %s %s/%s: make it, or mark it optional", i, from.Kind, a.release.Namespace, from.Name)
		}
		maps.Copy(variables, values)
	}
	maps.Copy(variables, spec.Substitute)
	return a.Renderer.Substitute(objects, variables)
}

// makePlan finds out all that can be known before the first write: the
// stages, the migrations, what applying each object would do, and what would
// be deleted.
func (a *attempt) makePlan(ctx context.Context) error {
	stages, err := makeStages(a.objects, a.revision)
	if err != nil {
		return err
	}
	own(stages.Migrate, a.release)
	sets, err := a.readMigrations()
	if err != nil {
		return err
	}
	if a.held, err = a.inventoryOf(ctx, a.release, a.tenant); err != nil {
		return err
	}
	changes, err := a.compare(ctx, stages.Objects())
	if err != nil {
		return err
	}
	for _, change := range changes {
		for _, warning := range change.Warnings {
			a.Log.WarnContext(ctx, "the API server warns", "namespace", a.release.Namespace, "release", a.release.Name, "object", change.Ref, "warning", warning)
		}
	}
	a.plan = newPlan(stages, changes)
	a.plan.Sets = sets
	a.kept = keptRefs(changes)
	return a.planDeletions(changes)
}

// own makes Jobs that migrate part of the Release: they are no part of the
// inventory, since a Job that ran is evidence, and go when it goes.
func own(jobs []Object, release *v1alpha1.Release) {
	for _, job := range jobs {
		if namespace := job.GetNamespace(); namespace != "" && namespace != release.Namespace {
			continue // An owner is of the same namespace.
		}
		job.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersionKind().GroupVersion().String(), Kind: v1alpha1.GroupVersionKind().Kind,
			Name: release.Name, UID: release.UID,
		}})
	}
}

func (a *attempt) planDeletions(changes []Change) error {
	if prune := a.release.Spec.Prune; prune != nil && !*prune {
		return nil
	}
	allowed, err := allowedPrune(a.tree, a.release.Spec.Source.Path)
	if err != nil {
		return err
	}
	a.plan.Prune, err = planPrune(a.held, changes, allowed)
	return err
}

func (a *attempt) readMigrations() (map[string]MigrationSet, error) {
	sets := map[string]MigrationSet{}
	var errs []error
	for _, database := range a.release.Spec.Databases {
		if database.Migrations == nil {
			continue
		}
		set, err := a.Migrations.Read(a.tree, database.Migrations.Path)
		if err != nil {
			errs = append(errs, fmt.Errorf("database %s: %w", database.Name, err))
			continue
		}
		sets[database.Name] = set
	}
	return sets, errors.Join(errs...)
}

// planned is makePlan with what it leaves in the cluster: claims on what
// another Release still delivers, and the names of what is going to be made.
func (a *attempt) planned(ctx context.Context) error {
	if err := a.makePlan(ctx); err != nil {
		return err
	}
	if err := refusals(a.plan.Changes()); err != nil {
		return errors.Join(err, a.claim(ctx, a.plan.Changes()))
	}
	if a.intend(inInventory(a.plan)) {
		return a.recordInventory(ctx, 0)
	}
	return nil
}

// inInventory are the changes that the inventory keeps. Jobs that migrate are
// left out: they are the evidence of what ran, and go with the Release.
func inInventory(plan Plan) []Change {
	return slices.Concat(plan.Foundation, plan.Workload, plan.Verify)
}

func (a *attempt) foundation(ctx context.Context) error {
	return a.applyAndAwait(ctx, a.plan.Foundation)
}

func (a *attempt) rollout(ctx context.Context) error {
	return a.applyAndAwait(ctx, a.plan.Workload)
}

func (a *attempt) applyAndAwait(ctx context.Context, changes []Change) error {
	// What is being deleted is waited for before it is made anew, and a kind
	// until it is served: a write may take as long as a rollout.
	if err := a.wait(ctx, func(ctx context.Context) error { return a.write(ctx, changes) }); err != nil {
		return err
	}
	objects := make([]Object, len(changes))
	for i, change := range changes {
		objects[i] = change.Object
	}
	return a.wait(ctx, func(ctx context.Context) error { return a.tenant.Await(ctx, objects) })
}

// verify asks the workload what it was rolled out for. A check may fail at
// first, while endpoints spread; it must hold before the phase's timeout.
func (a *attempt) verify(ctx context.Context) error {
	err := a.wait(ctx, func(ctx context.Context) error {
		for _, check := range a.release.Spec.Verify.HTTP {
			if err := a.untilHolds(ctx, check); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, job := range a.plan.Verify {
		err := a.wait(ctx, func(ctx context.Context) error {
			_, err := a.runJob(ctx, job)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *attempt) untilHolds(ctx context.Context, check v1alpha1.HTTPCheck) error {
	for {
		err := a.HTTP.Check(ctx, a.release.Namespace, check)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(verifyPause):
		}
	}
}
