package render_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// FuzzRender feeds a kustomization and two files beside it to a real child. A
// render may fail, but only with a verdict on the content, within its limits
// and without a request.
func FuzzRender(f *testing.F) {
	f.Add("resources: [a.yaml]\n", configMap("a"), "")
	f.Add("resources: [a.yaml, b.yaml]\nnamePrefix: x-\n", configMap("a"), configMap("b"))
	for _, c := range hostileTrees() {
		if k, ok := c.files["o/kustomization.yaml"]; ok && len(k) < 1000 {
			f.Add(k, c.files["o/a.yaml"], c.files["o/b.yaml"])
		}
	}
	f.Add("resources: [URL]\nopenapi: {path: URL}\n", "a: &a [*a]", "\x00")
	f.Add("configMapGenerator: [{name: g, files: [a.yaml], envs: [b.yaml]}]\n", "x", "a=b")
	f.Add("resources: [a.yaml]\nreplacements: [{path: b.yaml}]\nvars: [{name: A, objref: {kind: X, name: y, apiVersion: v1}}]\n", configMap("a"), "- source: {kind: ConfigMap}\n  targets: [{select: {kind: X}}]\n")
	var hits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	f.Cleanup(server.Close)
	limits := render.Limits{Timeout: 5 * time.Second, Memory: 256 << 20, Objects: 100, Output: 1 << 20}
	renderer := start(render.Options{Limits: limits, Memo: -1})
	f.Fuzz(func(t *testing.T, k, a, b string) {
		k = strings.ReplaceAll(k, "URL", server.URL)
		files := map[string]string{"o/kustomization.yaml": k, "o/a.yaml": a, "o/b.yaml": b, "base/kustomization.yaml": "resources: [c.yaml]", "base/c.yaml": configMap("c")}
		objects, err := renderer.Render(t.Context(), tree(files), "o")
		assert.Equal(t, hits.Load(), int32(0))
		if err != nil {
			assert.Assert(t, reconciler.IsTerminal(err), "not terminal: %v", err)
			assert.Assert(t, len(err.Error()) < 8<<10)
			return
		}
		assert.Assert(t, len(objects) > 0 && len(objects) <= limits.Objects)
		for _, o := range objects {
			assert.Assert(t, o.GetKind() != "")
		}
	})
}
