package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// AllowPruneAnnotation in the metadata of a kustomization names objects, as
// Kind/name, that may be deleted although they hold data; * allows that more
// than half of all objects go.
const AllowPruneAnnotation = "lockstep.dev/allow-prune"

// protected kinds hold data, or the data of others: they are never deleted
// because they left a commit, unless the commit says so (A18).
func protected(ref Ref) bool {
	return slices.Contains([]string{
		"PersistentVolumeClaim", "PersistentVolume", "Namespace",
		"CustomResourceDefinition.apiextensions.k8s.io", "StatefulSet.apps",
	}, groupKind(ref))
}

func groupKind(ref Ref) string {
	if ref.Group == "" {
		return ref.Kind
	}
	return ref.Kind + "." + ref.Group
}

// planPrune decides about what left the commit. It refuses the commit, before
// anything is written, when more would go than a person is likely to mean.
func planPrune(held inventory, changes []Change, allowed []string) ([]Change, error) {
	var out []Change
	var guarded []string
	for _, entry := range held.outside(changes) {
		change := Change{Ref: entry.Ref, Action: ActionDelete}
		switch {
		case entry.Kept:
			change.Action, change.Reason = ActionKeep, PruneAnnotation+" is never"
		case protected(entry.Ref) && !entry.Leaving && !slices.Contains(allowed, entry.Kind+"/"+entry.Name):
			guarded = append(guarded, entry.Kind+"/"+entry.Name)
		}
		out = append(out, change)
	}
	if len(guarded) > 0 {
		return nil, Terminalf("PruneRefused", "%s left the commit and may hold data: to have it deleted, put the annotation %s: %q into the metadata of the kustomization; to keep it, bring it back with the annotation %s: never, and take it out again",
			strings.Join(guarded, " "), AllowPruneAnnotation, strings.Join(guarded, " "), PruneAnnotation)
	}
	if lost, all := losses(held, changes); lost > 1 && lost*2 > all && !slices.Contains(allowed, "*") {
		return nil, Terminalf("PruneRefused", "the commit is without %d of the %d objects that were applied, more than half: if that is meant, put the annotation %s: \"*\" into the metadata of the kustomization", lost, all, AllowPruneAnnotation)
	}
	slices.SortStableFunc(out, func(a, b Change) int { return pruneRank(a.Ref) - pruneRank(b.Ref) })
	return out, nil
}

// losses counts the objects that a commit takes away, and all that it could
// take away. Of each kind and namespace, as many as are new do not count: names
// with a hash change with their content. Jobs do so by design, and what is kept
// or on its way out cannot be lost.
func losses(held inventory, changes []Change) (lost, all int) {
	type place struct{ kind, namespace string }
	balance := map[place]int{}
	for _, entry := range held {
		if at := (place{groupKind(entry.Ref), entry.Namespace}); at.kind != "Job.batch" && !entry.Kept && !entry.Leaving {
			balance[at]++
			all++
		}
	}
	for _, change := range changes {
		balance[place{groupKind(change.Ref), change.Ref.Namespace}]--
	}
	for _, entries := range balance {
		lost += max(entries, 0)
	}
	return lost, all
}

// pruneRank orders deletions: first what uses, then what is used, definitions
// and namespaces last (A20).
func pruneRank(ref Ref) int {
	order := foundationOrder()
	if i := slices.Index(order, groupKind(ref)); i >= 0 {
		return len(order) - i
	}
	return 0
}

// allowedPrune reads what the kustomization of the commit allows.
func allowedPrune(tree Tree, folder string) ([]string, error) {
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		content, err := tree.ReadFile(path.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var file struct {
			Metadata struct {
				Annotations map[string]string `json:"annotations"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal(content, &file); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(folder, name), err)
		}
		return strings.FieldsFunc(file.Metadata.Annotations[AllowPruneAnnotation], func(r rune) bool { return r == ' ' || r == ',' || r == '\n' }), nil
	}
	return nil, nil
}

// leave marks what was asked to go and is still there: to find it again is no
// new loss.
func (a *attempt) leave(going []Entry) {
	for _, entry := range going {
		if left, ok := a.held[key(entry.Ref)]; ok {
			left.Leaving = true
			a.held.put(left)
		}
	}
}

// prune deletes what left the commit, now that what replaces it is verified.
// What cannot be deleted yet stays in the inventory and is tried again.
func (a *attempt) prune(ctx context.Context) error {
	var going []Entry
	for _, change := range a.plan.Prune {
		if change.Action == ActionDelete {
			going = append(going, a.held[key(change.Ref)])
		}
	}
	leaving := 0
	var failed error
	if len(going) > 0 {
		gone, err := a.tenant.Delete(ctx, going)
		a.held.drop(gone...)
		leaving, failed = len(going)-len(gone), err
		a.leave(going)
	}
	if ReasonOf(failed, "") == ReasonTerminating {
		a.Cluster.Event(a.release, true, ReasonTerminating, failed.Error())
		failed = nil
	}
	if err := a.recordInventory(ctx, leaving); err != nil {
		return err
	}
	current := map[Ref]bool{}
	for _, change := range inInventory(a.plan) {
		current[key(change.Ref)] = true
	}
	a.watch(current)
	return failed
}
