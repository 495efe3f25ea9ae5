package render_test

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// FuzzSubstitute puts a value into a text. Text without an expression stays as
// it is, the given object is left alone, and no error shows the value.
func FuzzSubstitute(f *testing.F) {
	for _, text := range []string{"${A}", "x${A}y", "$${A}", "${A:=b}", "${A:-${A}}", "${", "}", "${A", "$${", "${${A}}", "${A:=}", "$", "$$$${A}", "${A:0}"} {
		f.Add(text, "A", "the value")
		f.Add(text, "B", "[1, {a: b}]")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		given := reconciler.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
			"kind": "X", "spec": map[string]any{"a": text, text: []any{text, int64(1), nil}},
		}}}
		before := given.DeepCopy()
		got, err := render.Substitute([]reconciler.Object{given}, map[string]string{name: value})
		assert.DeepEqual(t, given.Object, before.Object)
		if err != nil {
			_, message := failure(t, err)
			rest := strings.ReplaceAll(message, text, "")
			if len(value) > 8 && !strings.Contains(text, value) && !strings.Contains(value, "$") {
				assert.Assert(t, !strings.Contains(rest, value), message)
			}
			return
		}
		if !strings.Contains(text, "${") {
			assert.DeepEqual(t, got[0].Object, before.Object)
		}
	})
}
