package render_test

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// TestMain lets the test binary stand in for ours, so that every test renders
// in a real child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == render.ChildArgument {
		os.Exit(render.ChildMain(os.Stdin, os.Stdout))
	}
	if len(os.Args) > 1 && os.Args[1] == render.ProbeArgument {
		os.Exit(render.Probe(os.Stdout))
	}
	command, remove, err := buildChild()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build child:", err)
		os.Exit(1)
	}
	child = command
	code := m.Run()
	remove()
	os.Exit(code)
}

// child is how tests start one, empty for the test binary itself.
var child []string

func start(options render.Options) *render.Renderer {
	if options.Command == nil {
		options.Command = child
	}
	return render.New(options)
}

// tree makes a commit of files. A name that ends in @ is a symbolic link.
func tree(files map[string]string) fstest.MapFS {
	t := fstest.MapFS{}
	for name, content := range files {
		if link, ok := strings.CutSuffix(name, "@"); ok {
			t[link] = &fstest.MapFile{Data: []byte(content), Mode: fs.ModeSymlink}
			continue
		}
		t[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return t
}

func newRenderer() *render.Renderer { return start(render.Options{}) }

func configMap(name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  a: b\n", name)
}

// failure asserts that an error is terminal, and gives its reason and text.
func failure(t *testing.T, err error) (reason, text string) {
	t.Helper()
	assert.Assert(t, err != nil)
	assert.Assert(t, reconciler.IsTerminal(err), "not terminal: %v", err)
	return reconciler.ReasonOf(err, ""), err.Error()
}
