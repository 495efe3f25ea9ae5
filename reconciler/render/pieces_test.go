package render_test

import (
	"maps"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// R4: ten thousand objects are rendered, within the memory that the daemon
// gives a child, however they are spread over files.
func TestTenThousandObjects(t *testing.T) {
	for name, files := range map[string]int{"one file": 1, "100 files": 100, "10000 files": 10_000} {
		t.Run(name, func(t *testing.T) {
			renderer := start(render.Options{Limits: render.Limits{Memory: 512 << 20}})
			objects, err := renderer.Render(t.Context(), tree(configMaps(10_000, files)), "o")
			assert.NilError(t, err)
			assert.Equal(t, len(objects), 10_000)
			seen := map[string]bool{}
			for _, o := range objects {
				assert.Equal(t, o.GetNamespace(), "n1")
				assert.Assert(t, o.Origin != "")
				seen[o.GetName()] = true
			}
			assert.Equal(t, len(seen), 10_000)
		})
	}
}

// divided are overlays of which a part is built in pieces, or could be taken
// for it by mistake.
func divided() map[string]struct {
	files  map[string]string
	pieces bool
} {
	base := map[string]string{
		"base/kustomization.yaml": "resources: [app.yaml, a.yaml, b.yaml]\nlabels: [{pairs: {app: x}, includeSelectors: true}]\n",
		"base/app.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\n" +
			"spec: {template: {spec: {serviceAccountName: robot, containers: [{name: app, image: app, envFrom: [{configMapRef: {name: a}}, {configMapRef: {name: gen}}, {secretRef: {name: s}}]}]}}}\n",
		"base/a.yaml": configMap("a") + "---\n# A comment.\n" + configMap("b"),
		"base/b.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {kubernetes.io/service-account.name: robot}}\nstringData: {a: b}\n",
	}
	with := func(kustomization string, more ...string) map[string]string {
		files := map[string]string{"o/kustomization.yaml": kustomization}
		maps.Copy(files, base)
		for i := 0; i+1 < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	type overlay = struct {
		files  map[string]string
		pieces bool
	}
	return map[string]overlay{
		"a namespace and annotations":        {with("namespace: n1\ncommonAnnotations: {a: b}\nresources: [../base]\n"), true},
		"a generator beside":                 {with("resources: [../base]\nconfigMapGenerator: [{name: gen, literals: [a=b]}]\n"), true},
		"a generator that merges":            {with("resources: [../base]\nconfigMapGenerator: [{name: a, behavior: merge, literals: [c=d]}]\n"), true},
		"a generator that takes a name":      {with("resources: [../base]\ngeneratorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator: [{name: a, literals: [c=d]}]\n"), true},
		"a patch of one":                     {with("resources: [../base]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: y}}'}]\n"), true},
		"a patch in a file":                  {with("resources: [../base]\npatches: [{path: p.yaml}]\n", "o/p.yaml", configMap("b")+"  z: \"1\"\n"), true},
		"a patch that deletes":               {with("resources: [../base]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, $patch: delete}'}]\n"), true},
		"a patch of a kind":                  {with("resources: [../base]\npatches: [{target: {kind: Deployment}, patch: '[{op: replace, path: /metadata/name, value: new}]'}]\n"), true},
		"a patch of all":                     {with("resources: [../base]\npatches: [{target: {kind: ConfigMap}, patch: '[{op: replace, path: /metadata/name, value: new}]'}]\n"), false},
		"a patch by pattern":                 {with("resources: [../base]\npatches: [{target: {kind: 'Config.*', name: a}, patch: '[{op: replace, path: /data/a, value: new}]'}]\n"), true},
		"images and replicas":                {with("resources: [../base]\nimages: [{name: app, newTag: v2}]\nreplicas: [{name: app, count: 3}]\n"), true},
		"a prefix that references follow":    {with("namePrefix: x-\nresources: [../base]\n"), false},
		"a prefix without references":        {map[string]string{"o/kustomization.yaml": "namePrefix: x-\nresources: [a.yaml]\n", "o/a.yaml": base["base/a.yaml"]}, true},
		"a component":                        {with("resources: [../base]\ncomponents: [../c]\n", "c/kustomization.yaml", "kind: Component\nlabels: [{pairs: {c: d}}]\nresources: [x.yaml]\n", "c/x.yaml", configMap("x")), true},
		"a component that adds nothing":      {with("resources: [../base]\ncomponents: [../c]\n", "c/kustomization.yaml", "kind: Component\ncommonAnnotations: {c: d}\n"), true},
		"a base used twice":                  {with("resources: [../one, ../two]\n", "one/kustomization.yaml", "namespace: one\nresources: [../base]\n", "two/kustomization.yaml", "namespace: two\nresources: [../base]\n"), true},
		"replacements":                       {with("resources: [../base]\nreplacements: [{source: {kind: ConfigMap, name: a, fieldPath: data.a}, targets: [{select: {kind: ConfigMap, name: b}, fieldPaths: [data.a]}]}]\n"), false},
		"an order":                           {with("resources: [../base]\nsortOptions: {order: fifo}\n"), false},
		"metadata about the build":           {with("resources: [../base]\nbuildMetadata: [originAnnotations, managedByLabel, transformerAnnotations]\nnamespace: n1\n"), true},
		"an object that wants a hash":        {with("resources: [../base, h.yaml]\n", "o/h.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: h, annotations: {internal.config.kubernetes.io/needsHashSuffix: enabled}}\n"), true},
		"one that wants it in disguise":      {with("resources: [../base, h.yaml]\n", "o/h.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: h\n  annotations: {\"internal.config.kubernetes.i\\x6f/needsHashSuffix\": enabled}\n"), true},
		"an object for local use":            {with("resources: [../base, h.yaml]\n", "o/h.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: h, annotations: {config.kubernetes.io/local-config: 'true'}}\n"), true},
		"a file of JSON and a List":          {with("resources: [../base, l.yaml, j.json]\n", "o/l.yaml", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: l}}]\n", "o/j.json", `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "j"}}`), true},
		"ends that matter":                   {with("resources: [../base, e.yaml, f.yaml]\n", "o/e.yaml", "---\n"+configMap("e1")+"  x: |+\n    one\n\n\n--- # two\n"+configMap("e2")+"  x: |+\n    one\n\n---\n---\n"+configMap("e3")+"  x: |\n    one", "o/f.yaml", strings.ReplaceAll(configMap("f1")+"  x: |+\n    one\n\n---\n"+configMap("f2")+"  x: |-\n    one\n", "\n", "\r\n")), true},
		"one for local use in disguise":      {with("resources: [../base, h.yaml]\n", "o/h.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: h\n  annotations: {\"config.kubernetes.i\\x6f/local-config\": 'true'}\n"), true},
		"a file without objects":             {with("resources: [../base, e.yaml]\n", "o/e.yaml", "# Nothing.\n"), true},
		"nothing but what is built apart":    {map[string]string{"o/kustomization.yaml": "resources: [../p]\n", "p/kustomization.yaml": "resources: [a.yaml]\n", "p/a.yaml": base["base/a.yaml"]}, true},
		"an old way to list bases":           {with("bases: [../base]\n"), true},
		"an object twice":                    {with("resources: [../base, t.yaml]\n", "o/t.yaml", configMap("a")), true},
		"two that a namespace makes one":     {with("namespace: n1\nresources: [../base, t.yaml]\n", "o/t.yaml", strings.Replace(configMap("a"), "name: a", "name: a\n  namespace: m", 1)), true},
		"a file that is missing":             {with("resources: [../base, t.yaml]\n"), true},
		"a file that is malformed":           {with("resources: [../base, t.yaml]\n", "o/t.yaml", configMap("t")+" x: [\n"), true},
		"a key twice":                        {with("resources: [../base, t.yaml]\n", "o/t.yaml", configMap("t")+"  a: c\n"), true},
		"a generator without what it merges": {with("resources: [../base]\nconfigMapGenerator: [{name: q, behavior: merge, literals: [c=d]}]\n"), true},
	}
}

// What is built in pieces is, byte for byte, what kustomize makes of the
// whole, and fails where it fails.
func TestPiecesEqualTheWhole(t *testing.T) {
	for name, c := range divided() {
		t.Run(name, func(t *testing.T) {
			want, wantErr := plainBuild(c.files, "o")
			got, err := render.BuildFinely(tree(c.files), "o")
			assert.Equal(t, err == nil, wantErr == nil, "%v; kustomize: %v", err, wantErr)
			if wantErr == nil {
				assert.Equal(t, string(got), string(want))
			}
			assert.Equal(t, render.Pieces(tree(c.files), "o") > 0, c.pieces)
		})
	}
}
