package cluster

import (
	"context"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// comparison is one call of Compare.
type comparison struct {
	*tenant
	stamina
	coming     coming
	autoscaled map[workload]bool
	// shelves are the objects of each place that is worth a list.
	shelves map[place]*shelf
	// changing are the kinds whose definition the same commit changes.
	changing map[schema.GroupKind]bool
}

// Compare asks the API server, in dry runs, what it would make of each object,
// and compares that with how it stands. The changes are in the order of the
// objects; one that is refused is a change, too. An error means that ctx ended
// or that the API server does not answer.
//
// What it costs: one dry run an object, and a list for each kind and namespace
// of which there are several, once one of them is there. Only an object that is
// there and does not carry our label takes a read of its own. A dry run more is
// taken by an object that is to be taken over from a former manager or of which
// an autoscaler in the cluster sets the replicas.
func (t *tenant) Compare(ctx context.Context, objects []reconciler.Object) ([]reconciler.Change, error) {
	c := &comparison{
		tenant: t, coming: comingWith(objects), autoscaled: autoscaled(objects, t.namespace),
		changing: map[schema.GroupKind]bool{},
	}
	changes := make([]reconciler.Change, len(objects))
	targets, known := make([]*target, len(objects)), &kinds{}
	var definitions, others []int
	for i, object := range objects {
		at, err := t.targetAmong(known, object)
		changes[i] = reconciler.Change{Object: object, Ref: at.ref, Origin: object.Origin}
		switch {
		case err != nil:
			if !c.awaited(&changes[i], err) && unreachable(err) {
				return nil, outOfReach(ctx, err)
			}
			continue
		case isDefinition(object):
			definitions = append(definitions, i)
		default:
			others = append(others, i)
		}
		targets[i] = &at
	}
	c.shelves = shelvesFor(targets)
	if err := c.each(ctx, definitions, targets, changes); err != nil {
		return nil, err
	}
	for _, i := range definitions {
		if changes[i].Action != reconciler.ActionUnchanged {
			for kind := range comingWith(objects[i : i+1]).kinds {
				c.changing[kind] = true
			}
		}
	}
	if err := c.each(ctx, others, targets, changes); err != nil {
		return nil, err
	}
	return changes, nil
}

// awaited makes the change of an object whose kind is not known. It answers
// false for one that is refused.
func (c *comparison) awaited(change *reconciler.Change, err error) bool {
	defined, comes := c.coming.kinds[change.Object.GroupVersionKind().GroupKind()]
	if !isNoMatch(err) || !comes || !slices.Contains(defined.versions, change.Ref.Version) {
		c.refuse(change, classify(change.Object, c.explain(err)))
		return false
	}
	change.Action, change.Reason = reconciler.ActionApply, "its kind comes with the same commit"
	if defined.namespaced && change.Ref.Namespace == "" {
		change.Ref.Namespace = c.namespace
	}
	return true
}

func (c *comparison) refuse(change *reconciler.Change, err error) {
	change.Action, change.Err = reconciler.ActionRefuse, err
	change.Reason = err.Error()
}

// each compares some of the objects, so many at a time.
func (c *comparison) each(ctx context.Context, part []int, targets []*target, changes []reconciler.Change) error {
	err := share(ctx, c.parallel(), part, func(ctx context.Context, i int) error {
		return c.compare(ctx, *targets[i], &changes[i])
	})
	if err != nil {
		return outOfReach(ctx, err)
	}
	return nil
}

// compare fills in the change of one object. Its error is about the API server.
func (c *comparison) compare(ctx context.Context, at target, change *reconciler.Change) error {
	q, err := c.question(at, change)
	if err != nil {
		c.refuse(change, invalid(at.object, err))
		return nil
	}
	answer, err := q.ask(ctx)
	switch {
	case unreachable(err):
		return err
	case err != nil:
		return c.refused(ctx, at, change, q.seen.live, err)
	case q.seen.live == nil:
		change.Action = reconciler.ActionCreate
		c.prepared.put(at.id, prepared{object: at.object.Unstructured, body: q.body})
		return nil
	}
	err = c.judge(ctx, at, change, q.seen, answer)
	if change.Action == reconciler.ActionUpdate {
		c.prepared.put(at.id, prepared{
			object: at.object.Unstructured, body: q.body, targeted: q.targeted,
			fresh: len(q.seen.replaced)+len(at.object.Ignore) > 0 || q.targeted || q.seen.scaling != (scaling{}),
		})
	}
	return err
}

// judge compares an object with the answer to the dry run.
func (c *comparison) judge(ctx context.Context, at target, change *reconciler.Change, seen look, answer *unstructured.Unstructured) error {
	live, err := liveOf(seen.live)
	if err != nil {
		return err
	}
	change.Live = live
	if owner := c.ownedBy(ctx, seen.live); owner != "" {
		c.refuse(change, notOurs(at.object, owner))
		return nil
	}
	if seen.live.GetDeletionTimestamp() != nil {
		change.Action, change.Reason = reconciler.ActionApply, "is being deleted"
		return nil
	}
	ours := answer.GetManagedFields()
	after := answer
	if len(seen.replaced) > 0 {
		after, err = c.afterTakeover(ctx, &c.stamina, at, seen.live, answer, seen.entries)
		switch {
		case unreachable(err):
			return err
		case err != nil:
			return c.refused(ctx, at, change, seen.live, err)
		}
	}
	change.Fields = fieldChanges(seen.live.Object, after.Object)
	change.Foreign = foreignFields(seen.entries, appliedSet(ours))
	change.Manager = takenBy(seen.entries, appliedSet(ours).Difference(appliedSet(seen.entries)))
	switch was, is := applied(seen.entries), applied(ours); {
	case len(seen.replaced) > 0:
		change.Action = reconciler.ActionUpdate
		change.Reason = "is taken over from " + strings.Join(seen.replaced, ", ")
	case len(change.Fields) > 0:
		change.Action = reconciler.ActionUpdate
	case !c.marked(seen.live):
		change.Action, change.Reason = reconciler.ActionUpdate, "becomes part of the Release as it stands"
	case is != nil && (was == nil || !was.Equal(*is)):
		change.Action, change.Reason = reconciler.ActionUpdate, "fields of the commit have their value already and become owned by it"
	default:
		change.Action = reconciler.ActionUnchanged
	}
	return nil
}

// refused decides about an object that the dry run did not take.
func (c *comparison) refused(ctx context.Context, at target, change *reconciler.Change, live *unstructured.Unstructured, err error) error {
	if live != nil {
		stands, failed := liveOf(live)
		if failed != nil {
			return failed
		}
		change.Live = stands
		if owner := c.ownedBy(ctx, live); owner != "" {
			c.refuse(change, notOurs(at.object, owner))
			return nil
		}
	}
	kind := at.object.GroupVersionKind().GroupKind()
	switch {
	case withoutDryRun(err):
		change.Action, change.Reason = reconciler.ActionApply, "could not be dry-run: "+safeText(at.object, err)
	case c.coming.excuses(at, err):
		change.Action, change.Reason = reconciler.ActionApply, "its namespace comes with the same commit"
	case c.changing[kind] && doesNotFit(err):
		change.Action, change.Reason = reconciler.ActionApply, "its kind changes with the same commit"
	case live != nil && live.GetDeletionTimestamp() != nil && doesNotFit(err):
		change.Action, change.Reason = reconciler.ActionApply, "is being deleted"
	case live != nil && immutable(err):
		c.replace(at, change, live, err)
	default:
		c.refuse(change, classify(at.object, c.explain(err)))
	}
	return nil
}

// excuses tells whether an object was refused only because its namespace comes
// with the same commit (A10), or comes again with it.
func (c coming) excuses(at target, err error) bool {
	if !c.namespaces[at.id.namespace] {
		return false
	}
	status, ok := statusOf(err)
	missing := ok && apierrors.IsNotFound(err) && status.Details != nil && status.Details.Kind == "namespaces"
	return missing || isTerminatingNamespace(err)
}

// listFrom is how many objects of one kind and namespace are worth a list.
const listFrom = 4

// pageSize bounds, in objects, what the API server answers at once.
const pageSize = 500

// shelf is a list of the objects of one place that carry our label. It is made
// when it is first asked for: nothing is there yet of what is delivered for the
// first time.
type shelf struct {
	once    sync.Once
	objects map[string]*unstructured.Unstructured
	err     error
}

func shelvesFor(targets []*target) map[place]*shelf {
	wanted := map[place]int{}
	for _, at := range targets {
		if at != nil {
			wanted[place{at.id.resource, at.id.namespace}]++
		}
	}
	shelves := map[place]*shelf{}
	for at, count := range wanted {
		if count >= listFrom {
			shelves[at] = &shelf{}
		}
	}
	return shelves
}

// onShelf answers an object as a list has brought it, nil when none has. A list
// only saves reads one by one, so what cannot be listed is left to those.
func (c *comparison) onShelf(ctx context.Context, id identity) (*unstructured.Unstructured, error) {
	at := place{id.resource, id.namespace}
	shelf, ok := c.shelves[at]
	if !ok {
		return nil, nil
	}
	shelf.once.Do(func() {
		shelf.objects = map[string]*unstructured.Unstructured{}
		shelf.err = c.pages(ctx, at, func(object *unstructured.Unstructured) { shelf.objects[object.GetName()] = object })
	})
	return shelf.objects[id.name], shelf.err
}

// pages lists one kind in one namespace. Labels of ours are also on what a
// migration needs, which is large and no part of a commit.
func (c *comparison) pages(ctx context.Context, at place, found func(*unstructured.Unstructured)) error {
	options := metav1.ListOptions{Limit: pageSize, LabelSelector: reconciler.ReleaseLabel + "=" + c.release + ",!" + reconciler.DatabaseLabel}
	client := c.client.Resource(at.resource).Namespace(at.namespace)
	for {
		var page *unstructured.UnstructuredList
		err := c.try(ctx, &c.stamina, identity{at.resource, at.namespace, ""}, func(ctx context.Context) (err error) {
			page, err = client.List(ctx, options)
			return err
		})
		switch {
		case unreachable(err):
			return err
		case err != nil:
			// Without the right to list, or with a list that expired, the
			// objects are read one by one.
			return nil //nolint:nilerr // The list only saves requests.
		}
		for i := range page.Items {
			found(&page.Items[i])
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}
