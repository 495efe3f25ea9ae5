package render_test

import (
	"runtime"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// R4: what objects take once they are decoded is not thought to be less than
// it is, whatever they are made of, nor several times as much.
func TestFootprintOfObjects(t *testing.T) {
	const count = 50_000
	for name, item := range map[string]string{
		"mappings of one":   `{"a": "b"}`,
		"empty mappings":    `{}`,
		"lists of nothing":  `[]`,
		"lists of one":      `["a"]`,
		"numbers":           `123456789`,
		"fractions":         `1.5`,
		"words":             `"word"`,
		"long texts":        `"` + strings.Repeat("{,[ \\\" ", 100) + `"`,
		"mappings of three": `{"name": "n", "value": "v", "other": {"a": 1}}`,
		"mappings of nine":  `{"a": 1000, "b": 1000, "c": 1000, "d": 1000, "e": 1000, "f": 1000, "g": 1000, "h": 1000, "i": 1000}`,
	} {
		text := []byte(`{"apiVersion": "v1", "kind": "X", "x": [` + strings.Repeat(item+",", count) + `null]}`)
		u := &unstructured.Unstructured{}
		before := heap()
		assert.NilError(t, u.UnmarshalJSON(text))
		took := heap() - before
		runtime.KeepAlive(u)
		thought := render.Footprint(text)
		t.Logf("%s: %d bytes of JSON took %d, thought %d", name, len(text), took, thought)
		assert.Assert(t, float64(took) < 1.2*float64(thought), "%s took %d bytes, thought %d", name, took, thought)
		assert.Assert(t, thought < 8*took, "%s took %d bytes, thought %d", name, took, thought)
	}
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// R4: many small values are refused before they fill our memory.
func TestManySmallValuesAreRefused(t *testing.T) {
	commit := tree(map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\n",
		"o/a.yaml": configMap("a") + "x: [" + strings.Repeat("{},", 100_000) + "{}]\n"})
	_, err := start(render.Options{Limits: render.Limits{Decoded: 30 << 20}}).Render(t.Context(), commit, "o")
	reason, text := failure(t, err)
	assert.Equal(t, reason, render.ReasonExpensive)
	assert.Equal(t, text, "the objects take more memory than the limit of 31457280 bytes; o/a.yaml: an object had the last of them")
	objects, err := newRenderer().Render(t.Context(), commit, "o")
	assert.NilError(t, err)
	assert.Equal(t, len(objects), 1)
}
