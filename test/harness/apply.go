package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/reconciler/verdict"
)

// Build renders a kustomization of this module, as `kubectl apply -k` does.
func (c *Cluster) Build(folder string) ([]*unstructured.Unstructured, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(c.Root, folder))
	if err != nil {
		return nil, fmt.Errorf("kustomize build %s: %w", folder, err)
	}
	text, err := built.AsYaml()
	if err != nil {
		return nil, err
	}
	return Parse(string(text))
}

// Parse reads YAML documents.
func Parse(text string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			out = append(out, object)
		}
	}
	return out, nil
}

// Apply server-side-applies objects in their order and waits for
// CustomResourceDefinitions before it goes on.
func (c *Cluster) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.Kube.Discovery()))
	for _, object := range objects {
		body, err := json.Marshal(object)
		if err != nil {
			return err
		}
		err = c.until(ctx, 20*time.Second, func() error {
			mapping, err := mapper.RESTMapping(object.GroupVersionKind().GroupKind(), object.GroupVersionKind().Version)
			if err != nil {
				mapper.Reset()
				return err
			}
			client := c.resource(mapping, object.GetNamespace())
			_, err = client(ctx, object.GetName(), body)
			return err
		})
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

type patcher func(ctx context.Context, name string, body []byte) (*unstructured.Unstructured, error)

func (c *Cluster) resource(mapping *meta.RESTMapping, namespace string) patcher {
	client := c.Dynamic.Resource(mapping.Resource)
	force := true
	options := metav1.PatchOptions{FieldManager: "harness", Force: &force}
	return func(ctx context.Context, name string, body []byte) (*unstructured.Unstructured, error) {
		if mapping.Scope.Name() == meta.RESTScopeNameRoot {
			return client.Patch(ctx, name, types.ApplyPatchType, body, options)
		}
		return client.Namespace(namespace).Patch(ctx, name, types.ApplyPatchType, body, options)
	}
}

// until tries again until something works or the time is over.
func (c *Cluster) until(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// RolledOut waits for a Deployment.
func (c *Cluster) RolledOut(ctx context.Context, namespace, name string, limit time.Duration) error {
	deployments := c.Dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(namespace)
	return c.until(ctx, limit, func() error {
		object, err := deployments.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if v := verdict.Of(object); v.State != verdict.Done {
			return fmt.Errorf("deployment %s/%s: %s", namespace, name, v.Message)
		}
		return nil
	})
}
