package cluster_test

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// TestObjectThatIsTooLarge covers A24: it is refused with its size, and not
// sent at all.
func TestObjectThatIsTooLarge(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	counting, requests := w.counted(t)
	a := w.applierOf(t, counting, "web")
	large := func(size int) reconciler.Object {
		made := configMap(t, "large")
		made.Object["data"] = map[string]any{"a": strings.Repeat("x", size)}
		return made
	}
	custom := deployment(t, "large", "image:1")
	custom.SetAnnotations(map[string]string{"a": strings.Repeat("x", 3<<20)})
	secret := object(t, "s.yaml", "{apiVersion: v1, kind: Secret, metadata: {name: s}}")
	secret.Object["stringData"] = map[string]any{"a": strings.Repeat("x", 1_100_000)}
	for want, object := range map[string]reconciler.Object{
		"large.yaml: ConfigMap large: its data has 1100000 bytes and may have 1048576": large(1_100_000),
		"large.yaml: ConfigMap large: its data has 3300000 bytes and may have 1048576": large(3_300_000),
		"s.yaml: Secret s: its data has 1100000 bytes and may have 1048576":            secret,
		"large.yaml: Deployment large: it has 3146":                                    custom,
	} {
		change := compared(t, a, object)[0]
		assert.Equal(t, change.Action, reconciler.ActionRefuse)
		assert.ErrorContains(t, change.Err, want)
		assert.Equal(t, reconciler.ReasonOf(change.Err, ""), "ObjectTooLarge")
		assert.Assert(t, reconciler.IsTerminal(change.Err))
	}
	assert.Equal(t, requests.Load(), int64(0))
	assert.Equal(t, compared(t, a, large(1<<20))[0].Action, reconciler.ActionCreate, "the API takes this much")
}
