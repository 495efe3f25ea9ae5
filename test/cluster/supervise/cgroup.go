package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const cgroupMount = "/sys/fs/cgroup"

// errNoCgroups says that nothing can limit or count what pods use.
var errNoCgroups = errors.New("no cgroups are mounted below " + cgroupMount + ": mount them, for example with the package cgroupfs-mount")

// unified tells whether the machine has cgroup v2 alone.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers"))
	return err == nil
}

// hierarchies lists the roots below which a cgroup has a folder: one in v2,
// one for each controller in v1.
func hierarchies() ([]string, error) {
	if unified() {
		return []string{cgroupMount}, nil
	}
	roots, err := filepath.Glob(filepath.Join(cgroupMount, "*", "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	for i := range roots {
		roots[i] = filepath.Dir(roots[i])
	}
	if len(roots) == 0 {
		return nil, errNoCgroups
	}
	return roots, nil
}

// makeCgroups makes the cgroup that all pods go below.
func makeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	if unified() {
		return delegate(cgroupMount, filepath.Join(cgroupMount, name))
	}
	return inheritCPUs(name)
}

// delegate hands every controller of v2 down to the children of each folder.
func delegate(folders ...string) error {
	for _, dir := range folders {
		available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		var enable []string
		for controller := range strings.FieldsSeq(string(available)) {
			enable = append(enable, "+"+controller)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(strings.Join(enable, " ")), 0o644); err != nil {
			return fmt.Errorf("cgroup: enable controllers (in a container, processes must first leave the root cgroup): %w", err)
		}
	}
	return nil
}

// inheritCPUs fills in the processors and memory nodes, which v1 leaves empty
// in a new cgroup, so that nothing can run there.
func inheritCPUs(name string) error {
	root := filepath.Join(cgroupMount, "cpuset")
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(root, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		if err := os.WriteFile(filepath.Join(root, name, file), value, 0o644); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// RemoveCgroups removes the cgroup and all below it in every hierarchy. A
// process that was killed leaves its cgroup a moment after it is gone, so a
// busy one is tried again for up to patience.
func RemoveCgroups(name string, patience time.Duration) error {
	roots, err := hierarchies()
	if errors.Is(err, errNoCgroups) {
		return nil
	}
	if err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for _, root := range roots {
		for {
			err := removeTree(filepath.Join(root, name))
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes a cgroup after those below it. Only folders can be
// removed: the files in them are the kernel's.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
