package render

import (
	"os/exec"
	"syscall"
)

// detach lets the kernel kill the child when the parent dies, and keeps
// signals meant for the parent's group away from it.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
