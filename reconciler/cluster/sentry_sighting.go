package cluster

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// post is what one watch covers: the objects of one kind in one namespace that
// carry the label of a Release, as one ServiceAccount may see them. An object
// of the whole cluster has a post to itself: whoever may deliver Namespace
// unity holds rights to that name only, and RBAC grants a watch of one name.
type post struct {
	kind      schema.GroupVersionKind
	namespace string
	// name is empty but for an object of the whole cluster.
	name    string
	account types.NamespacedName
}

func postOf(account types.NamespacedName, ref reconciler.Ref) post {
	p := post{
		kind:      schema.GroupVersionKind{Group: ref.Group, Version: ref.Version, Kind: ref.Kind},
		namespace: ref.Namespace, account: account,
	}
	if ref.Namespace == "" {
		p.name = ref.Name
	}
	return p
}

// String says what is watched, for messages.
func (p post) String() string {
	if p.namespace == "" {
		return p.kind.Kind + " " + p.name
	}
	return p.kind.Kind + " objects in namespace " + p.namespace
}

// sighting is how an object was last seen. The zero value was never seen.
type sighting struct {
	uid, token string
	// version orders the sightings of one object: that of its deletion, or of
	// the list without it, when it is gone.
	version string
	gone    bool
}

// moved tells whether an object is no longer as its entry says. A sighting
// from before the entry was written says nothing: our own write is still to
// come.
func (s sighting) moved(from claim) bool {
	switch {
	case s.version == "" || older(s.version, from.version):
		return false
	case s.gone:
		return true
	}
	return s.uid != from.uid || s.token != from.token
}

// glimpse is all that is kept of an object that came with a watch.
type glimpse struct {
	name string
	sighting
}

// GetObjectMeta implements metav1.ObjectMetaAccessor, by which the Reflector
// tells objects apart while it collects a list.
func (g *glimpse) GetObjectMeta() metav1.Object { return &metav1.ObjectMeta{Name: g.name} }

// shrink makes a glimpse of an object, so that nothing else of it stays in
// memory: no labels, no managed fields (P7).
func shrink(object any) (any, error) {
	if g, ok := object.(*glimpse); ok {
		return g, nil
	}
	seen, err := meta.Accessor(object)
	if err != nil {
		return nil, fmt.Errorf("unexpected %T from a watch: %w", object, err)
	}
	is, err := token(seen)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s/%s: %w", seen.GetNamespace(), seen.GetName(), err)
	}
	return &glimpse{
		name:     seen.GetName(),
		sighting: sighting{uid: string(seen.GetUID()), token: is, version: seen.GetResourceVersion()},
	}, nil
}

func glimpseOf(object any) (*glimpse, error) {
	small, err := shrink(object)
	if err != nil {
		return nil, err
	}
	g, ok := small.(*glimpse)
	if !ok {
		return nil, fmt.Errorf("unexpected %T from a watch", small)
	}
	return g, nil
}
