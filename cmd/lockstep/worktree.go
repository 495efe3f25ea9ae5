package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// worktree is a repository on this machine, as its files stand now.
type worktree struct {
	reconciler.Tree
	// folder is the one that was named, from the top of the repository.
	folder string
	close  func()
}

// openWorktree finds the top of the repository that a folder is in, or takes
// the one that is given. Nothing outside of it is read, as the daemon reads
// nothing outside of a commit.
func openWorktree(folder, top string) (*worktree, error) {
	folder, err := realFolder(folder)
	if err != nil {
		return nil, err
	}
	if top == "" {
		top, err = topOf(folder)
	} else {
		top, err = realFolder(top)
	}
	if err != nil {
		return nil, err
	}
	inside, err := filepath.Rel(top, folder)
	if err != nil || !filepath.IsLocal(inside) {
		return nil, fmt.Errorf("%s is not below %s", folder, top)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	tree, ok := root.FS().(reconciler.Tree)
	if !ok {
		return nil, fmt.Errorf("%s: its files cannot be read one by one", top)
	}
	return &worktree{Tree: tree, folder: filepath.ToSlash(inside), close: func() { _ = root.Close() }}, nil
}

func realFolder(name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return "", fmt.Errorf("%s is a file: name the folder of the kustomization", name)
	}
	return path, err
}

// topOf is the closest folder above that holds .git.
func topOf(folder string) (string, error) {
	for at := folder; ; at = filepath.Dir(at) {
		_, err := os.Lstat(filepath.Join(at, ".git"))
		if err == nil {
			return at, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is in no git repository: name the folder that bases may lie in with --root", folder)
		}
	}
}
