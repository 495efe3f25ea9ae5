package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// pruning is one call of Delete.
type pruning struct {
	*tenant
	stamina

	mu   sync.Mutex
	gone []reconciler.Ref
	left map[reconciler.Ref]error
}

// Delete deletes the objects of the entries, in the background, and only those
// with the UID of the entry. It answers which are gone: deleted now, not there,
// there under another UID, or of a kind that the cluster no longer knows. An
// object that another Release delivers by now, or has claimed, is not deleted:
// it is handed over, and gone from this inventory.
//
// What is not gone is told by the error, one failure each: refused, or being
// deleted and held by a finalizer, which is not waited for (A14). Its reason is
// ReasonTerminating when all of them are on their way. Definitions
// of kinds are deleted after all other objects and namespaces last; neither as
// long as an object of theirs is left (A20).
func (t *tenant) Delete(ctx context.Context, entries []reconciler.Entry) ([]reconciler.Ref, error) {
	p := &pruning{tenant: t, left: map[reconciler.Ref]error{}}
	parts := [3][]reconciler.Entry{}
	for _, entry := range entries {
		at := 0
		switch (schema.GroupKind{Group: entry.Group, Kind: entry.Kind}).String() {
		case kindDefinition:
			at = 1
		case kindNamespace:
			at = 2
		}
		parts[at] = append(parts[at], entry)
	}
	for _, part := range parts {
		if err := share(ctx, t.parallel(), part, p.one); err != nil {
			return p.gone, outOfReach(ctx, err)
		}
	}
	var errs []error
	refused := false
	for _, entry := range entries {
		err := p.left[entry.Ref]
		errs = append(errs, err)
		refused = refused || err != nil && reconciler.ReasonOf(err, "") != reconciler.ReasonTerminating
	}
	if !refused && len(p.left) > 0 {
		return p.gone, reconciler.Transient(reconciler.ReasonTerminating, errors.Join(errs...))
	}
	return p.gone, together("PruneFailed", errs)
}

// one deletes one object. Its error is about the API server as a whole.
func (p *pruning) one(ctx context.Context, entry reconciler.Entry) error {
	err := p.held(entry.Ref)
	if err == nil {
		err = p.delete(ctx, entry)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if unreachable(err) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.gone = append(p.gone, entry.Ref)
		return nil
	}
	p.left[entry.Ref] = p.refOf(entry.Ref, err)
	return nil
}

// held keeps a definition or a namespace while an object below it is left.
func (p *pruning) held(ref reconciler.Ref) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := schema.GroupKind{Group: ref.Group, Kind: ref.Kind}.String()
	_, group, _ := strings.Cut(ref.Name, ".")
	for left := range p.left {
		if (kind == kindDefinition && left.Group == group) || (kind == kindNamespace && left.Namespace == ref.Name) {
			return reconciler.Transientf(reconciler.ReasonTerminating, "%s stays until %s is gone", ref, left)
		}
	}
	return nil
}

// delete answers nil when the object is gone.
func (p *pruning) delete(ctx context.Context, entry reconciler.Entry) error {
	_, id, err := p.find(entry.Ref)
	switch {
	case isNoMatch(err):
		return nil
	case err != nil:
		return err
	}
	for range maxConflicts {
		found, err := p.metadata(ctx, &p.stamina, id)
		if err != nil {
			return unlessGone(err)
		}
		if spared, err := p.spare(ctx, entry, found); spared {
			return err
		}
		// The resourceVersion makes sure that no claim came in between.
		done, err := p.remove(ctx, &p.stamina, id, found.UID, found.ResourceVersion)
		switch {
		case apierrors.IsConflict(err):
			continue
		case err != nil || done:
			return err
		}
		found, err = p.metadata(ctx, &p.stamina, id)
		if err != nil || !p.means(entry, found) {
			return unlessGone(err)
		}
		return dying(entry.Ref, found)
	}
	return reconciler.Transientf("Conflict", "%s is not deleted: somebody changes it faster than it can be", entry.Ref)
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// spare answers true for an object that is not to be deleted, or not again: it
// is another one, or another Release's, or on its way out.
func (p *pruning) spare(ctx context.Context, entry reconciler.Entry, found *metav1.PartialObjectMetadata) (bool, error) {
	switch {
	case !p.means(entry, found):
		return true, nil
	case found.Annotations[OwnerAnnotation] != p.owner():
		return true, nil // It was handed over, or somebody took our marks off.
	case found.Annotations[reconciler.PruneAnnotation] == "never":
		return true, nil
	}
	entry.UID = string(found.UID)
	switch {
	case found.DeletionTimestamp != nil:
		return true, dying(entry.Ref, found)
	case claimed(found, p.owner()) && p.cluster.delivers(ctx, found.Annotations[ClaimAnnotation]):
		return true, p.Release(ctx, entry)
	}
	return false, nil
}

// means tells whether an object is the one of an entry. An entry without a UID
// was noted before its object was made, by a daemon that did not come to write
// the UID down: then the marks tell.
func (p *pruning) means(entry reconciler.Entry, object metav1.Object) bool {
	if entry.UID == "" {
		return p.marked(object)
	}
	return string(object.GetUID()) == entry.UID
}

// claimed tells whether another Release waits for an object.
func claimed(object metav1.Object, owner string) bool {
	claimant := object.GetAnnotations()[ClaimAnnotation]
	return claimant != "" && claimant != owner
}

// dying reports an object that is being deleted and not gone.
func dying(ref reconciler.Ref, object metav1.Object) error {
	if finalizers := object.GetFinalizers(); len(finalizers) > 0 {
		return reconciler.Transientf(reconciler.ReasonTerminating, "%s is being deleted and waits for its finalizers: %s", ref, strings.Join(finalizers, ", "))
	}
	return reconciler.Transientf(reconciler.ReasonTerminating, "%s is being deleted and not gone yet", ref)
}

// remove deletes an object of this UID, and of this resourceVersion if one is
// given, in the background. It answers true when the object is gone at once.
func (t *tenant) remove(ctx context.Context, s *stamina, id identity, uid types.UID, version string) (bool, error) {
	options := metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: new(metav1.DeletePropagationBackground),
	}
	if version != "" {
		options.Preconditions.ResourceVersion = &version
	}
	body, err := json.Marshal(options)
	if err != nil {
		return false, fmt.Errorf("options of a deletion: %w", err)
	}
	var answer []byte
	err = t.try(ctx, s, id, func(ctx context.Context) (err error) {
		answer, err = raw(t.rest.Delete().AbsPath(id.segments()...).SetHeader("Content-Type", "application/json").Body(body).Do(ctx))
		return err
	})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// The API answers with a Status when the object is gone, and with the
	// object when something must be finished first.
	kind := metav1.TypeMeta{}
	if err := json.Unmarshal(answer, &kind); err != nil {
		return false, fmt.Errorf("answer to a deletion: %w", err)
	}
	return kind.Kind == "Status", nil
}
