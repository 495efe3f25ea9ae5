package render_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// identified is a tree that knows the identity of its files and folders, as
// git does, and counts what is read.
type identified struct {
	fstest.MapFS
	ids   map[string]string
	reads *[]string
}

func identify(files fstest.MapFS) identified {
	t := identified{MapFS: files, ids: map[string]string{}, reads: &[]string{}}
	content := map[string]*bytes.Buffer{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.ids[name] = fmt.Sprintf("%x", sha256.Sum256(files[name].Data))
		for folder := name; folder != "."; {
			folder = dir(folder)
			if content[folder] == nil {
				content[folder] = &bytes.Buffer{}
			}
			fmt.Fprintln(content[folder], name, files[name].Mode, t.ids[name])
		}
	}
	for folder, all := range content {
		t.ids[folder] = fmt.Sprintf("%x", sha256.Sum256(all.Bytes()))
	}
	return t
}

func dir(name string) string {
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		return name[:at]
	}
	return "."
}

func (t identified) ID(name string) (string, error) {
	if id, ok := t.ids[name]; ok {
		return id, nil
	}
	return "", fmt.Errorf("%s: no such file", name)
}

func (t identified) ReadFile(name string) ([]byte, error) {
	*t.reads = append(*t.reads, name)
	return t.MapFS.ReadFile(name)
}

// A commit that changes nothing that was read costs no build.
func TestRenderIsSkippedWhenNothingReadHasChanged(t *testing.T) {
	before := map[string]string{
		"o/kustomization.yaml": "resources: [a.yaml, ../base, l]\n", "o/a.yaml": configMap("a"),
		"base/kustomization.yaml": "resources: [b.yaml]\n", "base/b.yaml": configMap("b"), "base/unused.yaml": "x",
		"o/l@": "../linked", "linked/kustomization.yaml": "resources: [c.yaml]\n", "linked/c.yaml": configMap("c"),
		"README.md": "one",
	}
	cases := map[string]struct {
		changed map[string]string
		skipped bool
	}{
		"nothing":                            {nil, true},
		"a file elsewhere":                   {map[string]string{"README.md": "two"}, true},
		"a new file beside those read":       {map[string]string{"o/README.md": "new"}, true},
		"a file beside those read":           {map[string]string{"base/unused.yaml": "y"}, true},
		"a file that was read":               {map[string]string{"base/b.yaml": configMap("changed")}, false},
		"the kustomization":                  {map[string]string{"o/kustomization.yaml": "resources: [a.yaml]\n"}, false},
		"a file behind a link":               {map[string]string{"linked/c.yaml": configMap("d")}, false},
		"where a link leads":                 {map[string]string{"o/l@": "../base2", "base2/kustomization.yaml": "resources: [c.yaml]\n", "base2/c.yaml": configMap("c")}, false},
		"a second kustomization":             {map[string]string{"o/kustomization.yml": "resources: [a.yaml]\n"}, false},
		"a file becomes a link of its equal": {map[string]string{"o/a.yaml@": "a2.yaml", "o/a2.yaml": configMap("a")}, false},
	}
	for name, c := range cases {
		for _, knows := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, identities %v", name, knows), func(t *testing.T) {
				renderer := newRenderer()
				first, err := renderer.Render(t.Context(), asTree(before, knows), "o")
				assert.NilError(t, err)
				// The slice is the caller's.
				first[0] = reconciler.Object{}

				after := maps.Clone(before)
				maps.Copy(after, c.changed)
				for name := range c.changed {
					// What becomes a link is no file any more.
					if file, isLink := strings.CutSuffix(name, "@"); isLink {
						delete(after, file)
					}
				}
				commit := identify(tree(after))
				again, err := renderer.Render(t.Context(), pick(commit, knows), "o")
				if knows {
					assert.Equal(t, len(*commit.reads) == 0, c.skipped, "read %v", *commit.reads)
				}
				if name == "a second kustomization" {
					assert.ErrorContains(t, err, "several kustomization files")
					return
				}
				assert.NilError(t, err)
				fresh, err := newRenderer().Render(t.Context(), pick(commit, knows), "o")
				assert.NilError(t, err)
				assert.DeepEqual(t, names(again), names(fresh))
			})
		}
	}
}

func asTree(files map[string]string, knows bool) reconciler.Tree {
	return pick(identify(tree(files)), knows)
}

func pick(commit identified, knows bool) reconciler.Tree {
	if knows {
		return commit
	}
	return commit.MapFS
}

func names(objects []reconciler.Object) []string {
	var all []string
	for _, o := range objects {
		all = append(all, o.GetKind()+" "+o.GetName()+" "+o.Origin)
	}
	return all
}

// Two repositories with an overlay at the same path do not disturb each other.
func TestMemoTellsRepositoriesApart(t *testing.T) {
	renderer := newRenderer()
	for range 3 {
		for _, name := range []string{"one", "two"} {
			objects, err := renderer.Render(t.Context(), asTree(map[string]string{"kustomization.yaml": "resources: [a.yaml]", "a.yaml": configMap(name)}, true), ".")
			assert.NilError(t, err)
			assert.Equal(t, objects[0].GetName(), name)
		}
	}
}

// The memo stays within its bound and can be switched off.
func TestMemoIsBounded(t *testing.T) {
	for _, limit := range []int64{-1, 100} {
		renderer := start(render.Options{Memo: limit})
		for range 2 {
			commit := identify(tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]", "a.yaml": configMap("a")}))
			_, err := renderer.Render(t.Context(), commit, ".")
			assert.NilError(t, err)
			assert.Equal(t, len(*commit.reads), 2)
		}
	}
}

// Nobody else's objects change when variables are put into a render.
func TestSharedObjectsStayAsTheyAre(t *testing.T) {
	renderer := newRenderer()
	commit := identify(tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": strings.Replace(configMap("a"), "a: b", "a: ${B}", 1)}))
	first, err := renderer.Render(t.Context(), commit, ".")
	assert.NilError(t, err)
	put, err := render.Substitute(first, map[string]string{"B": "c"})
	assert.NilError(t, err)
	assert.DeepEqual(t, put[0].Object["data"], map[string]any{"a": "c"})
	again, err := renderer.Render(t.Context(), commit, ".")
	assert.NilError(t, err)
	assert.DeepEqual(t, again[0].Object["data"], map[string]any{"a": "${B}"})
	assert.Assert(t, again[0].Unstructured == first[0].Unstructured, "a render that was remembered is not copied")
	again[0] = reconciler.Object{}
	last, err := renderer.Render(t.Context(), commit, ".")
	assert.NilError(t, err)
	assert.Equal(t, last[0].GetName(), "a", "the slice is the caller's")
}
