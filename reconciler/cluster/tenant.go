package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// tenant is the cluster under the rights of one ServiceAccount.
type tenant struct {
	cluster   *Cluster
	client    dynamic.Interface
	rest      rest.Interface
	config    *rest.Config
	log       *slog.Logger
	namespace string
	account   string
	// release is the name of the Release whose objects these are.
	release string
	// replaces is true when the Release lets its objects be replaced.
	replaces bool
	// prepared are the writes that Compare has found out about.
	prepared preparations

	// mu guards applied while objects are written.
	mu sync.Mutex
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
// must know which Role to look at. A quota or a policy is no matter of rights.
func (t *tenant) explain(err error) error {
	if apierrors.IsForbidden(err) && lacksRight(err.Error()) {
		return fmt.Errorf("as ServiceAccount %s/%s: %w", t.namespace, t.account, err)
	}
	return err
}

func lacksRight(text string) bool {
	return (strings.Contains(text, "User \"") && strings.Contains(text, " cannot ")) || strings.Contains(text, "attempting to grant")
}

// patch applies one object that is no part of a commit, and so carries no
// marks.
func (t *tenant) patch(ctx context.Context, object reconciler.Object) (*unstructured.Unstructured, error) {
	at, err := t.target(object)
	if err != nil {
		return nil, classify(object, t.explain(err))
	}
	body, err := json.Marshal(object.Object)
	if err != nil {
		return nil, invalid(object, err)
	}
	live, err := t.send(ctx, &stamina{}, at, body)
	if err != nil {
		return nil, classify(object, t.explain(err))
	}
	return live, nil
}

// resource finds the collection that an object belongs to.
func (t *tenant) resource(object reconciler.Object) (dynamic.ResourceInterface, identity, error) {
	at, err := t.target(object)
	return at.client, at.id, err
}

// parallel is how many requests of one call may be under way.
func (t *tenant) parallel() int {
	if t.cluster.options.Parallel > 0 {
		return t.cluster.options.Parallel
	}
	return defaultParallel
}

// defaultParallel is where a small API server is busy.
const defaultParallel = 16

// warn logs what the API server says of an object.
func (t *tenant) warn(ctx context.Context, object reconciler.Object, warning string) {
	t.log.WarnContext(ctx, "the API server warns", "object", describe(object), "warning", warning)
}

// normalize returns the object as it is sent, with our marks. It shares with
// the given one what it does not change. The stringData of a Secret becomes
// data: under server-side apply a key taken out of stringData would stay in
// the Secret for ever (A4).
func (t *tenant) normalize(object *unstructured.Unstructured, namespace string) (*unstructured.Unstructured, error) {
	out := &unstructured.Unstructured{Object: maps.Clone(object.Object)}
	delete(out.Object, "status")
	metadata, ok := out.Object["metadata"].(map[string]any)
	if !ok || object.GetName() == "" {
		return nil, errors.New("metadata.name is missing")
	}
	if err := checkName(object.GetName(), namespace); err != nil {
		return nil, err
	}
	metadata = maps.Clone(metadata)
	for _, field := range []string{"creationTimestamp", "managedFields", "namespace", "resourceVersion", "uid", "generation"} {
		delete(metadata, field)
	}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	t.mark(metadata)
	out.Object["metadata"] = metadata
	if !isSecret(out.Object) {
		return out, nil
	}
	return out, plainData(out)
}

// checkName refuses names that would lead to another path of the API.
func checkName(name, namespace string) error {
	for field, value := range map[string]string{"name": name, "namespace": namespace} {
		if wrong := content.IsPathSegmentName(value); len(wrong) > 0 {
			return fmt.Errorf("metadata.%s %q %s", field, value, strings.Join(wrong, ", "))
		}
	}
	return nil
}

// plainData moves the stringData of a Secret to data.
func plainData(secret *unstructured.Unstructured) error {
	plain, found, err := unstructured.NestedStringMap(secret.Object, "stringData")
	if err != nil {
		return errors.New("stringData must be a map of strings: put quotes around numbers and booleans")
	}
	if !found {
		return nil
	}
	delete(secret.Object, "stringData")
	data, ok := secret.Object["data"].(map[string]any)
	if !ok && secret.Object["data"] != nil {
		return errors.New("data must be a map of base64 strings")
	}
	data = maps.Clone(data)
	if data == nil {
		data = map[string]any{}
	}
	for key, value := range plain {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	secret.Object["data"] = data
	return nil
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
