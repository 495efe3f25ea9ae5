package render_test

import (
	"fmt"
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

// BenchmarkChange renders 1000 objects of which one has changed, in a file of
// its own, since the render before.
func BenchmarkChange(b *testing.B) {
	files := configMaps(1000, 1000)
	renderer := newRenderer()
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		files["o/f500.yaml"] = configMap("c500") + fmt.Sprintf("  n: %q\n", fmt.Sprint(n))
		commit := identify(tree(files))
		b.StartTimer()
		_, err := renderer.Render(b.Context(), commit, "o")
		assert.NilError(b, err)
	}
}
