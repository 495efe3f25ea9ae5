package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Values reads the data of a ConfigMap or a Secret as text.
func (t *tenant) Values(ctx context.Context, kind, name string) (values map[string]string, found bool, err error) {
	switch kind {
	case "ConfigMap":
		values, err = t.configMap(ctx, name)
	case "Secret":
		values, err = t.secretText(ctx, name)
	default:
		return nil, false, reconciler.Terminalf("VariablesInvalid", "%s %s: variables come from a ConfigMap or a Secret", kind, name)
	}
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	return values, err == nil, err
}

func (t *tenant) configMap(ctx context.Context, name string) (map[string]string, error) {
	object, err := t.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).
		Namespace(t.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("configmap %s/%s: %w", t.namespace, name, t.explain(err))
	}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("configmap %s/%s: data is not a map of strings", t.namespace, name)
	}
	return data, nil
}

func (t *tenant) secretText(ctx context.Context, name string) (map[string]string, error) {
	secret, err := t.Secret(ctx, name)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(secret))
	for key, value := range secret {
		values[key] = string(value)
	}
	return values, nil
}
