package helm_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

const (
	chartDir     = "../../charts/lockstep"
	manifestsDir = "../../manifests"
	namespace    = "lockstep-system"
	newestKube   = "v1.37.0"
)

type values = map[string]any

// render does what `helm template` does, and returns the notes beside.
func render(set values) (objects []*unstructured.Unstructured, notes string, err error) {
	loaded, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, "", err
	}
	version, err := chartutil.ParseKubeVersion(newestKube)
	if err != nil {
		return nil, "", err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	options := chartutil.ReleaseOptions{Name: "lockstep", Namespace: namespace, Revision: 1, IsInstall: true}
	complete, err := chartutil.ToRenderValues(loaded, set, options, capabilities)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Engine{Strict: true}.Render(loaded, complete)
	if err != nil {
		return nil, "", err
	}
	for name, content := range files {
		if filepath.Base(name) == "NOTES.txt" {
			notes = content
			continue
		}
		found, err := decode(strings.NewReader(content))
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
		objects = append(objects, found...)
	}
	return objects, notes, nil
}

func rendered(t *testing.T, set values) map[string]*unstructured.Unstructured {
	t.Helper()
	objects, _, err := render(set)
	assert.NilError(t, err)
	return byID(t, objects)
}

// decode reads the documents of a YAML file. A key that is there twice is an error.
func decode(from io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	documents := yaml.NewYAMLReader(bufio.NewReader(from))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object := map[string]any{}
		if err := sigsyaml.UnmarshalStrict(document, &object); err != nil {
			return nil, err
		}
		if len(object) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: object})
		}
	}
}

// manifests reads the files that the kustomization of manifests lists.
func manifests(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	var kustomization struct{ Resources []string }
	content, err := os.ReadFile(filepath.Join(manifestsDir, "kustomization.yaml"))
	assert.NilError(t, err)
	assert.NilError(t, sigsyaml.Unmarshal(content, &kustomization))
	var objects []*unstructured.Unstructured
	for _, file := range kustomization.Resources {
		content, err := os.ReadFile(filepath.Join(manifestsDir, file))
		assert.NilError(t, err)
		found, err := decode(bytes.NewReader(content))
		assert.NilError(t, err, file)
		objects = append(objects, found...)
	}
	return byID(t, objects)
}

func byID(t *testing.T, objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		id := strings.TrimSpace(object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName())
		assert.Assert(t, all[id] == nil, "%s is there twice", id)
		all[id] = object
	}
	return all
}

func field[T any](t *testing.T, object *unstructured.Unstructured, path ...string) T {
	t.Helper()
	value, found, err := unstructured.NestedFieldNoCopy(object.Object, path...)
	assert.NilError(t, err)
	assert.Assert(t, found, "%s has no %s", object.GetKind(), strings.Join(path, "."))
	typed, ok := value.(T)
	assert.Assert(t, ok, "%s is a %T", strings.Join(path, "."), value)
	return typed
}

// container returns the one container of a Deployment.
func container(t *testing.T, deployment *unstructured.Unstructured) map[string]any {
	t.Helper()
	list := field[[]any](t, deployment, "spec", "template", "spec", "containers")
	assert.Equal(t, len(list), 1)
	only, ok := list[0].(map[string]any)
	assert.Assert(t, ok)
	return only
}
