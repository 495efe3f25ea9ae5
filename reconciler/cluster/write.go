package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// writer is one call of Write.
type writer struct {
	*tenant
	stamina
	known      kinds
	autoscaled map[workload]bool
	changes    []reconciler.Change
	entries    []*reconciler.Entry
}

// Write makes the changes: those that create, update, replace or apply. They
// are written in the order given, kind by kind, and objects of one kind at the
// same time; after CustomResourceDefinitions it waits until their kinds are
// served. What is being deleted is awaited until it is gone, as long as ctx
// allows.
//
// It answers an entry for each object that was written, and for each that is
// unchanged, also when it returns an error: what comes after the part of an
// error is not written. Warnings of the API server about objects that could
// not be dry-run are added to the changes given.
func (t *tenant) Write(ctx context.Context, changes []reconciler.Change) ([]reconciler.Entry, error) {
	objects := make([]reconciler.Object, len(changes))
	kinds := make([]schema.GroupKind, len(changes))
	w := &writer{tenant: t, changes: changes, entries: make([]*reconciler.Entry, len(changes))}
	for i, change := range changes {
		objects[i], kinds[i] = change.Object, schema.GroupKind{Group: change.Ref.Group, Kind: change.Ref.Kind}
		if change.Object.Unstructured != nil {
			kinds[i] = change.Object.GroupVersionKind().GroupKind()
		}
	}
	w.autoscaled = autoscaled(objects, t.namespace)
	err := w.unchanged()
	for _, wave := range waves(kinds) {
		if err != nil {
			break
		}
		err = w.wave(ctx, wave)
	}
	var entries []reconciler.Entry
	for _, entry := range w.entries {
		if entry != nil {
			entries = append(entries, *entry)
		}
	}
	return entries, err
}

// unchanged makes the entries of what need not be written.
func (w *writer) unchanged() error {
	for i, change := range w.changes {
		if change.Action != reconciler.ActionUnchanged || change.Live == nil {
			continue
		}
		entry, err := entryOf(change, *change.Live)
		if err != nil {
			return err
		}
		w.entries[i] = &entry
		at, err := w.targetAmong(&w.known, change.Object)
		if err != nil {
			return classify(change.Object, err)
		}
		w.note(at.id, change.Live.ResourceVersion)
	}
	return nil
}

// entryOf is the entry of an object that stands.
func entryOf(change reconciler.Change, live reconciler.Live) (reconciler.Entry, error) {
	digest, err := change.Object.Digest()
	if err != nil {
		return reconciler.Entry{}, invalid(change.Object, err)
	}
	return reconciler.Entry{
		Ref: change.Ref, UID: live.UID, Digest: digest, Token: live.Token, ResourceVersion: live.ResourceVersion,
	}, nil
}

func writes(action reconciler.Action) bool {
	return slices.Contains([]reconciler.Action{
		reconciler.ActionCreate, reconciler.ActionUpdate, reconciler.ActionReplace, reconciler.ActionApply,
	}, action)
}

// wave writes objects that do not depend on one another. After an error no
// further one is begun; those under way are finished.
func (w *writer) wave(ctx context.Context, wave []int) error {
	var failed atomic.Bool
	errs := make([]error, len(w.changes))
	var defined []reconciler.Object
	var due []int
	for _, i := range wave {
		if !writes(w.changes[i].Action) {
			continue
		}
		due = append(due, i)
		if isDefinition(w.changes[i].Object) {
			defined = append(defined, w.changes[i].Object)
		}
	}
	// Each error stands in errs, in the order of the changes.
	_ = share(ctx, w.parallel(), due, func(_ context.Context, i int) error {
		if failed.Load() {
			return nil
		}
		if errs[i] = w.one(ctx, i); errs[i] != nil {
			failed.Store(true)
		}
		return nil
	})
	if err := together("ApplyFailed", errs); err != nil {
		return err
	}
	if ctx.Err() != nil || len(defined) == 0 {
		return ctx.Err()
	}
	if err := w.Await(ctx, defined); err != nil {
		return err
	}
	w.known.forget()
	return w.rediscover(ctx, comingWith(defined).kinds)
}

// together joins errors. One alone keeps its reason; several are final when
// each of them is.
func together(reason string, errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch {
	case len(errs) == 0:
		return nil
	case len(errs) == 1:
		return errs[0]
	case slices.ContainsFunc(errs, func(err error) bool { return !reconciler.IsTerminal(err) }):
		return reconciler.Transient(reason, errors.Join(errs...))
	}
	return reconciler.Terminal(reason, errors.Join(errs...))
}

// one writes one object.
func (w *writer) one(ctx context.Context, i int) error {
	change := &w.changes[i]
	at, err := w.targetAmong(&w.known, change.Object)
	if err != nil {
		return classify(change.Object, w.explain(err))
	}
	change.Ref = at.ref
	if change.Action == reconciler.ActionReplace {
		if err := w.makeRoom(ctx, at, change); err != nil {
			return err
		}
	}
	for {
		body, err := w.body(ctx, at, change)
		if err != nil {
			return err
		}
		answer, err := w.apply(ctx, at, body, change)
		if err != nil {
			return err
		}
		if answer.GetDeletionTimestamp() == nil {
			return w.written(i, at, answer)
		}
		// The API takes the apply of a dying object and loses it (A15).
		if err := w.gone(ctx, at); err != nil {
			return err
		}
	}
}

func (w *writer) written(i int, at target, answer *metav1.PartialObjectMetadata) error {
	token, err := token(answer)
	if err != nil {
		return err
	}
	w.note(at.id, answer.ResourceVersion)
	entry, err := entryOf(w.changes[i], reconciler.Live{UID: string(answer.UID), Token: token, ResourceVersion: answer.ResourceVersion})
	if err != nil {
		return err
	}
	w.entries[i] = &entry
	return nil
}

// note keeps the resourceVersion of what was applied for those who wait.
func (t *tenant) note(id identity, version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.applied[id] = version
}

// apply sends one object. Of the answer it takes the metadata. Warnings are kept
// with the change, and logged: those of the dry run have been told already.
func (w *writer) apply(ctx context.Context, at target, body []byte, change *reconciler.Change) (*metav1.PartialObjectMetadata, error) {
	var told []string
	var answer *metav1.PartialObjectMetadata
	what := submission{body: body, accept: asMetadata + ",application/json"}
	err := w.submit(gathering(ctx, &told), &w.stamina, at, what, func(body []byte) error {
		answer = &metav1.PartialObjectMetadata{}
		return json.Unmarshal(body, answer)
	})
	if err != nil {
		return nil, classify(at.object, w.explain(err))
	}
	for _, warning := range safeWarnings(at.object, told) {
		if !slices.Contains(change.Warnings, warning) {
			change.Warnings = append(change.Warnings, warning)
			w.warn(ctx, at.object, warning)
		}
	}
	return answer, nil
}

// body is what is sent for an object: what was dry-run, where the state of the
// object has no part in it.
func (w *writer) body(ctx context.Context, at target, change *reconciler.Change) ([]byte, error) {
	ready, ok := w.prepared.take(at.id, at.object.Unstructured)
	if ok && !ready.fresh {
		return ready.body, nil
	}
	targeted := ready.targeted || w.autoscaled[at.workload()]
	normal, err := w.normalize(at.object.Unstructured, at.id.namespace)
	if err == nil {
		err = checkSize(normal)
	}
	if err != nil {
		return nil, invalid(at.object, err)
	}
	var live *unstructured.Unstructured
	if change.Action != reconciler.ActionCreate {
		if live, err = w.standing(ctx, at); err != nil {
			return nil, err
		}
	}
	seen, err := w.look(at, live, targeted)
	if err != nil {
		return nil, err
	}
	body, err := at.compose(normal.Object, seen)
	if err != nil {
		return nil, invalid(at.object, err)
	}
	return body, nil
}

// standing reads an object that is about to be written: one that is being
// deleted is awaited, one of another Release is left alone, one of a former
// manager is taken over.
func (w *writer) standing(ctx context.Context, at target) (*unstructured.Unstructured, error) {
	live, err := w.get(ctx, &w.stamina, at)
	if err == nil && live != nil && live.GetDeletionTimestamp() != nil {
		if err := w.gone(ctx, at); err != nil {
			return nil, err
		}
		live, err = w.get(ctx, &w.stamina, at)
	}
	if err == nil && live != nil {
		if owner := w.ownedBy(ctx, live); owner != "" {
			return nil, notOurs(at.object, owner)
		}
		live, err = w.take(ctx, &w.stamina, at, live)
	}
	if err != nil {
		return nil, classify(at.object, w.explain(err))
	}
	return live, nil
}

// makeRoom deletes the object of a change that replaces it, if it is still the
// one that was compared, and waits until it is gone.
func (w *writer) makeRoom(ctx context.Context, at target, change *reconciler.Change) error {
	if change.Live == nil {
		return nil
	}
	done, err := w.remove(ctx, &w.stamina, at.id, types.UID(change.Live.UID), "")
	switch {
	case err != nil:
		return classify(at.object, w.explain(err))
	case done:
		return nil
	}
	return w.gone(ctx, at)
}

// gone waits until an object is gone, by a watch.
func (w *writer) gone(ctx context.Context, at target) error {
	absent := false
	synced := func(store cache.Store) (bool, error) {
		absent = len(store.ListKeys()) == 0
		return absent, nil
	}
	selector := fields.OneTermEqualSelector("metadata.name", at.id.name).String()
	err := w.until(ctx, at.client, selector, synced, func(event watch.Event) (bool, error) {
		return event.Type == watch.Deleted, nil
	})
	switch {
	case absent || err == nil:
		return nil
	case ctx.Err() != nil:
		return reconciler.Transient(reconciler.ReasonTerminating, withOrigin(at.object, fmt.Errorf(
			"%s is being deleted and not gone yet: look at its finalizers; it is applied when it is gone: %w", describe(at.object), ctx.Err())))
	}
	return err
}
