package render

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sort"
	"strings"
)

// ProbeArgument makes the test binary run Probe in place of the tests.
const ProbeArgument = "render-probe"

// Probe confines its process as a child does and tells which doors are open.
func Probe(out io.Writer) int {
	if err := confine(0); err != nil {
		_, _ = fmt.Fprintln(out, err)
		return 1
	}
	tries := map[string]func() error{
		"open a file":   func() error { _, err := os.Open("/etc/hostname"); return err },
		"write a file":  func() error { return os.WriteFile("/tmp/lockstep-probe", nil, 0o600) },
		"list a folder": func() error { _, err := os.ReadDir("/"); return err },
		"make a folder": func() error { return os.Mkdir("/tmp/lockstep-probe", 0o700) },
		"connect":       func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err },
		"listen":        func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err },
		"run a program": func() error { return exec.Command("/bin/true").Run() },
		"kill a process": func() error {
			self, err := os.FindProcess(os.Getppid())
			if err != nil {
				return err
			}
			return self.Kill()
		},
	}
	var lines []string
	for name, try := range tries {
		verdict := "open"
		if err := try(); err != nil && strings.Contains(err.Error(), "operation not permitted") {
			verdict = "shut"
		}
		lines = append(lines, name+": "+verdict)
	}
	sort.Strings(lines)
	_, _ = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return 0
}
