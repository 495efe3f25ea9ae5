//go:build race

package render_test

import (
	"os"
	"os/exec"
	"path/filepath"
)

// buildChild makes a child without the race detector: with it, a start takes
// a second and kustomize ten times as long, while a child has one goroutine
// of ours. What is tested for races is the parent.
func buildChild() (command []string, remove func(), err error) {
	folder, err := os.MkdirTemp("", "render-child")
	if err != nil {
		return nil, nil, err
	}
	remove = func() { _ = os.RemoveAll(folder) }
	program := filepath.Join(folder, "child")
	build := exec.Command("go", "build", "-race=false", "-o", program, "./testdata/child")
	build.Stderr = os.Stderr
	return []string{program}, remove, build.Run()
}
