package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing/fstest"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
	"github.com/lockstep-gitops/lockstep/test/bench/figure"
	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

func sizeOf(name string) (float64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return float64(info.Size()), nil
}

func treeOf(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, content := range files {
		tree[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return tree
}

// makeSkip makes a repository with one overlay of 1000 objects.
func makeSkip(h *host.Host) repository {
	var stream host.Stream
	stream.Commit()
	stream.File("README", "one")
	for name, content := range configMaps(1000, 1000) {
		stream.File(name, content)
	}
	return placed(h.Import("skip.git", &stream))
}

// measureSkip is how long it takes to find out that nothing has changed that
// a render of 1000 objects read, commit after commit.
func measureSkip(ctx context.Context, at place) error {
	s, err := newSource(at)
	if err != nil {
		return err
	}
	c := newCounter(at.dir)
	renderer, err := c.renderer(render.Options{})
	if err != nil {
		return err
	}
	var times []time.Duration
	for i := range 201 {
		if i%20 == 0 {
			if err := host.Change(ctx, at.path, "README", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		tree, err := s.poll(ctx)
		if err != nil {
			return err
		}
		if err := timed(&times, func() error { _, err := renderer.Render(ctx, tree, "o"); return err }); err != nil {
			return err
		}
	}
	if peaks, err := c.peaks(); err != nil || len(peaks) != 1 {
		return fmt.Errorf("%d renders were not skipped: %w", len(peaks), err)
	}
	figure.Print("render_skip_1000_median", figure.Milliseconds(figure.Quantile(times[1:], 0.5)), "ms", 5)
	figure.Print("render_skip_1000_p95", figure.Milliseconds(figure.Quantile(times[1:], 0.95)), "ms", 5)
	return nil
}

// overlays is how many a monorepo has.
const overlays = 100

// makeOverlays makes a monorepo of 100 overlays over one base.
func makeOverlays(h *host.Host) repository {
	var stream host.Stream
	stream.Commit()
	stream.File("README", "one")
	stream.File("base/kustomization.yaml", "resources: [a.yaml, b.yaml]\n")
	stream.File("base/a.yaml", configMap("a", "b"))
	stream.File("base/b.yaml", configMap("b", "b"))
	for i := range overlays {
		stream.File(fmt.Sprintf("overlays/%d/kustomization.yaml", i), fmt.Sprintf("namePrefix: o%d-\nresources: [../../base, own.yaml]\n", i))
		stream.File(fmt.Sprintf("overlays/%d/own.yaml", i), configMap("own", host.Noise(fmt.Sprint(i), 400)))
	}
	return placed(h.Import("overlays.git", &stream))
}

// measureReadme is a commit that no overlay of a monorepo has to do with.
func measureReadme(ctx context.Context, at place) error {
	s, err := newSource(at)
	if err != nil {
		return err
	}
	c := newCounter(at.dir)
	renderer, err := c.renderer(render.Options{})
	if err != nil {
		return err
	}
	everything := func() error {
		tree, err := s.poll(ctx)
		for i := 0; i < overlays && err == nil; i++ {
			_, err = renderer.Render(ctx, tree, fmt.Sprintf("overlays/%d", i))
		}
		return err
	}
	if err := everything(); err != nil {
		return err
	}
	first, err := c.peaks()
	if err != nil || len(first) != overlays {
		return fmt.Errorf("%d overlays were built: %w", len(first), err)
	}
	if err := host.Change(ctx, at.path, "README", "two"); err != nil {
		return err
	}
	var times []time.Duration
	if err := timed(&times, everything); err != nil {
		return err
	}
	second, err := c.peaks()
	figure.Print("render_readme_builds", float64(len(second)-len(first)), "builds", 0)
	figure.Print("render_readme_100_overlays", figure.Milliseconds(times[0]), "ms", 500)
	return err
}

// measureMany renders 10,000 objects.
func measureMany(ctx context.Context, at place) error {
	c := newCounter(at.dir)
	renderer, err := c.renderer(render.Options{Memo: -1, Limits: render.Limits{Memory: renderMemory}})
	if err != nil {
		return err
	}
	for _, files := range []int{1, 100, 10_000} {
		tree := treeOf(configMaps(10_000, files))
		var times []time.Duration
		_, growth, err := peakWhile(func() error {
			return timed(&times, func() error {
				objects, err := renderer.Render(ctx, tree, "o")
				if err == nil && len(objects) != 10_000 {
					err = fmt.Errorf("%d objects of 10,000 were rendered", len(objects))
				}
				return err
			})
		})
		if err != nil {
			return err
		}
		figure.Print(fmt.Sprintf("render_10000_in_%d_files", files), times[0].Seconds(), "s", 10)
		figure.Print(fmt.Sprintf("render_10000_in_%d_files_daemon_growth", files), growth, "MiB", 64)
	}
	peaks, err := c.peaks()
	if err != nil || len(peaks) != 3 {
		return fmt.Errorf("%d children left their peak: %w", len(peaks), err)
	}
	figure.Print("render_10000_child_peak", slices.Max(peaks), "MiB", renderMemory>>20)
	return nil
}

// measureRatio compares a render, child process included, with a bare build
// by kustomize's library of the same files on disk. The two take turns, and
// the medians are compared.
func measureRatio(ctx context.Context, at place) error {
	patched := configMaps(1000, 1000)
	// This makes kustomize load its schema.
	patched["o/kustomization.yaml"] += "patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: c1}, data: {x: y}}'}]\n"
	// Names that change keep kustomize from building in pieces.
	hashed := configMaps(1000, 1000)
	hashed["o/kustomization.yaml"] += "namePrefix: x-\nconfigMapGenerator: [{name: g, literals: [a=b]}]\n"
	for _, c := range []struct {
		name  string
		files map[string]string
	}{
		{"1000_files", configMaps(1000, 1000)}, {"1000_in_one", configMaps(1000, 1)}, {"1000_patched", patched}, {"1000_whole", hashed},
	} {
		folder := filepath.Join(at.dir, c.name)
		if err := write(folder, c.files); err != nil {
			return err
		}
		ratio, err := ratioOf(ctx, filepath.Join(folder, "o"), treeOf(c.files))
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		figure.Print("render_ratio_"+c.name, ratio, "ratio", 1.15)
	}
	return nil
}

func ratioOf(ctx context.Context, folder string, tree fstest.MapFS) (float64, error) {
	const turns = 7
	renderer := render.New(render.Options{Memo: -1})
	var bare, ours []time.Duration
	for range turns {
		err := errors.Join(
			timed(&bare, func() error { return bareBuild(folder) }),
			timed(&ours, func() error { _, err := renderer.Render(ctx, tree, "o"); return err }),
		)
		if err != nil {
			return 0, err
		}
	}
	return figure.Quantile(ours, 0.5).Seconds() / figure.Quantile(bare, 0.5).Seconds(), nil
}

func write(folder string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// bareBuild is what `kustomize build` does.
func bareBuild(folder string) error {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy
	openapi.ResetOpenAPI()
	objects, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return err
	}
	_, err = objects.AsYaml()
	return err
}
