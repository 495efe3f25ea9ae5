package render_test

import (
	"fmt"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// TestErrorsNameFileAndNextStep holds the text of each error a person may
// meet. Rows R1, R3, R10 to R14 and R17.
func TestErrorsNameFileAndNextStep(t *testing.T) {
	deployment := func(name, rest string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\n" + rest
	}
	cases := []struct {
		row   string
		name  string
		files map[string]string
	}{
		{"R10", "the same object twice", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "o/a.yaml": deployment("app", ""), "o/b.yaml": deployment("app", "")}},
		{"R10", "the same object twice, once in a base", map[string]string{
			"o/kustomization.yaml": "resources: [../base, b.yaml]\n", "base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": deployment("app", ""), "o/b.yaml": deployment("app", "")}},
		{"R10", "two objects that a namespace makes the same", map[string]string{
			"o/kustomization.yaml": "namespace: n1\nresources: [a.yaml, b.yaml]\n",
			"o/a.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: x}\n", "o/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: y}\n"}},
		{"R11", "a key twice in a mapping", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: one\n  a: two\n"}},
		{"R12", "a namespace called n", map[string]string{
			"o/kustomization.yaml": "namespace: n\nresources: [a.yaml]\n", "o/a.yaml": configMap("c")}},
		{"R12", "a tag called y", map[string]string{
			"o/kustomization.yaml": "images: [{name: a, newTag: y}]\nresources: [a.yaml]\n", "o/a.yaml": configMap("c")}},
		{"R12", "a label that is true", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {app: true}}\n"}},
		{"R12", "an annotation of pods that is a number", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": deployment("app", "spec: {template: {metadata: {annotations: {port: 80}}}}\n")}},
		{"R13", "a list of nothing", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": "apiVersion: v1\nkind: List\nitems: [null]\n"}},
		{"R13", "an empty list of resources", map[string]string{"o/kustomization.yaml": "resources: []\n"}},
		{"R13", "everything deleted by patches", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\npatches: [{patch: \"{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, $patch: delete}\"}]\n", "o/a.yaml": configMap("c")}},
		{"R14", "no such overlay", map[string]string{"other/kustomization.yaml": "resources: [a.yaml]\n"}},
		{"R14", "an overlay that is a file", map[string]string{"o": "x"}},
		{"R14", "an overlay without kustomization", map[string]string{"o/a.yaml": configMap("c")}},
		{"R15", "one malformed file of four", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml, b.yaml, c.yaml, d.yaml]\n",
			"o/a.yaml":             configMap("a"), "o/b.yaml": configMap("b"), "o/c.yaml": "apiVersion: v1\nkind: ConfigMap\n  metadata: {name: c}\n", "o/d.yaml": configMap("d")}},
		{"R17", "an unknown field", map[string]string{"o/kustomization.yaml": "resource: [a.yaml]\n", "o/a.yaml": configMap("c")}},
		{"R17", "an unknown field in a base", map[string]string{
			"o/kustomization.yaml": "resources: [../base]\n", "base/kustomization.yaml": "foo: bar\n"}},
		{"R17", "an empty kustomization", map[string]string{"o/kustomization.yaml": ""}},
		{"R17", "two kustomization files", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/kustomization.yml": "resources: [a.yaml]\n", "o/a.yaml": configMap("c")}},
		{"R17", "a kustomization that is no YAML", map[string]string{"o/kustomization.yaml": "resources: [a.yaml\n"}},
		{"R17", "a kustomization of another kind", map[string]string{"o/kustomization.yaml": "kind: Deployment\nresources: [a.yaml]\n"}},
		{"", "a resource that is missing", map[string]string{"o/kustomization.yaml": "resources: [nowhere.yaml]\n"}},
		{"", "a patch whose target is missing", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\npatches: [{patch: \"{apiVersion: v1, kind: ConfigMap, metadata: {name: other}, data: {a: b}}\"}]\n", "o/a.yaml": configMap("c")}},
		{"", "an object without name", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": "apiVersion: v1\nkind: ConfigMap\n"}},
		{"S2", "helm charts", map[string]string{"o/kustomization.yaml": "helmCharts: [{name: x, repo: https://charts.example.com}]\n"}},
		{"S2", "the old field for helm charts", map[string]string{"o/kustomization.yaml": "helmChartInflationGenerator: [{chartName: x}]\n"}},
		{"S2", "a helm generator", map[string]string{
			"o/kustomization.yaml": "generators: [g.yaml]\n",
			"o/g.yaml":             "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\nname: x\nrepo: https://charts.example.com\n"}},
		{"S2", "an exec function", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "o/a.yaml": configMap("c"),
			"o/t.yaml": "apiVersion: example.com/v1\nkind: Tool\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: ./tool}\n"}},
		{"S2", "a container function", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\ngenerators: [t.yaml]\n", "o/a.yaml": configMap("c"),
			"o/t.yaml": "apiVersion: example.com/v1\nkind: Tool\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      container: {image: example.com/tool}\n"}},
		{"S2", "a legacy plugin", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\nvalidators: [t.yaml]\n", "o/a.yaml": configMap("c"),
			"o/t.yaml": "apiVersion: example.com/v1\nkind: Tool\nmetadata: {name: x}\n"}},
		{"G19", "a git-lfs pointer", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"}},
		{"R4", "a file that is too large", map[string]string{
			"o/kustomization.yaml": "resources: [a.yaml]\n", "o/a.yaml": strings.Repeat("#", 5<<20)}},
	}
	renderer := newRenderer()
	var out strings.Builder
	for _, c := range cases {
		_, err := renderer.Render(t.Context(), tree(c.files), "o")
		assert.Assert(t, err != nil, "%s %s: rendered", c.row, c.name)
		reason, text := failure(t, err)
		fmt.Fprintf(&out, "# %s\n%s: %s\n\n", strings.TrimSpace(c.row+" "+c.name), reason, text)
	}
	golden.Assert(t, out.String(), "errors.golden")
}

// R17: line ends of Windows and a byte order mark are fine.
func TestForeignLineEndsAreFine(t *testing.T) {
	crlf := strings.ReplaceAll(configMap("c"), "\n", "\r\n")
	for name, files := range map[string]map[string]string{
		"carriage returns": {"kustomization.yaml": "resources:\r\n- a.yaml\r\n", "a.yaml": crlf},
		"byte order marks": {"kustomization.yaml": "\ufeffresources: [a.yaml]\n", "a.yaml": "\ufeff" + configMap("c")},
	} {
		objects, err := newRenderer().Render(t.Context(), tree(files), ".")
		assert.NilError(t, err, name)
		assert.Equal(t, len(objects), 1, name)
		assert.Equal(t, objects[0].Origin, "a.yaml", name)
	}
}

// R12: what is no truth value in YAML 1.2 stays the text it was written as.
func TestLabelYIsText(t *testing.T) {
	commit := tree(map[string]string{
		"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {app: y}}\n"})
	objects, err := newRenderer().Render(t.Context(), commit, ".")
	assert.NilError(t, err)
	assert.DeepEqual(t, objects[0].GetLabels(), map[string]string{"app": "y"})
}

func TestOverlayOutsideIsRefused(t *testing.T) {
	for _, overlay := range []string{"..", "../x", "/etc", "a/../../b", "/"} {
		_, err := newRenderer().Render(t.Context(), tree(nil), overlay)
		reason, _ := failure(t, err)
		assert.Equal(t, reason, render.ReasonRefused, overlay)
	}
}
