// Package tools builds the programs of the nested module and keeps them
// outside the source tree, so that each is built once for each version of its
// sources.
package tools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/lock"
)

const module = "module github.com/lockstep-gitops/lockstep"

// kubernetesVersion is what the components say that they are. It is the
// version of k8s.io/kubernetes in the nested module.
const kubernetesVersion = "1.37.2"

// Builder builds the programs of one source tree.
type Builder struct {
	root   string
	cache  string
	digest string
	log    io.Writer
}

// New returns a builder for the source tree that dir lies in. Programs are
// kept below the cache folder; progress goes to log.
func New(dir, cache string, log io.Writer) (*Builder, error) {
	root, err := findRoot(dir)
	if err != nil {
		return nil, err
	}
	b := &Builder{root: root, cache: cache, log: log}
	if b.digest, err = digest(b.node()); err != nil {
		return nil, fmt.Errorf("sources in %s: %w", b.node(), err)
	}
	return b, nil
}

// Digest names the version of the sources.
func (b *Builder) Digest() string { return b.digest }

// Root is the root of the source tree.
func (b *Builder) Root() string { return b.root }

func (b *Builder) node() string { return filepath.Join(b.root, "test", "cluster", "node") }

// findRoot goes up from dir to the folder with the product's go.mod.
func findRoot(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		text, err := os.ReadFile(filepath.Join(d, "go.mod"))
		if err == nil && (strings.HasPrefix(string(text), module+"\n")) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("source tree: %s is not in one of Lockstep: run the command below its root folder", dir)
		}
	}
}

// digest covers what the programs are built from: the sources, the versions of
// the modules, and the compiler.
func digest(node string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	err := filepath.WalkDir(node, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !matters(path) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(node, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "%s %d\n%s", filepath.ToSlash(name), len(text), text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

func matters(path string) bool {
	switch name := filepath.Base(path); {
	case strings.HasSuffix(name, "_test.go"):
		return false
	case strings.HasSuffix(name, ".go"), name == "go.mod", name == "go.sum":
		return true
	}
	return false
}

// Kube is the multi-call binary of the Kubernetes components.
func (b *Builder) Kube(ctx context.Context) (string, error) {
	x := "-X k8s.io/component-base/version.git"
	major, rest, _ := strings.Cut(kubernetesVersion, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return b.build(ctx, "kube", strings.Join([]string{
		"-s -w", x + "Version=v" + kubernetesVersion, x + "Major=" + major, x + "Minor=" + minor}, " "))
}

// Image is the program that packs images.
func (b *Builder) Image(ctx context.Context) (string, error) { return b.build(ctx, "image", "-s -w") }

// Pause is the program of the sandbox image.
func (b *Builder) Pause(ctx context.Context) (string, error) { return b.build(ctx, "pause", "-s -w") }

// build returns the program's path, and builds it first where it is not there.
// Of several processes that ask at once, one builds and the others wait.
func (b *Builder) build(ctx context.Context, name, ldflags string) (string, error) {
	dir := filepath.Join(b.cache, b.digest)
	path := filepath.Join(dir, name)
	if exists(path) {
		return path, nil
	}
	release, err := lock.Acquire(ctx, filepath.Join(dir, "."+name+".lock"), func() {
		fmt.Fprintf(b.log, "waiting for another process that builds %s\n", name)
	})
	if err != nil {
		return "", err
	}
	defer release()
	if exists(path) {
		return path, nil
	}
	if name == "kube" {
		fmt.Fprintf(b.log, "building Kubernetes %s once, into %s (10 to 15 minutes on two cores, then never again)\n", kubernetesVersion, dir)
	}
	started := time.Now()
	partial := path + ".partial"
	defer os.Remove(partial)
	c := compilation{dir: b.node(), target: "./" + name, output: partial, ldflags: ldflags, log: b.log}
	if err := c.run(ctx); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	if err := os.Rename(partial, path); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	fmt.Fprintf(b.log, "built %s in %s\n", name, time.Since(started).Round(time.Second))
	return path, nil
}

// Static builds a command of the product's own module, without a C library,
// each time: the compiler's cache makes that cheap.
func (b *Builder) Static(ctx context.Context, target, output string) error {
	if _, err := os.Stat(filepath.Join(b.root, target)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("build %s: no such folder in %s", target, b.root)
	}
	c := compilation{dir: b.root, target: target, output: output, ldflags: "-s -w", log: b.log}
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("build %s: %w", target, err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
