//go:build !linux

package render

import (
	"os/exec"
	"runtime/debug"
)

// confine sets the soft limit alone: the daemon runs on Linux, other systems
// only use `lockstep render`.
func confine(memory int64) error {
	debug.SetMemoryLimit(memory)
	return nil
}

func detach(*exec.Cmd) {}
