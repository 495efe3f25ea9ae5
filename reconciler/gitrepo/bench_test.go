package gitrepo_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// monorepo makes a repository of many commits and files: 200 folders of files
// of half a kilobyte, and commits that change one line each.
func monorepo(b *testing.B, commits, files int) *gitrepotest.Repo {
	b.Helper()
	origin := gitrepotest.New(b).Repo(b, "mono.git")
	var in bytes.Buffer
	head := func(from string) {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter Ada <ada@example.org> 1700000000 +0000\ndata 2\nc\n%s", from)
	}
	head("")
	for i := range files {
		text := noise(strconv.Itoa(i), 500)
		fmt.Fprintf(&in, "M 100644 inline apps/%d/file%d.yaml\ndata %d\n%s\n", i%200, i, len(text), text)
	}
	for i := range commits - 1 {
		head("")
		fmt.Fprintf(&in, "M 100644 inline apps/%d/changing.yaml\ndata 10\n%010d\n", i%200, i)
	}
	cmd := exec.CommandContext(b.Context(), "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = origin.Path, gitrepotest.Env(), &in
	out, err := cmd.CombinedOutput()
	assert.NilError(b, err, "%s", out)
	return origin
}

// figure prints a figure in the form that all benchmarks share.
func figure(name string, value float64, unit string, goal float64) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.3f %s goal %g %s\n", name, value, unit, goal, verdict)
}

// cpu is the processor time that this process has used, its children not counted.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	assert.NilError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peak is the largest resident size of this process while f ran, in MiB, or 0
// where the kernel does not let it be measured.
func peak(b *testing.B, f func()) float64 {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		f()
		return 0
	}
	f()
	status, err := os.ReadFile("/proc/self/status")
	assert.NilError(b, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	assert.NilError(b, err)
	return kib / 1024
}

// BenchmarkMonorepo is a repository of 10,000 commits and 20,000 files: the
// first fetch, polls without news, and commits of one line.
func BenchmarkMonorepo(b *testing.B) {
	origin := monorepo(b, 10_000, 20_000)
	options := gitrepo.Options{Dir: b.TempDir()}
	store, err := gitrepo.New(options)
	assert.NilError(b, err)
	defer func() { assert.Check(b, store.Close()) }()
	fetch := func() *gitrepo.Tree {
		commit, err := tipOf(b.Context(), store, at(origin, "main"))
		assert.NilError(b, err)
		tree, err := store.FetchTree(b.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
		assert.NilError(b, err)
		_, err = tree.ReadFile("apps/7/file7.yaml")
		assert.NilError(b, err)
		return tree
	}
	start := time.Now()
	figure("git_first_fetch_peak", peak(b, func() { fetch() }), "MiB", 150)
	figure("git_first_fetch", time.Since(start).Seconds(), "s", 30)

	b.Run("poll", func(b *testing.B) {
		before := cpu(b)
		for b.Loop() {
			fetch()
		}
		each := (cpu(b) - before).Seconds() * 1000 / float64(b.N)
		b.ReportMetric(each, "cpu-ms/op")
		figure("git_poll_cpu", each, "ms", 20)
	})
	b.Run("commit", func(b *testing.B) {
		before := cpu(b)
		var spent time.Duration
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			made := cpu(b)
			change(b, origin, i)
			spent += cpu(b) - made
			b.StartTimer()
			fetch()
		}
		each := (cpu(b) - before - spent).Seconds() * 1000 / float64(b.N)
		b.ReportMetric(each, "cpu-ms/op")
		figure("git_commit_cpu", each, "ms", 50)
	})
}

func change(b *testing.B, origin *gitrepotest.Repo, i int) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env = origin.Path, gitrepotest.Env()
	cmd.Stdin = strings.NewReader(fmt.Sprintf("commit refs/heads/main\ncommitter Ada <ada@example.org> 1700000000 +0000\ndata 2\nc\nfrom refs/heads/main^0\nM 100644 inline apps/7/changing.yaml\ndata 8\nx%07d\n", i))
	out, err := cmd.CombinedOutput()
	assert.NilError(b, err, "%s", out)
}

// BenchmarkLargeFile fetches a repository that holds a file of 300 MB in a
// pack of 300 kB (G12).
func BenchmarkLargeFile(b *testing.B) {
	origin := gitrepotest.New(b).Repo(b, "app.git")
	zeroes(b, origin, 300_000_000)
	for b.Loop() {
		store, err := gitrepo.New(gitrepo.Options{Dir: b.TempDir()})
		assert.NilError(b, err)
		figure("git_large_file_peak", peak(b, func() {
			commit, err := tipOf(b.Context(), store, at(origin, "main"))
			assert.NilError(b, err)
			tree, err := store.FetchTree(b.Context(), at(origin, "main"), reconciler.Tip{Commit: commit})
			assert.NilError(b, err)
			_, err = tree.ReadFile("file")
			assert.NilError(b, err)
		}), "MiB", 400)
		assert.NilError(b, store.Close())
	}
}
