// Package process finds and ends the processes of one test cluster.
//
// No list of process numbers is kept, since such a list is wrong as soon as
// its writer is killed or a number is used again. Instead each process carries
// a mark in its environment, which the kernel keeps for as long as it lives,
// and /proc is the list.
package process

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The mark: which cluster a process belongs to, by its state folder, and what
// it is there. Children inherit it; containers do not, since they are given
// an environment of their own.
const (
	stateVariable = "LOCKSTEP_CLUSTER_STATE"
	nameVariable  = "LOCKSTEP_CLUSTER_PROCESS"
)

// Supervisor is the name of the process that starts all others.
const Supervisor = "supervisor"

// Process is one running process of a cluster.
type Process struct {
	PID     int
	Name    string // what it was started as, for example "kubelet"
	Command string // base name of its executable
	start   uint64 // in clock ticks since boot: with PID, names one process for good
}

// Mark is the environment that makes a process findable.
func Mark(state, name string) []string {
	return []string{stateVariable + "=" + state, nameVariable + "=" + name}
}

// Own tells whether the process is the component itself and not one of the
// helpers that it has started, such as the shims of containerd.
func (p Process) Own() bool {
	return p.Command == p.Name || p.Command == "cluster"
}

// Find returns the running processes of the cluster, oldest first. Processes
// of other users are not seen, unless the caller is root.
func Find(state string) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := inspect(pid, state); ok {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b Process) int { return cmp.Compare(a.start, b.start) })
	return found, nil
}

// inspect reads one process. One that ends meanwhile is not there.
func inspect(pid int, state string) (Process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	environ, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return Process{}, false
	}
	name, ok := marked(environ, state)
	if !ok {
		return Process{}, false
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Process{}, false
	}
	_, start, err := parseStat(stat)
	if err != nil {
		return Process{}, false
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return Process{}, false
	}
	command, _, _ := bytes.Cut(cmdline, []byte{0})
	return Process{PID: pid, Name: name, Command: filepath.Base(string(command)), start: start}, true
}

// marked returns the name in the mark of an environment as /proc gives it.
func marked(environ []byte, state string) (string, bool) {
	var mine bool
	var name string
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case stateVariable:
			mine = value == state
		case nameVariable:
			name = value
		}
	}
	return name, mine && name != ""
}

// parseStat reads the state letter and the start time of a line of
// /proc/PID/stat. The command in it is in parentheses and may hold any sign.
func parseStat(line []byte) (state byte, start uint64, err error) {
	end := bytes.LastIndexByte(line, ')')
	fields := bytes.Fields(line[end+1:])
	if end < 0 || len(fields) < 20 {
		return 0, 0, fmt.Errorf("stat line of %d fields: %q", len(fields), line)
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return fields[0][0], start, err
}

// ended tells whether the process is gone, or a zombie that only waits for its
// parent. A namespace's first process becomes a zombie only after every other
// process in the namespace has ended.
func (p Process) ended() bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), "stat"))
	if err != nil {
		return true
	}
	state, start, err := parseStat(stat)
	return err != nil || start != p.start || state == 'Z' || state == 'X'
}

// Kill sends SIGKILL to this very process, never to another that was given
// its number: the handle is taken first and compared then.
func (p Process) Kill() error {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return nil // It has ended.
	}
	defer func() { _ = handle.Release() }()
	if p.ended() {
		return nil
	}
	err = handle.Signal(syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill %s (process %d): %w", p.Name, p.PID, err)
	}
	return nil
}

// KillAll ends every process of the cluster and returns when the last is gone.
// It looks again until nothing is found, since a process may start another
// while the list is read.
func KillAll(ctx context.Context, state string) (int, error) {
	killed := map[Process]bool{}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := Find(state)
		if err != nil {
			return len(killed), err
		}
		for _, p := range found {
			killed[p] = true
			if err := p.Kill(); err != nil {
				return len(killed), err
			}
		}
		left := alive(killed)
		if len(left) == 0 {
			return len(killed), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return len(killed), fmt.Errorf("still running after SIGKILL: %s: %w", strings.Join(left, ", "), ctx.Err())
		}
	}
}

func alive(processes map[Process]bool) []string {
	var left []string
	for p := range processes {
		if !p.ended() {
			left = append(left, fmt.Sprintf("%s (process %d)", p.Name, p.PID))
		}
	}
	slices.Sort(left)
	return left
}
