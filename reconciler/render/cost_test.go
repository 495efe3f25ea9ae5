package render_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

func bomb() map[string]string {
	return map[string]string{"o/kustomization.yaml": "resources: [bomb.yaml]", "o/bomb.yaml": aliases(9)}
}

// R2, R4: each limit is named when it is hit.
func TestLimitsAreNamed(t *testing.T) {
	many := configMaps(50, 1)
	cases := map[string]struct {
		limits render.Limits
		files  map[string]string
		want   string
		reason string
	}{
		"time":    {render.Limits{Timeout: 300 * time.Millisecond, Memory: 4 << 30}, bomb(), "not rendered within the limit of 300ms", render.ReasonExpensive},
		"memory":  {render.Limits{Memory: 256 << 20}, bomb(), "more memory than the limit of 268435456 bytes", render.ReasonExpensive},
		"objects": {render.Limits{Objects: 49}, many, "renders to 50 objects; the limit is 49", render.ReasonExpensive},
		"output":  {render.Limits{Output: 1000}, many, "more than the limit of 1000 bytes", render.ReasonExpensive},
		"file":    {render.Limits{File: 1000}, many, "o/f0.yaml has 3490 bytes; files of an overlay may have up to 1000", render.ReasonRefused},
		"input":   {render.Limits{Input: 1000}, many, "o/f0.yaml: the files of this overlay add up to more than the limit of 1000 bytes", render.ReasonExpensive},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := start(render.Options{Limits: c.limits}).Render(t.Context(), tree(c.files), "o")
			reason, text := failure(t, err)
			assert.Equal(t, reason, c.reason, text)
			assert.Assert(t, strings.Contains(text, c.want), text)
		})
	}
}

// A render ends with its context, and leaves no process behind.
func TestRenderEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := newRenderer().Render(ctx, tree(bomb()), "o")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Assert(t, !reconciler.IsTerminal(err))
	assert.Assert(t, time.Since(began) < 5*time.Second)
	assert.Equal(t, len(children(t)), 0)
}

// children lists the processes that this one has started.
func children(t *testing.T) []string {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip("reason: the system has no /proc")
	}
	var all []string
	for _, task := range tasks {
		list, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		all = append(all, strings.Fields(string(list))...)
	}
	return all
}

// R2, R4: what a child does with its memory is not the daemon's. All that is
// allocated here while a bomb goes off is what a start of a process takes.
func TestHostileTreeLeavesOurMemoryAlone(t *testing.T) {
	for name, files := range map[string]map[string]string{"aliases": bomb(), "nested": nested(1000)} {
		renderer, commit := newRenderer(), tree(files)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := renderer.Render(t.Context(), commit, "o")
		runtime.ReadMemStats(&after)
		assert.Equal(t, err == nil, name == "nested", "%s: %v", name, err)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d kB were allocated", name, allocated>>10)
		assert.Assert(t, allocated < 8<<20, "%s: %d bytes were allocated", name, allocated)
	}
}

// A child that cannot be started, or that breaks off, is not the fault of the commit.
func TestProcessTroubleMayPass(t *testing.T) {
	for name, command := range map[string][]string{
		"no such program":            {"/nonexistent/lockstep"},
		"a program that ends":        {"/bin/true"},
		"a program that talks":       {"/bin/echo", "hello, this is not the protocol"},
		"a program that is killed":   {"/bin/sh", "-c", "kill -9 $$"},
		"a program that never reads": {"/bin/sh", "-c", "exit 3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := start(render.Options{Command: command}).Render(t.Context(), tree(bomb()), "o")
			assert.Assert(t, err != nil)
			assert.Assert(t, !reconciler.IsTerminal(err), err.Error())
			assert.Equal(t, reconciler.ReasonOf(err, ""), "RenderProcessFailed")
		})
	}
}

// A tree that fails without saying why is the store's trouble.
func TestUnreadableTreeMayPass(t *testing.T) {
	_, err := newRenderer().Render(t.Context(), broken{tree(map[string]string{"o/kustomization.yaml": "resources: [a.yaml]"})}, "o")
	assert.Assert(t, !reconciler.IsTerminal(err))
	assert.Equal(t, reconciler.ReasonOf(err, ""), "TreeUnreadable")
	assert.Error(t, err, "read o/kustomization.yaml: disk on fire")
}

// broken is a tree whose files cannot be read.
type broken struct{ fstest.MapFS }

func (broken) ReadFile(string) ([]byte, error) { return nil, errors.New("disk on fire") }
