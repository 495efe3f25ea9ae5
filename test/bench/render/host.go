package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// host lets this program use what was made for tests: a folder, an end, and
// a way out. What a test can do beyond that is not there.
type host struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
	server   *gitrepotest.Server
}

func newHost(ctx context.Context) *host {
	h := &host{ctx: ctx}
	h.server = gitrepotest.New(h)
	return h
}

// Helper does nothing.
func (h *host) Helper() {}

// Context is that of the command.
func (h *host) Context() context.Context { return h.ctx }

// Cleanup registers a function for the end.
func (h *host) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }

// TempDir makes a folder that is removed at the end.
func (h *host) TempDir() string {
	dir, err := os.MkdirTemp("", "lockstep-bench")
	if err != nil {
		h.Fatalf("make a folder: %s", err)
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Fatalf ends the command.
func (h *host) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	h.clean()
	os.Exit(1)
}

func (h *host) clean() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	h.cleanups = nil
}

// repository is where a repository can be fetched from and where it is.
type repository struct{ url, path string }

// imported makes a repository from a stream for git fast-import.
func (h *host) imported(name string, stream *bytes.Buffer) repository {
	origin := h.server.Repo(h, name)
	if err := fastImport(h.ctx, origin.Path, stream); err != nil {
		h.Fatalf("%s", err)
	}
	return repository{origin.URL, origin.Path}
}

func fastImport(ctx context.Context, path string, stream *bytes.Buffer) error {
	cmd := exec.CommandContext(ctx, "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = path, gitrepotest.Env(), stream
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git fast-import: %w: %s", err, out)
	}
	return nil
}

// commit starts a commit in a stream. Its files follow.
func commit(stream *bytes.Buffer) {
	stream.WriteString("commit refs/heads/main\ncommitter Ada <ada@example.org> 1700000000 +0000\ndata 2\nc\n")
}

func file(stream *bytes.Buffer, name, content string) {
	fmt.Fprintf(stream, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
}

// change commits one file on top of the branch.
func change(ctx context.Context, path, name, content string) error {
	var stream bytes.Buffer
	commit(&stream)
	stream.WriteString("from refs/heads/main^0\n")
	file(&stream, name, content)
	return fastImport(ctx, path, &stream)
}

// noise is text that does not compress.
func noise(seed string, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, i)))
	}
	return b.String()[:size]
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  a: %q\n", name, value)
}

// configMaps are the files of an overlay in the folder o that holds count
// objects.
func configMaps(count, files int) map[string]string {
	out := map[string]string{}
	var list strings.Builder
	for f := range files {
		var all strings.Builder
		for i := range count / files {
			all.WriteString("---\n" + configMap(fmt.Sprintf("c%d", f*count/files+i), "b"))
		}
		out[fmt.Sprintf("o/f%d.yaml", f)] = all.String()
		fmt.Fprintf(&list, "- f%d.yaml\n", f)
	}
	out["o/kustomization.yaml"] = "namespace: n1\nresources:\n" + list.String()
	return out
}
