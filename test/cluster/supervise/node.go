package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Node describes what a node needs around its processes.
type Node struct {
	Address string `json:"address"` // of the node on its bridge, with prefix length
	Cgroup  string `json:"cgroup"`  // absolute, in each hierarchy
}

// Cloneflags are the namespaces that a node's supervisor is started in.
const Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC

// private lists the folders whose paths are fixed in the components. The
// node sees its own there, and the machine's stay as they are.
func private(state string) map[string]string {
	return map[string]string{
		"/run":             "", // empty: a file system in memory
		"/var/log":         "",
		"/var/lib/kubelet": filepath.Join(state, "kubelet"),
	}
}

// Hidden returns the folder that a node's processes see something else in, if
// the path lies in one.
func Hidden(path string) (string, bool) {
	for dir := range private("") {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return dir, true
		}
	}
	return "", false
}

func (n *Node) prepare(ctx context.Context, state string) error {
	steps := []func() error{
		detach,
		func() error { return cover(state) },
		func() error { return pinSysctls(state) },
		func() error { return n.network(ctx) },
		func() error { return makeCgroups(n.Cgroup) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// detach cuts the mount namespace off the machine's, then makes it shared
// within: volumes with mount propagation need that.
func detach() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

func cover(state string) error {
	for target, source := range private(state) {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("folder for mount: %w", err)
		}
		var err error
		if source == "" {
			err = syscall.Mount("tmpfs", target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755")
		} else {
			err = bind(source, target)
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
		if err := syscall.Mount("", target, "", syscall.MS_SHARED, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	return os.MkdirAll("/run/lock", 0o755) // iptables keeps its lock file in /run.
}

// pinSysctls covers the kernel settings that the kubelet would change with
// files that hold what it wants: they are the whole machine's, and no business
// of a test cluster.
func pinSysctls(state string) error {
	for name, value := range map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	} {
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
			continue // This kernel has no such setting; the kubelet says so.
		}
		file := filepath.Join("/run", "sysctl-"+filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		if err := bind(file, target); err != nil {
			return fmt.Errorf("setting %s of %s: %w", name, state, err)
		}
	}
	return nil
}

func bind(source, target string) error {
	return syscall.Mount(source, target, "", syscall.MS_BIND, "")
}

// network makes the bridge that carries the node's address. Its default route
// leads nowhere: the components take their address from the interface of the
// default route.
func (n *Node) network(ctx context.Context) error {
	batch := strings.Join([]string{
		"link set lo up",
		"link add node0 type bridge",
		"addr add " + n.Address + " dev node0",
		"link set node0 up",
		"route add default dev node0",
	}, "\n")
	cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(batch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bridge: %w: %s", err, strings.TrimSpace(string(out)))
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forwarding: %w", err)
	}
	return nil
}
