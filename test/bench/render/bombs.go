package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
	"github.com/lockstep-gitops/lockstep/test/bench/figure"
)

// deadline is the daemon's for one render.
const deadline = 60

// bombs are overlays made to exhaust whoever renders them.
func bombs() map[string]map[string]string {
	nested := map[string]string{"o/kustomization.yaml": "resources: [../n0]\n"}
	const levels = 1000
	for i := range levels {
		nested[fmt.Sprintf("n%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../n%d]\n", i+1)
	}
	nested[fmt.Sprintf("n%d/kustomization.yaml", levels)] = "resources: [a.yaml]\n"
	nested[fmt.Sprintf("n%d/a.yaml", levels)] = configMap("a", "b")
	return map[string]map[string]string{
		"aliases": {"o/kustomization.yaml": "resources: [bomb.yaml]\n", "o/bomb.yaml": aliases(9)},
		"cycle":   {"o/kustomization.yaml": "resources: [../p]\n", "p/kustomization.yaml": "resources: [../o]\n"},
		"nested":  nested,
		"doubling": {"o/kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |-\n" + doubling(40),
			"o/a.yaml": configMap("a", "b")},
	}
}

// aliases is a list that becomes nine times as large with each level.
func aliases(levels int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\nx0: &x0 [x, x, x, x, x, x, x, x, x]\n")
	for i := range levels {
		below := strings.Repeat(fmt.Sprintf("*x%d, ", i), 9)
		fmt.Fprintf(&b, "x%d: &x%d [%s]\n", i+1, i+1, strings.TrimSuffix(below, ", "))
	}
	return b.String()
}

// doubling is a patch that copies a mapping into itself.
func doubling(times int) string {
	var b strings.Builder
	for i := range times {
		fmt.Fprintf(&b, "    - {op: copy, from: /data, path: /data/x%d}\n", i)
	}
	return b.String()
}

// measureBombs is what hostile overlays do to the process that has them
// rendered.
func measureBombs(ctx context.Context, _ place) error {
	renderer := render.New(render.Options{Memo: -1, Limits: render.Limits{Memory: renderMemory}})
	warm := treeOf(configMaps(10, 10))
	if _, err := renderer.Render(ctx, warm, "o"); err != nil {
		return err
	}
	for _, name := range []string{"aliases", "cycle", "nested", "doubling"} {
		tree := treeOf(bombs()[name])
		began := time.Now()
		_, growth, err := peakWhile(func() error {
			_, err := renderer.Render(ctx, tree, "o")
			if harmless := name == "nested"; err == nil != harmless || err != nil && !reconciler.IsTerminal(err) {
				return fmt.Errorf("%s: unexpected verdict: %w", name, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		figure.Print("bomb_"+name+"_daemon_growth", growth, "MiB", 16)
		figure.Print("bomb_"+name+"_time", time.Since(began).Seconds(), "s", deadline)
	}
	return nil
}
