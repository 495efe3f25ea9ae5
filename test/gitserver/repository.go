package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// branch is where HEAD of a new repository points.
const branch = "clean-k8s-deploy"

// create makes the bare repository, unless it is there. It is made under
// another name and moved, so that being killed halfway leaves none.
func create(ctx context.Context, c config) error {
	if filepath.Base(c.repo) != c.repo || strings.Trim(c.repo, ".") == "" {
		return errors.New("use a plain name such as unity.git")
	}
	target := filepath.Join(c.root, c.repo)
	if _, err := os.Stat(filepath.Join(target, "HEAD")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(c.root, 0o755); err != nil {
		return err
	}
	draft, err := os.MkdirTemp(c.root, ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(draft) }()
	bare := filepath.Join(draft, "bare")
	for _, args := range [][]string{
		// No templates: the image may not have them, and hooks are not wanted.
		{"init", "--quiet", "--bare", "--template=", "--initial-branch=" + branch, bare},
		{"-C", bare, "config", "http.receivepack", "true"},
		// It would leave a process behind after a push.
		{"-C", bare, "config", "receive.autogc", "false"},
	} {
		if err := gitCommand(ctx, c, args...); err != nil {
			return err
		}
	}
	return os.Rename(bare, target)
}

func gitCommand(ctx context.Context, c config, args ...string) error {
	command := exec.CommandContext(ctx, c.git, args...)
	command.Env = environment(c.root)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(output)))
	}
	return nil
}
