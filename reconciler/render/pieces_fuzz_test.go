package render_test

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// FuzzPieces builds a kustomization with two files beside it, and a base, in
// pieces of one object and as a whole. Both must give the same, or fail both.
func FuzzPieces(f *testing.F) {
	for _, c := range divided() {
		f.Add(c.files["o/kustomization.yaml"], c.files["base/kustomization.yaml"], c.files["o/t.yaml"]+c.files["o/h.yaml"])
	}
	base := divided()["a namespace and annotations"].files
	f.Fuzz(func(t *testing.T, k, b, x string) {
		// These builds have no process of their own: nothing may be expanded
		// without end, and nothing fetched.
		if all := k + b + x; len(all) > 4000 || strings.ContainsAny(all, "&*") || strings.Contains(all, "//") || strings.Contains(all, "git") || strings.Contains(all, "copy") {
			t.Skip("reason: not to be built without a limit")
		}
		files := map[string]string{
			"o/kustomization.yaml": k, "base/kustomization.yaml": b, "o/t.yaml": x, "o/h.yaml": x,
			"base/app.yaml": base["base/app.yaml"], "base/a.yaml": base["base/a.yaml"], "base/b.yaml": base["base/b.yaml"],
		}
		want, wantErr := render.BuildWhole(tree(files), "o")
		got, err := render.BuildFinely(tree(files), "o")
		assert.Equal(t, err == nil, wantErr == nil, "in pieces: %v; as a whole: %v", err, wantErr)
		if wantErr == nil {
			assert.Equal(t, string(got), string(want))
		}
	})
}
