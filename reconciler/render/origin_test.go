package render_test

import (
	"testing"

	"gotest.tools/v3/assert"
)

// Every object is traced to its file, whatever kustomize made of its name.
func TestOrigins(t *testing.T) {
	deployment := func(name string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: " + name + "\n"
	}
	cases := map[string]struct {
		files map[string]string
		want  []string
	}{
		"a base used twice": {map[string]string{
			"o/kustomization.yaml": "resources: [../a, ../b]\n", "a/kustomization.yaml": "namePrefix: a-\nresources: [../base]\n",
			"b/kustomization.yaml": "namePrefix: b-\nresources: [../base]\n", "base/kustomization.yaml": "resources: [app.yaml]\n", "base/app.yaml": deployment("app"),
		}, []string{"Deployment a-app base/app.yaml", "Deployment b-app base/app.yaml"}},
		"the same name in two bases": {map[string]string{
			"o/kustomization.yaml": "resources: [../b, ../a]\n", "a/kustomization.yaml": "namePrefix: a-\nresources: [app.yaml]\n", "a/app.yaml": deployment("app"),
			"b/kustomization.yaml": "namePrefix: b-\nresources: [app.yaml]\n", "b/app.yaml": deployment("app"),
		}, []string{"Deployment a-app a/app.yaml", "Deployment b-app b/app.yaml"}},
		"names that begin alike": {map[string]string{
			"o/kustomization.yaml": "namePrefix: db-\nresources: [a.yaml, b.yaml]\n", "o/a.yaml": deployment("app"), "o/b.yaml": deployment("db-app"),
		}, []string{"Deployment db-app o/a.yaml", "Deployment db-db-app o/b.yaml"}},
		"several objects in a file, in several ways": {map[string]string{
			"o/kustomization.yaml": "nameSuffix: -x\nresources: [all.yaml, list.yaml, one.json]\n",
			"o/all.yaml":           deployment("a") + "---\n{apiVersion: v1, kind: Service, metadata: {name: s}}\n",
			"o/list.yaml":          "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: l}}\n",
			"o/one.json":           `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "j"}}`,
		}, []string{"ConfigMap l-x o/list.yaml", "Secret j-x o/one.json", "Service s-x o/all.yaml", "Deployment a-x o/all.yaml"}},
		"a component": {map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\ncomponents: [../c]\n", "o/a.yaml": deployment("a"),
			"c/kustomization.yaml": "kind: Component\nnamePrefix: c-\nresources: [b.yaml]\n", "c/b.yaml": deployment("b"),
		}, []string{"Deployment c-a o/a.yaml", "Deployment c-b c/b.yaml"}},
		"generators, one of which merges": {map[string]string{
			"o/kustomization.yaml":    "resources: [../base]\nconfigMapGenerator: [{name: g, behavior: merge, literals: [c=d]}]\ngeneratorOptions: {disableNameSuffixHash: true}\nsecretGenerator: [{name: s, literals: [a=b]}]\n",
			"base/kustomization.yaml": "configMapGenerator: [{name: g, literals: [a=b]}]\n",
		}, []string{"ConfigMap g base/kustomization.yaml", "Secret s o/kustomization.yaml"}},
		"a patch that names the same object": {map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]\n", "o/a.yaml": deployment("a"), "o/p.yaml": deployment("a") + "spec: {replicas: 2}\n",
		}, []string{"Deployment a o/a.yaml"}},
		"namespaces and cluster scope": {map[string]string{
			"o/kustomization.yaml": "namespace: n1\nresources: [a.yaml, b.yaml, c.yaml]\n", "o/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  namespace: one\n",
			"o/b.yaml": "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: n1\n", "o/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\n  namespace: default\n",
		}, []string{"Namespace n1 o/b.yaml", "ConfigMap x o/a.yaml", "ConfigMap y o/c.yaml"}},
		"an object made by a transformer file": {map[string]string{
			"o/kustomization.yaml": "generators: [g.yaml]\n", "o/g.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: x}\nname: made\nliterals: [a=b]\noptions: {disableNameSuffixHash: true}\n",
		}, []string{"ConfigMap made "}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			objects, err := newRenderer().Render(t.Context(), tree(c.files), "o")
			assert.NilError(t, err)
			assert.DeepEqual(t, names(objects), c.want)
		})
	}
}
