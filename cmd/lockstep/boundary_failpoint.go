//go:build failpoint

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// boundary kills the process without warning at the point that the
// environment names, as "before:Migrate" or "after:Rollout", several
// separated by commas. Each point kills once: a file in the store, which
// outlives the container, remembers it.
func boundary(store string) func(reconciler.Phase, bool) {
	points := strings.Split(os.Getenv("LOCKSTEP_FAILPOINTS"), ",")
	return func(phase reconciler.Phase, after bool) {
		point := "before:" + string(phase)
		if after {
			point = "after:" + string(phase)
		}
		for _, wanted := range points {
			mark := filepath.Join(store, "failpoint-"+strings.ReplaceAll(point, ":", "-"))
			if _, err := os.Stat(mark); wanted == point && err != nil {
				if err := os.WriteFile(mark, nil, 0o600); err == nil {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				}
			}
		}
	}
}
