package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/golden"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// overlay is a small repository: an overlay on a base, with a variable.
func overlay() map[string]string {
	return map[string]string{
		"base/kustomization.yaml":       "resources: [settings.yaml]\n",
		"base/settings.yaml":            "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {host: '${HOST:=localhost}', plain: 'yes'}}\n",
		"overlay/kustomization.yaml":    "resources: [../base]\nnamePrefix: my-\n",
		"escaping/kustomization.yaml":   "resources: [../../elsewhere]\n",
		"misspelled/kustomization.yaml": "resource: [../base]\n",
	}
}

// checkout writes files into a folder that looks like a git repository.
func checkout(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	assert.NilError(t, os.Mkdir(filepath.Join(folder, ".git"), 0o700))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(folder, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		assert.NilError(t, os.WriteFile(path, []byte(files[name]), 0o600))
	}
	return folder
}

// run executes a command line.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestRenderOfAFolder(t *testing.T) {
	folder := checkout(t, overlay())
	link := filepath.Join(t.TempDir(), "link")
	assert.NilError(t, os.Symlink(folder, link))
	for name, args := range map[string][]string{
		"plain":        {filepath.Join(folder, "overlay")},
		"a link to it": {filepath.Join(link, "overlay")},
		"with a root":  {filepath.Join(folder, "overlay"), "--root", folder},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"render"}, args...)...)
			assert.Equal(t, code, 0, stderr)
			golden.Assert(t, stdout, "render-plain.yaml")
		})
	}
	t.Run("substituted", func(t *testing.T) {
		code, stdout, stderr := run(t, "render", filepath.Join(folder, "overlay"), "--substitute", "HOST=example.org")
		assert.Equal(t, code, 0, stderr)
		golden.Assert(t, stdout, "render-substituted.yaml")
	})
}

func TestRenderSaysWhatIsWrong(t *testing.T) {
	folder := checkout(t, overlay())
	loose := t.TempDir()
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing named":         {nil, 2, "name a folder, or a Release with --release"},
		"a folder that is not":  {[]string{filepath.Join(folder, "nope")}, 1, "no such file"},
		"a file":                {[]string{filepath.Join(folder, "base/settings.yaml")}, 1, "is a file: name the folder"},
		"no repository":         {[]string{loose}, 1, "is in no git repository: name the folder that bases may lie in with --root"},
		"a base outside":        {[]string{filepath.Join(folder, "escaping")}, 1, "escaping/kustomization.yaml: "},
		"a base above the root": {[]string{filepath.Join(folder, "overlay"), "--root", filepath.Join(folder, "overlay")}, 1, "kustomization.yaml: "},
		"a field misspelled":    {[]string{filepath.Join(folder, "misspelled")}, 1, "resource"},
		"both kinds of settings": {
			[]string{"--release", "r", "--substitute", "A=1"}, 2, "--decrypt and --substitute stand in for a Release",
		},
		"a key that is none": {
			[]string{filepath.Join(folder, "overlay"), "--decrypt", filepath.Join(folder, "base/settings.yaml")}, 1, "neither an age identity",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"render"}, test.args...)...)
			assert.Equal(t, code, test.code)
			assert.Equal(t, stdout, "")
			assert.Check(t, cmp.Contains(stderr, test.says))
		})
	}
}

// TestRenderOfARelease uses a real API server and a real git server: what the
// Release says of variables counts for what it follows and for the files here.
func TestRenderOfARelease(t *testing.T) {
	controlplane.InstallCRD(t)
	namespace := controlplane.Namespace(t)
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", overlay())
	_, err := controlplane.Client(t).CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "variables"}, Data: map[string]string{"HOST": "cluster.example"},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	release := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersionKind().GroupVersion().String(), "kind": "Release",
		"metadata": map[string]any{"name": "app"},
		"spec": map[string]any{
			"serviceAccountName": "nobody",
			"source":             map[string]any{"url": origin.URL, "branch": "main", "path": "overlay"},
			"substituteFrom":     []any{map[string]any{"kind": "ConfigMap", "name": "variables"}},
		},
	}}
	_, err = controlplane.Dynamic(t).Resource(v1alpha1.Resource()).Namespace(namespace).Create(t.Context(), release, metav1.CreateOptions{})
	assert.NilError(t, err)
	cluster := []string{"--kubeconfig", os.Getenv(controlplane.Variable), "-n", namespace, "--release", "app"}

	code, stdout, stderr := run(t, append([]string{"render"}, cluster...)...)
	assert.Equal(t, code, 0, stderr)
	assert.Check(t, cmp.Contains(stdout, "host: cluster.example\n  plain: \"yes\"\n"))

	folder := checkout(t, overlay())
	changed := strings.ReplaceAll(overlay()["base/settings.yaml"], "'yes'", "changed")
	assert.NilError(t, os.WriteFile(filepath.Join(folder, "base/settings.yaml"), []byte(changed), 0o600))
	code, stdout, stderr = run(t, append([]string{"render", filepath.Join(folder, "overlay")}, cluster...)...)
	assert.Equal(t, code, 0, stderr)
	assert.Check(t, cmp.Contains(stdout, "host: cluster.example\n  plain: changed\n"))

	code, _, stderr = run(t, "render", "--kubeconfig", os.Getenv(controlplane.Variable), "-n", namespace, "--release", "other")
	assert.Equal(t, code, 1)
	assert.Check(t, cmp.Contains(stderr, "there is no Release other in namespace "+namespace))
}
