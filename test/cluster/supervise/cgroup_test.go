package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gotest.tools/v3/assert"
)

func TestCgroupsAreRemovedWithAllBelowThem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("reason: only root may make cgroups")
	}
	roots, err := hierarchies()
	if err != nil {
		t.Skipf("reason: %v", err)
	}
	name := fmt.Sprintf("/lockstep-test-%d", os.Getpid())
	assert.NilError(t, makeCgroups(name))
	t.Cleanup(func() { assert.NilError(t, RemoveCgroups(name, time.Second)) })
	for _, root := range roots {
		assert.NilError(t, os.MkdirAll(filepath.Join(root, name, "kubepods", "pod1"), 0o755))
	}
	assert.NilError(t, RemoveCgroups(name, time.Second))
	for _, root := range roots {
		_, err := os.Stat(filepath.Join(root, name))
		assert.ErrorIs(t, err, os.ErrNotExist)
	}
	assert.NilError(t, RemoveCgroups(name, time.Second), "a second time")
}
