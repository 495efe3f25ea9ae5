package lock_test

import (
	"context"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/cluster/lock"
)

func never(t *testing.T) func() { return func() { t.Error("waited for a lock that nobody holds") } }

func TestSecondWaitsForFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "lock")
	release, err := lock.Acquire(t.Context(), file, never(t))
	assert.NilError(t, err)
	waited := 0
	again, err := lock.Acquire(t.Context(), file, func() { waited++; release() })
	assert.NilError(t, err)
	assert.Equal(t, waited, 1)
	again()
	third, err := lock.Acquire(t.Context(), file, never(t))
	assert.NilError(t, err)
	third()
}

func TestWaitEndsWithTheContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	release, err := lock.Acquire(t.Context(), file, never(t))
	assert.NilError(t, err)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	_, err = lock.Acquire(ctx, file, cancel)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, file)
}
