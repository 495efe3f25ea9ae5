package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// tenant is the cluster under the rights of one ServiceAccount.
type tenant struct {
	cluster   *Cluster
	client    dynamic.Interface
	config    *rest.Config
	namespace string
	account   string
	// applied keeps the resourceVersion of each object as it was applied, so
	// that a watch cache that lags behind is not taken for the new state.
	applied map[identity]string
}

// identity names an object to the API.
type identity struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

// Secret reads a Secret of the namespace of the Release.
func (t *tenant) Secret(ctx context.Context, name string) (reconciler.Secret, error) {
	object, err := t.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).
		Namespace(t.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", t.namespace, name, t.explain(err))
	}
	encoded, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: data is not a map of strings", t.namespace, name)
	}
	secret := reconciler.Secret{}
	for key, value := range encoded {
		if secret[key], err = base64.StdEncoding.DecodeString(value); err != nil {
			return nil, fmt.Errorf("secret %s/%s: data.%s is not base64", t.namespace, name, key)
		}
	}
	return secret, nil
}

// explain names the account when it lacks a right: whoever reads the message
// must know which Role to look at.
func (t *tenant) explain(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("as ServiceAccount %s/%s: %w", t.namespace, t.account, err)
	}
	return err
}

// DryRun asks the API server whether it would take each object. All are
// tried, so that one commit can repair all that is wrong.
func (t *tenant) DryRun(ctx context.Context, objects []reconciler.Object) error {
	coming := comingWith(objects)
	var errs []error
	terminal := true
	for _, object := range objects {
		_, err := t.patch(ctx, object, metav1.DryRunAll)
		switch {
		case err == nil || coming.explains(object, err):
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		}
		terminal = terminal && reconciler.IsTerminal(err)
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil
	}
	if !terminal {
		return reconciler.Transient("DryRunFailed", errors.Join(errs...))
	}
	return reconciler.Terminal("DryRunFailed", errors.Join(errs...))
}

// Apply server-side-applies the objects in order. After a
// CustomResourceDefinition the API is discovered anew when a kind is missing.
func (t *tenant) Apply(ctx context.Context, objects []reconciler.Object) error {
	for i, object := range objects {
		live, err := t.patch(ctx, object)
		if err != nil {
			return err
		}
		if live.GetDeletionTimestamp() != nil {
			// The API takes a patch of a dying object and loses it (A15).
			return reconciler.Transientf("ObjectTerminating", "%s is being deleted; it is applied again when it is gone", describe(object))
		}
		if lastDefinition(objects, i) {
			if err := t.Await(ctx, objects[:i+1]); err != nil {
				return err
			}
			if err := t.rediscover(ctx, comingWith(objects[:i+1]).kinds); err != nil {
				return err
			}
		}
	}
	return nil
}

// rediscover asks for the kinds of the API anew until those just defined are
// among them: discovery may come a moment after Established, and has no watch.
func (t *tenant) rediscover(ctx context.Context, kinds map[schema.GroupKind]bool) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		t.cluster.mapper.Reset()
		for kind := range kinds {
			if _, err := t.cluster.mapper.RESTMapping(kind); isNoMatch(err) {
				return false, nil
			} else if err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return reconciler.Transientf("KindNotServed", "the kinds just defined are not served yet: %w", err)
	}
	return nil
}

// lastDefinition tells whether the object at i is a CustomResourceDefinition
// and the next is none: what follows may be of the kinds just defined (A9).
func lastDefinition(objects []reconciler.Object, i int) bool {
	return isDefinition(objects[i]) && (i+1 == len(objects) || !isDefinition(objects[i+1]))
}

func isDefinition(object reconciler.Object) bool {
	return object.GroupVersionKind().GroupKind().String() == "CustomResourceDefinition.apiextensions.k8s.io"
}

// patch applies one object, for real or dry.
func (t *tenant) patch(ctx context.Context, object reconciler.Object, dry ...string) (*unstructured.Unstructured, error) {
	client, id, err := t.resource(object)
	if err != nil {
		return nil, classify(object, t.explain(err))
	}
	normal, err := normalize(object.Unstructured, id.namespace)
	if err != nil {
		return nil, reconciler.Terminal("ObjectInvalid", withOrigin(object, fmt.Errorf("%s: %w", describe(object), err)))
	}
	body, err := json.Marshal(normal)
	if err != nil {
		return nil, reconciler.Terminal("ObjectInvalid", withOrigin(object, fmt.Errorf("%s: %w", describe(object), err)))
	}
	force := true
	live, err := client.Patch(ctx, id.name, types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: FieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict, DryRun: dry,
	})
	if err != nil {
		return nil, classify(object, t.explain(err))
	}
	if len(dry) == 0 {
		t.applied[id] = live.GetResourceVersion()
	}
	return live, nil
}

// resource finds the collection that an object belongs to. An object without
// a namespace belongs to that of the Release.
func (t *tenant) resource(object reconciler.Object) (dynamic.ResourceInterface, identity, error) {
	gvk := object.GroupVersionKind()
	mapping, err := t.cluster.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, identity{}, err
	}
	id := identity{resource: mapping.Resource, name: object.GetName()}
	client := t.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return client, id, nil
	}
	id.namespace = object.GetNamespace()
	if id.namespace == "" {
		id.namespace = t.namespace
	}
	return client.Namespace(id.namespace), id, nil
}

// normalize returns the object as it is sent. The stringData of a Secret
// becomes data: under server-side apply a key taken out of stringData would
// stay in the Secret for ever (A4).
func normalize(object *unstructured.Unstructured, namespace string) (*unstructured.Unstructured, error) {
	out := object.DeepCopy()
	out.SetNamespace(namespace)
	unstructured.RemoveNestedField(out.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(out.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(out.Object, "status")
	if out.GroupVersionKind().GroupKind().String() != "Secret" {
		return out, nil
	}
	plain, found, err := unstructured.NestedStringMap(out.Object, "stringData")
	if err != nil {
		return nil, errors.New("stringData must be a map of strings: put quotes around numbers and booleans")
	}
	if !found {
		return out, nil
	}
	for key, value := range plain {
		if err := unstructured.SetNestedField(out.Object, base64.StdEncoding.EncodeToString([]byte(value)), "data", key); err != nil {
			return nil, errors.New("data must be a map of base64 strings")
		}
	}
	unstructured.RemoveNestedField(out.Object, "stringData")
	return out, nil
}

// coming is what the same commit brings and a dry run cannot see yet.
type coming struct {
	namespaces map[string]bool
	kinds      map[schema.GroupKind]bool
}

func comingWith(objects []reconciler.Object) coming {
	out := coming{namespaces: map[string]bool{}, kinds: map[schema.GroupKind]bool{}}
	for _, object := range objects {
		if object.GroupVersionKind().GroupKind().String() == "Namespace" {
			out.namespaces[object.GetName()] = true
		}
		if isDefinition(object) {
			group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
			out.kinds[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	return out
}

// explains tells whether an object was refused only because its kind or its
// namespace comes with the same commit (A9, A10).
func (c coming) explains(object reconciler.Object, err error) bool {
	if isNoMatch(err) {
		return c.kinds[object.GroupVersionKind().GroupKind()]
	}
	return apierrors.IsNotFound(err) && c.namespaces[object.GetNamespace()]
}

func isNoMatch(err error) bool {
	_, kind := errors.AsType[*meta.NoKindMatchError](err)
	_, resource := errors.AsType[*meta.NoResourceMatchError](err)
	return kind || resource
}

func describe(object reconciler.Object) string {
	name := object.GetName()
	if namespace := object.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	return object.GetKind() + " " + name
}

// withOrigin adds the file in the commit to an error.
func withOrigin(object reconciler.Object, err error) error {
	if object.Origin == "" {
		return err
	}
	return fmt.Errorf("%s: %w", object.Origin, err)
}
