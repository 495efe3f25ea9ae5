//go:build failpoint

package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// killed is the exit code of a process that got SIGKILL. The first process of
// a container cannot send it to itself; to end at once, with no deferred call
// run, comes to the same.
const killed = 137

// boundary ends the process without warning at each point that the
// environment names, as "before:Migrate" or "after:Rollout", several
// separated by commas. Each point does so once: a file in the store, which
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
					os.Exit(killed)
				}
			}
		}
	}
}
