// Package host lets benchmarks use what was made for tests: folders, a git
// server, and an end at which all of it goes.
package host

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

// Host takes the place of a test: a folder, an end, and a way out. What a test
// can do beyond that is not there.
type Host struct {
	testing.TB
	// Git serves repositories over HTTP.
	Git *gitrepotest.Server

	ctx      context.Context
	cleanups []func()
}

// New returns a Host whose git server runs. Clean ends it.
func New(ctx context.Context) *Host {
	h := &Host{ctx: ctx}
	h.Git = gitrepotest.New(h)
	return h
}

// Helper does nothing.
func (h *Host) Helper() {}

// Context is that of the command.
func (h *Host) Context() context.Context { return h.ctx }

// Cleanup registers a function for the end.
func (h *Host) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }

// TempDir makes a folder that is removed at the end.
func (h *Host) TempDir() string {
	dir, err := os.MkdirTemp("", "lockstep-bench")
	if err != nil {
		h.Fatalf("make a folder: %s", err)
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Fatalf ends the command.
func (h *Host) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
	h.Clean()
	os.Exit(1)
}

// Clean runs what was registered for the end, last first.
func (h *Host) Clean() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	h.cleanups = nil
}

// Import makes a repository from a stream.
func (h *Host) Import(name string, stream *Stream) *gitrepotest.Repo {
	origin := h.Git.Repo(h, name)
	if err := stream.Import(h.ctx, origin.Path); err != nil {
		h.Fatalf("make the repository %s: %s", name, err)
	}
	return origin
}

// Stream is what git fast-import reads: commits on the branch main, each with
// the files that follow it.
type Stream struct{ text bytes.Buffer }

// Commit starts a commit. Its files follow.
func (s *Stream) Commit() {
	s.text.WriteString("commit refs/heads/main\ncommitter Ada <ada@example.org> 1700000000 +0000\ndata 2\nc\n")
}

// Onto makes the commit that was started follow what the repository has.
func (s *Stream) Onto() { s.text.WriteString("from refs/heads/main^0\n") }

// File puts a plain file into the commit.
func (s *Stream) File(name, content string) {
	fmt.Fprintf(&s.text, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
}

// Blob puts a file into the commit that the repository has already.
func (s *Stream) Blob(name, hash string) {
	fmt.Fprintf(&s.text, "M 100644 %s %s\n", hash, name)
}

// Import puts the commits into the bare repository at path.
func (s *Stream) Import(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = path, gitrepotest.Env(), &s.text
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git fast-import: %w: %s", err, out)
	}
	return nil
}

// Change commits one file on top of the branch of the bare repository at path.
func Change(ctx context.Context, path, name, content string) error {
	var stream Stream
	stream.Commit()
	stream.Onto()
	stream.File(name, content)
	return stream.Import(ctx, path)
}

// Noise is text that does not compress.
func Noise(seed string, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, i)))
	}
	return b.String()[:size]
}
