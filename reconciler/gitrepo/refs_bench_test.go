package gitrepo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// BenchmarkManyRefs polls a repository with the references of 100,000 pull
// requests, as the large ones on GitHub have.
func BenchmarkManyRefs(b *testing.B) {
	origin := gitrepotest.New(b).Repo(b, "app.git")
	commit := origin.Commit("main", map[string]string{"file": "one"})
	var packed strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted\n")
	fmt.Fprintf(&packed, "%s refs/heads/main\n", commit)
	for i := range 100_000 {
		fmt.Fprintf(&packed, "%s refs/pull/%06d/head\n", commit, i)
	}
	assert.NilError(b, os.WriteFile(filepath.Join(origin.Path, "packed-refs"), []byte(packed.String()), 0o600))
	store, err := gitrepo.New(gitrepo.Options{Dir: b.TempDir()})
	assert.NilError(b, err)
	defer func() { assert.Check(b, store.Close()) }()
	before := cpu(b)
	for b.Loop() {
		tip, err := tipOf(b.Context(), store, at(origin, "main"))
		assert.NilError(b, err)
		assert.Equal(b, tip, commit)
	}
	each := (cpu(b) - before).Seconds() * 1000 / float64(b.N)
	b.ReportMetric(each, "cpu-ms/op")
}

// cpu is the processor time that this process has used, its children not counted.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	assert.NilError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
