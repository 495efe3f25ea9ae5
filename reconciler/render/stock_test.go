package render_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// A piece that is taken from an earlier build changes nothing, whatever was
// edited since: each file of each overlay is changed, one after another.
func TestPiecesOfAnEarlierBuildEqualTheWhole(t *testing.T) {
	for name, c := range divided() {
		if !c.pieces {
			continue
		}
		t.Run(name, func(t *testing.T) {
			kept := &render.Kept{}
			equalsWhole(t, kept, c.files)
			equalsWhole(t, kept, c.files)
			for _, file := range slices.Sorted(maps.Keys(c.files)) {
				files := maps.Clone(c.files)
				files[file] = strings.ReplaceAll(files[file], "a: b", "a: c") + "# more\n"
				equalsWhole(t, kept, files)
			}
			equalsWhole(t, kept, c.files)
		})
	}
}

// equalsWhole builds with the pieces that were kept and tells how many of them
// were taken.
func equalsWhole(t *testing.T, kept *render.Kept, files map[string]string) int {
	t.Helper()
	want, wantErr := render.BuildWhole(tree(files), "o")
	got, taken, err := kept.Build(tree(files), "o")
	assert.Equal(t, err == nil, wantErr == nil, "with pieces: %v; as a whole: %v", err, wantErr)
	if wantErr == nil {
		assert.Equal(t, string(got), string(want))
	}
	return taken
}

// Whatever is edited from one commit to the next, a build with the pieces of
// the one before gives what a build of the whole gives.
func TestRandomEditsEqualTheWhole(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			e := &editor{Rand: rand.New(rand.NewPCG(seed, 0))}
			for i := range 12 {
				e.objects = append(e.objects, placed{fmt.Sprintf("f%d.yaml", i), fmt.Sprintf("c%d", i), i})
			}
			kept, taken := &render.Kept{}, 0
			for range 30 {
				taken += equalsWhole(t, kept, e.commit())
				e.edit()
			}
			assert.Assert(t, taken > 10, "only %d pieces were taken in 30 builds", taken)
		})
	}
}

// placed is an object in a file of its own.
type placed struct {
	file, name string
	value      int
}

// editor makes one commit after another.
type editor struct {
	*rand.Rand
	objects []placed
	fields  []string
	serial  int
}

func (e *editor) edit() {
	e.serial++
	n := e.IntN(len(e.objects))
	switch e.IntN(9) {
	case 0, 1, 2:
		e.objects[n].value = e.serial
	case 3:
		e.objects = slices.Insert(e.objects, n, placed{fmt.Sprintf("n%d.yaml", e.serial), fmt.Sprintf("n%d", e.serial), 0})
	case 4:
		if len(e.objects) > 6 {
			e.objects = slices.Delete(e.objects, n, n+1)
		}
	case 5:
		e.objects[n].file = fmt.Sprintf("r%d.yaml", e.serial)
	case 6:
		e.objects[n].name = fmt.Sprintf("r%d", e.serial)
	case 7:
		fields := []string{
			"namespace: n1\n", "commonAnnotations: {a: b}\n", "labels: [{pairs: {c: d}}]\n", "buildMetadata: [originAnnotations]\n",
			"configMapGenerator: [{name: gen, files: [data.txt]}]\n", "patches: [{path: p.yaml}]\n", "nameSuffix: -s\n",
		}
		if field := fields[e.IntN(len(fields))]; slices.Contains(e.fields, field) {
			e.fields = slices.DeleteFunc(e.fields, func(f string) bool { return f == field })
		} else {
			e.fields = append(e.fields, field)
		}
	case 8:
		// A file takes the place of another.
		e.objects[n].file, e.objects[0].file = e.objects[0].file, e.objects[n].file
	}
}

// commit is what the editor has made so far. A part of the objects is in a
// base, which is used through a link.
func (e *editor) commit() map[string]string {
	files := map[string]string{
		"o/p.yaml": configMap(e.objects[1].name) + fmt.Sprintf("  p: %q\n", fmt.Sprint(e.serial/4)), "o/data.txt": fmt.Sprint(e.serial / 3),
		"o/app.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: app}\n", "o/base@": "../base",
	}
	lists := map[string]string{"o": "resources:\n- app.yaml\n- base\n", "base": "resources:\n"}
	for i, object := range e.objects {
		folder := []string{"o", "base"}[i%2]
		files[folder+"/"+object.file] = configMap(object.name) + fmt.Sprintf("  v: %q\n", fmt.Sprint(object.value))
		lists[folder] += "- " + object.file + "\n"
	}
	files["o/kustomization.yaml"] = strings.Join(e.fields, "") + lists["o"]
	files["base/kustomization.yaml"] = lists["base"]
	return files
}

// housed is a tree of a repository with a name.
type housed struct {
	identified
	repository string
}

func (h housed) Repository() string { return h.repository }

// Renders of a changed file, by children, equal fresh ones, and pieces are kept once.
func TestRenderTakesPiecesOfTheOneBefore(t *testing.T) {
	renderer, files := newRenderer(), configMaps(300, 300)
	var last int64
	for i := range 4 {
		files["o/f150.yaml"] = configMap("c150") + fmt.Sprintf("  v: \"%d\"\n", i)
		commit := housed{identify(tree(files)), "r"}
		got, err := renderer.Render(t.Context(), commit, "o")
		assert.NilError(t, err)
		want, err := newRenderer().Render(t.Context(), commit, "o")
		assert.NilError(t, err)
		assert.DeepEqual(t, contents(got), contents(want))
		pieces, size := renderer.Stock("r", "o")
		assert.Equal(t, pieces, 3)
		if i > 0 {
			assert.Assert(t, size > last, "a render was not remembered")
		}
		last = size
	}
	other, _ := renderer.Stock("s", "o")
	assert.Equal(t, other, 0, "another repository sees these pieces")
}

func contents(objects []reconciler.Object) []map[string]any {
	var all []map[string]any
	for _, o := range objects {
		all = append(all, map[string]any{"origin": o.Origin, "object": o.Object})
	}
	return all
}

// Many repositories may have an overlay at the same path.
func TestMemoHasRoomForManyRepositories(t *testing.T) {
	renderer := newRenderer()
	for round := range 2 {
		for i := range 12 {
			name := fmt.Sprint("r", i)
			commit := identify(tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]", "a.yaml": configMap(name)}))
			objects, err := renderer.Render(t.Context(), housed{commit, name}, ".")
			assert.NilError(t, err)
			assert.Equal(t, objects[0].GetName(), name)
			assert.Equal(t, len(*commit.reads) == 0, round > 0, "read %v", *commit.reads)
		}
	}
}

// A repository that is known by another name, since its credentials are new,
// is not rendered again.
func TestRenderIsSkippedUnderAnotherName(t *testing.T) {
	renderer := newRenderer()
	for i := range 2 {
		commit := identify(tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]", "a.yaml": configMap("a")}))
		_, err := renderer.Render(t.Context(), housed{commit, fmt.Sprint("r", i)}, ".")
		assert.NilError(t, err)
		assert.Equal(t, len(*commit.reads) == 0, i > 0)
	}
}

// Old versions of an overlay are forgotten.
func TestMemoKeepsAFewVersions(t *testing.T) {
	renderer := newRenderer()
	read := func(version int) int {
		commit := identify(tree(map[string]string{"kustomization.yaml": "resources: [a.yaml]", "a.yaml": configMap(fmt.Sprint("v", version))}))
		_, err := renderer.Render(t.Context(), housed{commit, "r"}, ".")
		assert.NilError(t, err)
		return len(*commit.reads)
	}
	for version := range 9 {
		assert.Equal(t, read(version), 2)
	}
	assert.Equal(t, read(1), 0)
	assert.Equal(t, read(8), 0)
	assert.Equal(t, read(0), 2, "nine versions are kept")
}
