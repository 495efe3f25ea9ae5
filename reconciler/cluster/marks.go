package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Marks on each object that is applied, beside reconciler.ReleaseLabel.
const (
	// OwnerAnnotation is the Release that delivers the object, as
	// namespace/name.
	OwnerAnnotation = "lockstep.dev/owner"
	// ClaimAnnotation is the Release that waits to take the object over from
	// its owner.
	ClaimAnnotation = "lockstep.dev/claimed-by"
)

// ClaimManager is the field manager of what is written about ownership. It is
// not FieldManager, so that the fields of a commit stay apart from it.
const ClaimManager = "lockstep-claim"

// mark adds our marks to the metadata of an object that is about to be sent,
// whose maps it copies. Labels that are no map are left for the API server to
// refuse.
func (t *tenant) mark(metadata map[string]any) {
	for field, value := range map[string]map[string]any{
		"labels":      {reconciler.ReleaseLabel: t.release},
		"annotations": {OwnerAnnotation: t.owner()},
	} {
		values, ok := metadata[field].(map[string]any)
		if !ok && metadata[field] != nil {
			continue
		}
		marked := maps.Clone(values)
		if marked == nil {
			marked = map[string]any{}
		}
		delete(marked, ClaimAnnotation) // It is never of a commit.
		maps.Copy(marked, value)
		metadata[field] = marked
	}
}

func (t *tenant) owner() string { return t.namespace + "/" + t.release }

// marked tells whether an object carries our marks.
func (t *tenant) marked(object metav1.Object) bool {
	return object.GetLabels()[reconciler.ReleaseLabel] == t.release && object.GetAnnotations()[OwnerAnnotation] == t.owner()
}

// ownedBy is the other Release that delivers an object, or nothing. A Release
// that is gone delivers nothing: it may have left its objects behind.
func (t *tenant) ownedBy(ctx context.Context, object metav1.Object) string {
	if t.otherOwner(object) && t.cluster.delivers(ctx, object.GetAnnotations()[OwnerAnnotation]) {
		return object.GetAnnotations()[OwnerAnnotation]
	}
	return ""
}

// otherOwner tells whether an object is marked as another Release's, whether
// that is still there or not.
func (t *tenant) otherOwner(object metav1.Object) bool {
	owner := object.GetAnnotations()[OwnerAnnotation]
	return owner != "" && owner != t.owner()
}

// delivers tells whether there is a Release of this name. When that cannot be
// found out, there may be one.
func (c *Cluster) delivers(ctx context.Context, owner string) bool {
	namespace, name, ok := strings.Cut(owner, "/")
	if !ok || checkName(name, namespace) != nil {
		return false
	}
	_, err := c.metadata.Resource(v1alpha1.Resource()).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	return !apierrors.IsNotFound(err)
}

// notOurs refuses an object that another Release delivers (P15): the two
// would write it in turns for ever.
func notOurs(object reconciler.Object, owner string) error {
	return reconciler.Transient("ObjectOwned", withOrigin(object, fmt.Errorf(
		"%s is delivered by Release %s: it is handed over once the commit of that Release no longer holds it", describe(object), owner)))
}

// liveOf is how an object stands.
func liveOf(object *unstructured.Unstructured) (*reconciler.Live, error) {
	token, err := token(object)
	if err != nil {
		return nil, err
	}
	annotations := object.GetAnnotations()
	return &reconciler.Live{
		UID: string(object.GetUID()), Token: token, ResourceVersion: object.GetResourceVersion(),
		Owner: annotations[OwnerAnnotation], Claimant: annotations[ClaimAnnotation],
	}, nil
}

// Claim writes onto an object of another Release that ours waits for it. An
// object that is gone needs no claim.
func (t *tenant) Claim(ctx context.Context, ref reconciler.Ref) error {
	client, id, err := t.find(ref)
	if err != nil {
		return t.refOf(ref, err)
	}
	body, err := metadataPatch(map[string]any{"annotations": map[string]any{ClaimAnnotation: t.owner()}})
	if err != nil {
		return t.refOf(ref, err)
	}
	err = t.try(ctx, &stamina{}, id, func(ctx context.Context) error {
		_, err := client.Patch(ctx, id.name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: ClaimManager})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return t.refOf(ref, err)
}

// Release lets go of an object and leaves it as it is: our marks go, and with
// them the claim of whoever takes it over. The fields stay under the manager
// that all Releases share, so that the next one takes out what its commit
// does not hold. An object that is gone, or not ours any more, is none of our
// business.
func (t *tenant) Release(ctx context.Context, entry reconciler.Entry) error {
	client, id, err := t.find(entry.Ref)
	switch {
	case isNoMatch(err):
		return nil
	case err != nil:
		return t.refOf(entry.Ref, err)
	}
	s := &stamina{}
	for range maxConflicts {
		var found *metav1.PartialObjectMetadata
		found, err = t.metadata(ctx, s, id)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return t.refOf(entry.Ref, err)
		case string(found.UID) != entry.UID || found.Annotations[OwnerAnnotation] != t.owner():
			return nil
		}
		body, failed := metadataPatch(map[string]any{
			"resourceVersion": found.ResourceVersion,
			"labels":          map[string]any{reconciler.ReleaseLabel: nil},
			"annotations":     map[string]any{OwnerAnnotation: nil, ClaimAnnotation: nil},
		})
		if failed != nil {
			return t.refOf(entry.Ref, failed)
		}
		err = t.try(ctx, s, id, func(ctx context.Context) error {
			_, err := client.Patch(ctx, id.name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: ClaimManager})
			return err
		})
		if !apierrors.IsConflict(err) {
			break
		}
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return t.refOf(entry.Ref, err)
}

func metadataPatch(metadata map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{"metadata": metadata})
}

// refOf turns an error about an object of which only the name is known into
// one for a person. Its text comes without values: the API has been told none.
func (t *tenant) refOf(ref reconciler.Ref, err error) error {
	if err == nil {
		return nil
	}
	named := &unstructured.Unstructured{}
	named.SetGroupVersionKind(gvkOf(ref))
	named.SetNamespace(ref.Namespace)
	named.SetName(ref.Name)
	return classify(reconciler.Object{Unstructured: named}, t.explain(err))
}
