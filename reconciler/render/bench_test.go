package render_test

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// BenchmarkRender renders 1000 objects, child process included, and finds out
// that nothing has changed that was read. What is promised about both is
// measured by `go run ./test/bench/render`.
func BenchmarkRender(b *testing.B) {
	commit := identify(tree(configMaps(1000, 1000)))
	for name, memo := range map[string]int64{"build": -1, "skip": 0} {
		b.Run(name, func(b *testing.B) {
			renderer := start(render.Options{Memo: memo})
			_, err := renderer.Render(b.Context(), commit, "o")
			assert.NilError(b, err)
			for b.Loop() {
				_, err := renderer.Render(b.Context(), commit, "o")
				assert.NilError(b, err)
			}
		})
	}
}
