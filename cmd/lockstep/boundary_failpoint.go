//go:build failpoint

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// boundary ends the process without warning at each point that the
// environment names, as "before:Migrate" or "after:Rollout", several
// separated by commas, and starts it anew. Each point does so once: a file in
// the store, which outlives the process, remembers it.
//
// The process is replaced in place: memory, connections and everything that
// was deferred are gone as after SIGKILL, which the first process of a
// container cannot send to itself, and no crash-loop pause of a kubelet comes
// between.
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
				restart(point, mark)
			}
		}
	}
}

func restart(point, mark string) {
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return
	}
	_, _ = fmt.Fprintln(os.Stderr, "failpoint", point)
	err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	_, _ = fmt.Fprintln(os.Stderr, "failpoint", point, "did not restart:", err)
	os.Exit(1)
}
