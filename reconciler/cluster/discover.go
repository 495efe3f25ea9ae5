package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// target is an object and where it lies in the API.
type target struct {
	object reconciler.Object
	ref    reconciler.Ref
	client dynamic.ResourceInterface
	id     identity
}

// target finds where an object lies. An object without a namespace belongs to
// that of the Release.
func (t *tenant) target(object reconciler.Object) (target, error) {
	return t.targetAmong(&kinds{}, object)
}

// targetAmong is target for one of many objects, most of them of few kinds.
func (t *tenant) targetAmong(known *kinds, object reconciler.Object) (target, error) {
	gvk := object.GroupVersionKind()
	at := target{object: object, ref: reconciler.Ref{
		Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: object.GetNamespace(), Name: object.GetName(),
	}}
	mapping, err := known.mapping(t.cluster, gvk)
	if err != nil {
		return at, err
	}
	at.client, at.id = t.place(mapping, object.GetNamespace(), object.GetName())
	at.ref.Namespace = at.id.namespace
	return at, nil
}

// kinds keeps where the kinds of the objects of one call lie in the API. What is
// not known is asked for anew.
type kinds struct {
	mu    sync.Mutex
	known map[schema.GroupVersionKind]*meta.RESTMapping
}

func (k *kinds) mapping(c *Cluster, kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	k.mu.Lock()
	mapping, ok := k.known[kind]
	k.mu.Unlock()
	if ok {
		return mapping, nil
	}
	mapping, err := c.mapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[schema.GroupVersionKind]*meta.RESTMapping{}
	}
	k.known[kind] = mapping
	return mapping, nil
}

// forget is for after the kinds of the API have changed.
func (k *kinds) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.known)
}

// find is target for an object of which only the name is known. A version that
// is no longer served is read as another one of the same kind.
func (t *tenant) find(ref reconciler.Ref) (dynamic.ResourceInterface, identity, error) {
	if err := checkName(ref.Name, ref.Namespace); err != nil {
		return nil, identity{}, reconciler.Terminalf("ObjectInvalid", "%s: %w", ref, err)
	}
	kind := schema.GroupKind{Group: ref.Group, Kind: ref.Kind}
	mapping, err := t.cluster.mapping(kind, ref.Version)
	if isNoMatch(err) {
		mapping, err = t.cluster.mapping(kind)
	}
	if err != nil {
		return nil, identity{}, err
	}
	client, id := t.place(mapping, ref.Namespace, ref.Name)
	return client, id, nil
}

func (t *tenant) place(mapping *meta.RESTMapping, namespace, name string) (dynamic.ResourceInterface, identity) {
	id := identity{resource: mapping.Resource, name: name}
	client := t.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return client, id
	}
	id.namespace = namespace
	if id.namespace == "" {
		id.namespace = t.namespace
	}
	return client.Namespace(id.namespace), id
}

// mapping finds the resource of a kind. A kind is unknown only when the API
// server, asked anew, names all kinds of its group: one whose backend does not
// answer is left out of the list without a word (A13).
func (c *Cluster) mapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := c.mapper.RESTMapping(kind, versions...)
	if !isNoMatch(err) {
		return mapping, err
	}
	if c.outdated() {
		c.mapper.Reset()
		if mapping, err = c.mapper.RESTMapping(kind, versions...); !isNoMatch(err) {
			return mapping, err
		}
	}
	_, _, partly := c.discovery.ServerGroupsAndResources()
	failed, ok := errors.AsType[*discovery.ErrGroupDiscoveryFailed](partly)
	switch {
	case partly == nil:
		return nil, err
	case !ok:
		return nil, partly
	}
	for version, cause := range failed.Groups {
		if version.Group == kind.Group {
			return nil, &incompleteError{version: version, cause: cause}
		}
	}
	return nil, err
}

// freshness is how long a list of all kinds counts as new. It spares the API
// server a list for each of many unknown kinds.
const freshness = 2 * time.Second

// outdated tells whether the list of kinds is old, and if it is, counts it as
// renewed from now on.
func (c *Cluster) outdated() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.discovered) < freshness {
		return false
	}
	c.discovered = time.Now()
	return true
}

// incompleteError is a part of the API that cannot be listed just now.
type incompleteError struct {
	version schema.GroupVersion
	cause   error
}

// Error names the part and where to look.
func (e *incompleteError) Error() string {
	return fmt.Sprintf("the API %s does not answer: look at APIService %s.%s: %v", e.version, e.version.Version, e.version.Group, e.cause)
}

// Unwrap gives the cause.
func (e *incompleteError) Unwrap() error { return e.cause }

// rediscover asks for the kinds of the API anew until those just defined are
// among them: discovery may come a moment after Established, and has no watch.
func (t *tenant) rediscover(ctx context.Context, kinds map[schema.GroupKind]definition) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		t.cluster.mapper.Reset()
		for kind, defined := range kinds {
			for _, version := range defined.versions {
				if _, err := t.cluster.mapper.RESTMapping(kind, version); isNoMatch(err) {
					return false, nil
				} else if err != nil {
					return false, err
				}
			}
		}
		return true, nil
	})
	if err != nil {
		return reconciler.Transientf("KindNotServed", "the kinds just defined are not served yet: %w", err)
	}
	return nil
}

// coming is what the same commit brings and a dry run cannot see yet.
type coming struct {
	namespaces map[string]bool
	kinds      map[schema.GroupKind]definition
}

// definition is what a CustomResourceDefinition says of its kind.
type definition struct {
	versions   []string
	namespaced bool
}

func comingWith(objects []reconciler.Object) coming {
	out := coming{namespaces: map[string]bool{}, kinds: map[schema.GroupKind]definition{}}
	for _, object := range objects {
		if object.GroupVersionKind().GroupKind().String() == kindNamespace {
			out.namespaces[object.GetName()] = true
		}
		if isDefinition(object) {
			group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
			scope, _, _ := unstructured.NestedString(object.Object, "spec", "scope")
			out.kinds[schema.GroupKind{Group: group, Kind: kind}] = definition{servedVersions(object), scope == "Namespaced"}
		}
	}
	return out
}

func servedVersions(object reconciler.Object) []string {
	var out []string
	versions, _, _ := unstructured.NestedSlice(object.Object, "spec", "versions")
	for _, version := range versions {
		if fields, ok := version.(map[string]any); ok && fields["served"] == true {
			if name, ok := fields["name"].(string); ok {
				out = append(out, name)
			}
		}
	}
	return out
}

func isDefinition(object reconciler.Object) bool {
	return object.GroupVersionKind().GroupKind().String() == kindDefinition
}

func isNoMatch(err error) bool {
	_, kind := errors.AsType[*meta.NoKindMatchError](err)
	_, resource := errors.AsType[*meta.NoResourceMatchError](err)
	return kind || resource
}

func gvkOf(ref reconciler.Ref) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: ref.Group, Version: ref.Version, Kind: ref.Kind}
}

// Ref names an object as the cluster will have it. It takes no request once
// the kind is known.
func (t *tenant) Ref(object reconciler.Object) (reconciler.Ref, error) {
	at, err := t.target(object)
	if err != nil {
		return at.ref, classify(object, t.explain(err))
	}
	return at.ref, nil
}
