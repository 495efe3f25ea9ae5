package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
	"github.com/lockstep-gitops/lockstep/test/bench/figure"
)

// countedChild renders as every child does and notes its peak of resident
// memory, in MiB, in a file. Both files are opened before the child gives up
// opening any.
func countedChild(path string) int {
	note, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	status, err := os.Open("/proc/self/status")
	if err != nil {
		return 1
	}
	code := render.ChildMain(os.Stdin, os.Stdout)
	text := make([]byte, 8<<10)
	n, _ := status.ReadAt(text, 0)
	peak, err := figure.Mebibytes(text[:n], "VmHWM:")
	if err != nil {
		return 1
	}
	if _, err := fmt.Fprintln(note, peak); err != nil {
		return 1
	}
	return code
}

// counter counts the children of a renderer.
type counter struct{ path string }

func newCounter(dir string) counter { return counter{filepath.Join(dir, "children")} }

// renderer starts counted children.
func (c counter) renderer(options render.Options) (*render.Renderer, error) {
	self, err := os.Executable()
	options.Command = []string{self, countedArgument, c.path}
	return render.New(options), err
}

// peaks of the children so far.
func (c counter) peaks() ([]float64, error) {
	notes, err := os.Open(c.path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = notes.Close() }()
	var all []float64
	for {
		var peak float64
		if _, err := fmt.Fscan(notes, &peak); err != nil {
			return all, nil //nolint:nilerr // The end of the file.
		}
		all = append(all, peak)
	}
}
