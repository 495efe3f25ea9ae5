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

// KubernetesVersion is what the components say that they are. It is the
// version of k8s.io/kubernetes in the nested module.
const KubernetesVersion = "1.37.2"

// Builder builds the programs of one source tree.
type Builder struct {
	root  string
	cache string
	log   io.Writer
}

// New returns a builder for the source tree that dir lies in. Programs are
// kept below the cache folder; progress goes to log.
func New(dir, cache string, log io.Writer) (*Builder, error) {
	root, err := findRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Builder{root: root, cache: cache, log: log}, nil
}

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

// digest covers what a program is built from: its sources, the versions of the
// modules, and the compiler.
func digest(node, program string) (string, error) {
	sources, err := filepath.Glob(filepath.Join(node, program, "*.go"))
	if err != nil || len(sources) == 0 {
		return "", fmt.Errorf("no sources in %s", filepath.Join(node, program))
	}
	h := sha256.New()
	_, _ = fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	for _, path := range append(sources, filepath.Join(node, "go.mod"), filepath.Join(node, "go.sum")) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(h, "%s %d\n%s", filepath.Base(path), len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// Kube is the multi-call binary of the Kubernetes components.
func (b *Builder) Kube(ctx context.Context) (string, error) {
	x := "-X k8s.io/component-base/version.git"
	major, rest, _ := strings.Cut(KubernetesVersion, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return b.build(ctx, "kube", strings.Join([]string{
		"-s -w", x + "Version=v" + KubernetesVersion, x + "Major=" + major, x + "Minor=" + minor}, " "))
}

// Image is the program that packs images.
func (b *Builder) Image(ctx context.Context) (string, error) { return b.build(ctx, "image", "-s -w") }

// Pause is the program of the sandbox image.
func (b *Builder) Pause(ctx context.Context) (string, error) { return b.build(ctx, "pause", "-s -w") }

// Version names the present sources of a program: "kube", "image" or "pause".
func (b *Builder) Version(program string) (string, error) {
	version, err := digest(filepath.Join(b.root, "test", "cluster", "node"), program)
	if err != nil {
		return "", fmt.Errorf("sources of %s: %w", program, err)
	}
	return version, nil
}

// build returns the program's path, and builds it first where it is not there.
// Of several processes that ask at once, one builds and the others wait.
func (b *Builder) build(ctx context.Context, name, ldflags string) (string, error) {
	version, err := b.Version(name)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, version)
	path := filepath.Join(dir, name)
	if exists(path) {
		return path, nil
	}
	release, err := lock.Acquire(ctx, filepath.Join(dir, "."+name+".lock"), func() {
		_, _ = fmt.Fprintf(b.log, "waiting for another process that builds %s\n", name)
	})
	if err != nil {
		return "", err
	}
	defer release()
	if exists(path) {
		return path, nil
	}
	if name == "kube" {
		_, _ = fmt.Fprintf(b.log, "building Kubernetes %s once, into %s (10 to 15 minutes on two cores)\n", KubernetesVersion, dir)
	}
	started := time.Now()
	partial := path + ".partial"
	defer func() { _ = os.Remove(partial) }()
	c := compilation{dir: filepath.Join(b.root, "test", "cluster", "node"), target: "./" + name, output: partial, ldflags: ldflags, log: b.log}
	if err := c.run(ctx); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	if err := os.Rename(partial, path); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	_, _ = fmt.Fprintf(b.log, "built %s in %s\n", name, time.Since(started).Round(time.Second))
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
