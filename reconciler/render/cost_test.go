package render_test

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	many := configMaps(50, true)
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
		"file":    {render.Limits{File: 1000}, many, "o/all.yaml has 3490 bytes; files of an overlay may have up to 1000", render.ReasonRefused},
		"input":   {render.Limits{Input: 1000}, many, "o/all.yaml: the files of this overlay add up to more than the limit of 1000 bytes", render.ReasonExpensive},
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

// Many objects end in a result or in an error, within the deadline.
func TestTenThousandObjects(t *testing.T) {
	renderer := start(render.Options{Limits: render.Limits{Timeout: 5 * time.Second}})
	began := time.Now()
	objects, err := renderer.Render(t.Context(), tree(configMaps(10_000, true)), "o")
	assert.Assert(t, time.Since(began) < 8*time.Second)
	if err == nil {
		assert.Equal(t, len(objects), 10_000)
		return
	}
	reason, _ := failure(t, err)
	assert.Equal(t, reason, render.ReasonExpensive)
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

// What a child does with its memory is not the daemon's.
func TestHostileTreeLeavesOurMemoryAlone(t *testing.T) {
	_, err := newRenderer().Render(t.Context(), tree(bomb()), "o")
	assert.Assert(t, err != nil)
	assert.Assert(t, peak(t) < 400<<20, "peak resident memory is %d bytes", peak(t))
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

// peak is the most memory that this process ever had, in bytes.
func peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("reason: the system has no /proc")
	}
	var kib int64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, err := fmt.Sscan(rest, &kib)
			assert.NilError(t, err)
		}
	}
	assert.Assert(t, kib > 0)
	return kib << 10
}
