package tools_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/cluster/tools"
)

const (
	goMod = "module github.com/lockstep-gitops/lockstep/test/cluster/node\n\ngo 1.26.0\n"
	hello = "package main\n\nfunc main() { println(\"hello\") }\n"
)

// tree is a source tree with one small program called pause.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "go.mod", "module github.com/lockstep-gitops/lockstep\n\ngo 1.26.0\n")
	write(t, root, "test/cluster/node/go.mod", goMod)
	write(t, root, "test/cluster/node/go.sum", "")
	write(t, root, "test/cluster/node/pause/main.go", hello)
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	assert.NilError(t, os.WriteFile(path, []byte(text), 0o600))
}

func builder(t *testing.T, root, cache string, log *bytes.Buffer) *tools.Builder {
	t.Helper()
	b, err := tools.New(filepath.Join(root, "test"), cache, log)
	assert.NilError(t, err)
	return b
}

func TestProgramIsBuiltOnceForEachVersionOfItsSources(t *testing.T) {
	root, cache := tree(t), t.TempDir()
	var log bytes.Buffer
	first, err := builder(t, root, cache, &log).Pause(t.Context())
	assert.NilError(t, err)
	assert.Assert(t, strings.Contains(log.String(), "built pause"), log.String())
	said, err := exec.Command(first).CombinedOutput()
	assert.NilError(t, err)
	assert.Equal(t, string(said), "hello\n")

	log.Reset()
	again, err := builder(t, root, cache, &log).Pause(t.Context())
	assert.NilError(t, err)
	assert.Equal(t, again, first)
	assert.Equal(t, log.String(), "")

	write(t, root, "test/cluster/node/pause/main.go", strings.Replace(hello, "hello", "goodbye", 1))
	changed, err := builder(t, root, cache, &log).Pause(t.Context())
	assert.NilError(t, err)
	assert.Assert(t, changed != first)
}

func TestConcurrentBuildsAreOne(t *testing.T) {
	root, cache := tree(t), t.TempDir()
	var logs [3]bytes.Buffer
	var all sync.WaitGroup
	for i := range logs {
		all.Go(func() {
			_, err := builder(t, root, cache, &logs[i]).Pause(t.Context())
			assert.Check(t, err == nil, err)
		})
	}
	all.Wait()
	built := 0
	for i := range logs {
		built += strings.Count(logs[i].String(), "built pause")
	}
	assert.Equal(t, built, 1)
}

func TestVersionCoversSourcesAndModulesButNoTests(t *testing.T) {
	root := tree(t)
	b := builder(t, root, t.TempDir(), &bytes.Buffer{})
	version := func() string {
		v, err := b.Version("pause")
		assert.NilError(t, err)
		return v
	}
	first := version()
	write(t, root, "test/cluster/node/pause/main_test.go", "package main\n")
	write(t, root, "test/cluster/node/image/main.go", hello)
	assert.Equal(t, version(), first)
	write(t, root, "test/cluster/node/go.sum", "example.test/x v1.0.0 h1:x\n")
	second := version()
	assert.Assert(t, second != first)
	write(t, root, "test/cluster/node/pause/more.go", "package main\n")
	assert.Assert(t, version() != second)
}

func TestFailedBuildSaysWhyAndLeavesNothing(t *testing.T) {
	root, cache := tree(t), t.TempDir()
	write(t, root, "test/cluster/node/pause/main.go", "package main\n\nfunc main() { nonsense }\n")
	_, err := builder(t, root, cache, &bytes.Buffer{}).Pause(t.Context())
	assert.ErrorContains(t, err, "build pause")
	assert.ErrorContains(t, err, "undefined: nonsense")
	left, err := filepath.Glob(filepath.Join(cache, "*", "pause*"))
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0, left)
}

func TestStaticNamesAMissingProgram(t *testing.T) {
	err := builder(t, tree(t), t.TempDir(), &bytes.Buffer{}).Static(t.Context(), "./test/gitserver", filepath.Join(t.TempDir(), "x"))
	assert.ErrorContains(t, err, "build ./test/gitserver: no such folder")
}

func TestOutsideTheSourceTree(t *testing.T) {
	_, err := tools.New(t.TempDir(), t.TempDir(), &bytes.Buffer{})
	assert.ErrorContains(t, err, "run the command below its root folder")
}

func TestKubernetesVersionIsTheModules(t *testing.T) {
	text, err := os.ReadFile("../node/go.mod")
	assert.NilError(t, err)
	assert.Assert(t, strings.Contains(string(text), "\tk8s.io/kubernetes v"+tools.KubernetesVersion+"\n"))
}
