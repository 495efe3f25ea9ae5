package render_test

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

func parse(t testing.TB, text string) reconciler.Object {
	t.Helper()
	u := &unstructured.Unstructured{}
	encoded, err := yaml.YAMLToJSON([]byte(text))
	assert.NilError(t, err)
	assert.NilError(t, u.UnmarshalJSON(encoded))
	return reconciler.Object{Unstructured: u, Origin: "o/a.yaml"}
}

func TestSubstitute(t *testing.T) {
	vars := map[string]string{
		"NAME": "web", "N": "3", "EMPTY": "", "YES": "true", "QUOTED": `"8080"`, "LIST": "[a, b]",
		"LINES": "one\ntwo: {", "DOLLAR": "${N}", "COLON": "a: b",
	}
	cases := map[string]struct{ spec, want string }{
		"a variable":                          {"a: ${NAME}", "a: web"},
		"within text":                         {"a: x-${NAME}-${N}", "a: x-web-3"},
		"a number":                            {"a: ${N}", "a: 3"},
		"a number within text":                {"a: ${N}${N}", "a: '33'"},
		"a truth value":                       {"a: ${YES}", "a: true"},
		"a quoted number":                     {"a: ${QUOTED}", "a: '8080'"},
		"a list":                              {"a: ${LIST}", "a: [a, b]"},
		"several lines stay text":             {"a: ${LINES}", `a: "one\ntwo: {"`},
		"a default":                           {"a: ${NONE:=fallback}", "a: fallback"},
		"the other way to write one":          {"a: ${NONE:-fallback}", "a: fallback"},
		"an empty default":                    {"a: x${NONE:=}", "a: x"},
		"a default for an empty value":        {"a: ${EMPTY:=fallback}", "a: fallback"},
		"a default that is not needed":        {"a: ${NAME:=fallback}", "a: web"},
		"a default with odd characters":       {"a: 'x${NONE:=a:b/c?d=e-f}'", "a: xa:b/c?d=e-f"},
		"a default with a variable":           {"a: ${NONE:=${NAME}-${N}}", "a: web-3"},
		"a default that is a number":          {"a: ${NONE:=5}", "a: 5"},
		"an empty value":                      {"a: x${EMPTY}", "a: x"},
		"an escape":                           {"a: $${NAME}", "a: ${NAME}"},
		"an escape beside a variable":         {"a: $${NAME}/${NAME}", "a: ${NAME}/web"},
		"an escape of what is not understood": {"a: '$${NAME:0:3} $${{x}}'", "a: '${NAME:0:3} ${{x}}'"},
		"a dollar without braces":             {"a: $NAME $(NAME)", "a: $NAME $(NAME)"},
		"a value is not searched again":       {"a: x${DOLLAR}", "a: x${N}"},
		"a key":                               {"'${NAME}-key': x", "web-key: x"},
		"in a list":                           {"a: [x, '${NAME}', {b: '${N}'}]", "a: [x, web, {b: 3}]"},
		"environment variables are text":      {"env: [{name: A, value: '${N}'}]", "env: [{name: A, value: '3'}]"},
		"arguments are text":                  {"args: ['${N}', '${YES}']", "args: ['3', 'true']"},
		"labels are text":                     {"labels: {a: '${N}'}", "labels: {a: '3'}"},
		"a quoted number in an environment":   {"env: [{name: A, value: '${QUOTED}'}]", "env: [{name: A, value: '8080'}]"},
		"text that would be a mapping":        {"env: [{name: A, value: '${COLON}'}]", "env: [{name: A, value: 'a: b'}]"},
		"nothing to do":                       {"a: [1, true, null, x]", "a: [1, true, null, x]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			head := "apiVersion: v1\nkind: X\nmetadata: {name: x}\nspec:\n  "
			given := parse(t, head+c.spec)
			before := given.DeepCopy()
			got, err := render.Substitute([]reconciler.Object{given}, vars)
			assert.NilError(t, err)
			assert.DeepEqual(t, got[0].Object, parse(t, head+c.want).Object)
			assert.Equal(t, got[0].Origin, "o/a.yaml")
			assert.DeepEqual(t, given.Object, before.Object)
		})
	}
}

func TestSubstituteInConfigMapsStaysText(t *testing.T) {
	got, err := render.Substitute([]reconciler.Object{parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '${NAME}'}\ndata: {a: '${N}', b: 'x ${N}'}")},
		map[string]string{"N": "3", "NAME": "web"})
	assert.NilError(t, err)
	assert.DeepEqual(t, got[0].Object, parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: '3', b: 'x 3'}").Object)
}

func TestSubstituteCanBeDisabled(t *testing.T) {
	for _, metadata := range []string{
		"annotations: {lockstep.dev/substitute: disabled}",
		"annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}",
		"labels: {kustomize.toolkit.fluxcd.io/substitute: disabled}",
	} {
		given := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, "+metadata+"}\ndata: {a: '${NONE}'}")
		got, err := render.Substitute([]reconciler.Object{given}, nil)
		assert.NilError(t, err)
		assert.DeepEqual(t, got[0].Object, given.Object)
	}
}

func TestSubstituteErrors(t *testing.T) {
	vars := map[string]string{"SECRET": "hunter2", "K": "a"}
	cases := map[string]struct{ data, want string }{
		"a missing variable":        {"{a: '${NONE}'}", "o/a.yaml: ConfigMap ns/x: data.a: variable NONE is not set: set it, give a default as in ${NONE:=value}, or write $${...}"},
		"a missing one in a key":    {"{'${NONE}': b}", "data.${NONE}: variable NONE is not set"},
		"an expression of bash":     {"{a: '${SECRET:0:3}'}", "data.a: ${SECRET:0:3} is not understood"},
		"a default without a colon": {"{a: '${SECRET-x}'}", "${SECRET-x} is not understood"},
		"a template":                {"{a: '${{ x }}'}", "is not understood"},
		"nothing":                   {"{a: '${}'}", "${} is not understood"},
		"no end":                    {"{a: 'x ${SECRET'}", "a ${ is never closed"},
		"a key that stands twice":   {"{'${K}': x, a: y}", `key "a" stands twice`},
		"defaults without end":      {"{a: '" + strings.Repeat("${N:=", 20) + strings.Repeat("}", 20) + "'}", "nested too deep"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := render.Substitute([]reconciler.Object{parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: ns}\ndata: "+c.data)}, vars)
			reason, text := failure(t, err)
			assert.Equal(t, reason, render.ReasonSubstitution)
			assert.Assert(t, strings.Contains(text, c.want), text)
			assert.Assert(t, !strings.Contains(text, "hunter2"), text)
		})
	}
}
