package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/process"
	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

// killTimeout is how long processes may take to end after SIGKILL.
const killTimeout = 30 * time.Second

// downCommand stops everything and removes the state folder.
func downCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, rest, err := parseOptions("down", args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	}
	release, err := acquire(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer release()
	if err := sweep(ctx, o, io.Discard); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stdout, "cluster %s is down: nothing of it is left\n", o.name)
	return nil
}

// sweep removes every trace of the cluster: processes, cgroups, mounts, files.
// It asks what is there and not what ought to be, so that it also clears up
// after a run that was killed at any point.
func sweep(ctx context.Context, o options, stderr io.Writer) error {
	killed, err := stop(ctx, o)
	if err != nil {
		return err
	}
	if killed > 0 {
		_, _ = fmt.Fprintf(stderr, "stopped %d processes of a former run\n", killed)
	}
	if err := unmountBelow(o.state); err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(o.state, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // There is no folder, or one that is not ours to remove.
	}
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return removeState(o.state)
}

// removeState removes the folder, and the record in it last: a removal that is
// cut short leaves a folder that is still known to be a cluster's.
func removeState(state string) error {
	entries, err := os.ReadDir(state)
	if err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	for _, e := range entries {
		if e.Name() == recordFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(state, e.Name())); err != nil {
			return fmt.Errorf("remove state: %w", err)
		}
	}
	if err := os.RemoveAll(state); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}

// stop ends the processes and removes the cgroups of the pods, and returns how
// many processes there were.
func stop(ctx context.Context, o options) (int, error) {
	limited, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	killed, err := process.KillAll(limited, o.state)
	if err != nil {
		return killed, err
	}
	return killed, supervise.RemoveCgroups(plan.Cgroup(o.state), killTimeout)
}

// abandon stops a cluster that did not come up. Its logs stay until the next up
// or down.
func abandon(ctx context.Context, o options, reason error) error {
	_, err := stop(context.WithoutCancel(ctx), o)
	return errors.Join(fmt.Errorf("%w\nThe logs are in %s", reason, filepath.Join(o.state, "log")), err)
}

// unmountBelow takes away what is mounted below the state folder, so that its
// removal cannot reach into another file system. A node mounts in a namespace
// of its own, so there is nothing unless somebody has mounted by hand.
func unmountBelow(state string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	defer func() { _ = f.Close() }()
	points, err := mountsBelow(f, state)
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	for _, point := range slices.Backward(points) {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

// mountsBelow reads the mount points below a folder from mountinfo text, in
// the order in which they were mounted.
func mountsBelow(mountinfo io.Reader, dir string) ([]string, error) {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	s := bufio.NewScanner(mountinfo)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points, s.Err()
}
