package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/lockstep-gitops/lockstep/test/cluster/api"
	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
)

// loadCommand makes images of archives known to the node.
func loadCommand(ctx context.Context, args []string, stdout, _ io.Writer) error {
	o, archives, err := parseOptions("load", args)
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return fmt.Errorf("%w: name the image archives", errUsage)
	}
	for _, archive := range archives {
		out, err := importImage(ctx, o, archive)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(stdout, "loaded %s: %s\n", archive, out)
	}
	return nil
}

// inside is a command that runs in the namespaces of the node.
func inside(o options, args ...string) ([]string, error) {
	node, ok, err := supervisor(o)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("cluster %s is %w: run go run ./test/cluster up", o.name, errDown)
	}
	if r, err := loadRecord(o); err != nil || r.Mode != plan.Node {
		return nil, errors.Join(err, fmt.Errorf("cluster %s has no node: it runs in mode %s", o.name, r.Mode))
	}
	enter := []string{"nsenter", "--target", strconv.Itoa(node.PID), "--mount", "--net", "--ipc", "--pid", "--"}
	return append(enter, args...), nil
}

// importImage hands an archive to containerd and returns the references in it.
func importImage(ctx context.Context, o options, archive string) (string, error) {
	in, err := os.Open(archive)
	if err != nil {
		return "", fmt.Errorf("image archive: %w", err)
	}
	defer func() { _ = in.Close() }()
	args, err := inside(o, "ctr", "--address", plan.Containerd, "--namespace", "k8s.io", "images", "import", "-")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	// The archive goes through a pipe: the node may not see the caller's path.
	cmd.Stdin = in
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("load %s: %w: %s", archive, err, strings.TrimSpace(string(out)))
	}
	return imported(string(out)), nil
}

// imported picks the references out of what ctr says, for example
// "unpacking example.test/app:1 (sha256:…)...done".
func imported(out string) string {
	var refs []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "unpacking" {
			refs = append(refs, fields[1])
		}
	}
	return strings.Join(refs, ", ")
}

// importWhenUp loads an image while containerd may still be starting.
func importWhenUp(ctx context.Context, o options, archive string) error {
	return api.Until(ctx, func(ctx context.Context) error {
		_, err := importImage(ctx, o, archive)
		return err
	})
}

// execCommand becomes a command inside the node.
func execCommand(_ context.Context, args []string, _, _ io.Writer) error {
	o, command, err := parseOptions("exec", args)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return fmt.Errorf("%w: name a command", errUsage)
	}
	enter, err := inside(o, command...)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(enter[0])
	if err != nil {
		return fmt.Errorf("enter the node: %w", err)
	}
	return syscall.Exec(path, enter, os.Environ())
}
