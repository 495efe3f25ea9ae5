package render_test

import (
	"fmt"
	"maps"
	"testing"

	"golang.org/x/sync/errgroup"
	"gotest.tools/v3/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

func TestRenderGivesObjectsAndTheirFiles(t *testing.T) {
	commit := tree(map[string]string{
		"base/kustomization.yaml":      "resources: [app.yaml]\nconfigMapGenerator: [{name: env, literals: [a=b]}]\n",
		"base/app.yaml":                "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\nspec: {template: {spec: {containers: [{name: app, image: app, envFrom: [{configMapRef: {name: env}}]}]}}}\n",
		"overlay/kustomization.yaml":   "namePrefix: dev-\nnamespace: dev\nresources: [../base, ns.yaml]\n",
		"overlay/ns.yaml":              "apiVersion: v1\nkind: Namespace\nmetadata: {name: dev}\n",
		"elsewhere/kustomization.yaml": "resources: [nowhere.yaml]\n",
	})
	objects, err := newRenderer().Render(t.Context(), commit, "overlay")
	assert.NilError(t, err)
	assert.DeepEqual(t, names(objects), []string{
		"Namespace dev overlay/ns.yaml",
		"ConfigMap dev-env-4h2mbtbbt6 base/kustomization.yaml",
		"Deployment dev-app base/app.yaml",
	})
}

// R8: many renders at a time, in as many children as there are slots.
func TestRendersRunSideBySide(t *testing.T) {
	renderer := start(render.Options{Parallel: 3, Memo: -1})
	var all errgroup.Group
	for i := range 8 {
		all.Go(func() error {
			for range 3 {
				name := fmt.Sprintf("c%d", i)
				objects, err := renderer.Render(t.Context(), tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap(name)}), ".")
				if err != nil {
					return err
				}
				if len(objects) != 1 || objects[0].GetName() != name {
					return fmt.Errorf("%s rendered to %v", name, names(objects))
				}
			}
			return nil
		})
	}
	assert.NilError(t, all.Wait())
}

// R9: the schema of one overlay does not change how the next is built.
func TestSchemaDoesNotLeak(t *testing.T) {
	patched := map[string]string{
		"o/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]\n",
		"o/a.yaml":             "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: {template: {list: [{name: a, value: x}]}}\n",
		"o/p.yaml":             "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: {template: {list: [{name: b, value: y}]}}\n",
	}
	with := maps.Clone(patched)
	with["o/kustomization.yaml"] += "openapi: {path: schema.json}\n"
	with["o/schema.json"] = `{"definitions": {"v1.Thing": {"properties": {"spec": {"properties": {"template": {"properties": {"list": {
		"type": "array", "items": {"type": "object"}, "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}}}}},
		"x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Thing"}]}}}`
	renderer := newRenderer()
	entries := func(files map[string]string) int {
		objects, err := renderer.Render(t.Context(), tree(files), "o")
		assert.NilError(t, err)
		list, _, err := unstructured.NestedSlice(objects[0].Object, "spec", "template", "list")
		assert.NilError(t, err)
		return len(list)
	}
	assert.Equal(t, entries(patched), 1)
	assert.Equal(t, entries(with), 2)
	assert.Equal(t, entries(patched), 1)
}

// R16: a generated object of other content is another object, that which
// mounts it follows, and the old commit gives the old name again. What pods
// of the last good revision mount is thereby never overwritten.
func TestGeneratedObjectsAreNeverOverwritten(t *testing.T) {
	renderer := start(render.Options{Memo: -1})
	made := func(literal string) (generated, mounted string) {
		objects, err := renderer.Render(t.Context(), tree(map[string]string{
			"kustomization.yaml": "resources: [app.yaml]\nconfigMapGenerator: [{name: env, literals: [a=" + literal + "]}]\n",
			"app.yaml":           "apiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec: {volumes: [{name: v, configMap: {name: env}}]}\n",
		}), ".")
		assert.NilError(t, err)
		assert.Equal(t, len(objects), 2)
		volumes, _, err := unstructured.NestedSlice(objects[1].Object, "spec", "volumes")
		assert.NilError(t, err)
		mounted, _, err = unstructured.NestedString(volumes[0].(map[string]any), "configMap", "name")
		assert.NilError(t, err)
		return objects[0].GetName(), mounted
	}
	old, oldMounted := made("one")
	changed, changedMounted := made("two")
	assert.Equal(t, oldMounted, old)
	assert.Equal(t, changedMounted, changed)
	assert.Assert(t, old != changed)
	again, _ := made("one")
	assert.Equal(t, again, old)
}
