package render_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// figure prints one line that anybody can grep.
func figure(name string, value float64, unit string, goal float64) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.3g %s goal %.3g %s\n", name, value, unit, goal, verdict)
}

// BenchmarkRender compares a render, child process included, with a bare
// build by kustomize's library of the same files on disk, and times the path
// on which nothing that was read has changed.
func BenchmarkRender(b *testing.B) {
	overlays := map[string]map[string]string{
		"1000-files":   configMaps(1000, false),
		"1000-in-one":  configMaps(1000, true),
		"1000-patched": patched(configMaps(1000, false)),
		"10-files":     configMaps(10, false),
	}
	for name, files := range overlays {
		b.Run(name, func(b *testing.B) { compare(b, name, files) })
	}
}

// patched adds what makes kustomize load its schema.
func patched(files map[string]string) map[string]string {
	files["o/kustomization.yaml"] += "patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: c1}, data: {x: y}}'}]\n"
	return files
}

func compare(b *testing.B, name string, files map[string]string) {
	commit := identify(tree(files))
	folder := b.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, name)
		assert.NilError(b, os.MkdirAll(filepath.Dir(path), 0o700))
		assert.NilError(b, os.WriteFile(path, []byte(content), 0o600))
	}
	cold := start(render.Options{Memo: -1})
	warm := start(render.Options{})
	_, err := warm.Render(b.Context(), commit, "o")
	assert.NilError(b, err)
	var bare, ours, skip time.Duration
	for b.Loop() {
		bare += timed(func() { bareBuild(b, filepath.Join(folder, "o")) })
		ours += timed(func() {
			_, err := cold.Render(b.Context(), commit, "o")
			assert.NilError(b, err)
		})
		skip += timed(func() {
			_, err := warm.Render(b.Context(), commit, "o")
			assert.NilError(b, err)
		})
	}
	n := float64(b.N)
	b.ReportMetric(bare.Seconds()*1000/n, "bare-ms")
	b.ReportMetric(ours.Seconds()*1000/n, "ours-ms")
	b.ReportMetric(skip.Seconds()*1000/n, "skip-ms")
	if name != "10-files" {
		figure("render_ratio_"+name, ours.Seconds()/bare.Seconds(), "ratio", 1.15)
	}
	figure("render_skip_"+name, skip.Seconds()*1000/n, "ms", 5)
}

func timed(run func()) time.Duration {
	at := time.Now()
	run()
	return time.Since(at)
}

// bareBuild is what `kustomize build` does.
func bareBuild(b *testing.B, folder string) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy
	openapi.ResetOpenAPI()
	objects, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
	assert.NilError(b, err)
	_, err = objects.AsYaml()
	assert.NilError(b, err)
}
