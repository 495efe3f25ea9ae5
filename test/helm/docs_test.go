package helm_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	sigsyaml "sigs.k8s.io/yaml"
)

const root = "../.."

var (
	goTest     = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	named      = regexp.MustCompile("`(Test\\w+)`")
	registered = regexp.MustCompile(`f\.(?:gauge|counter|histogram)\("(\w+)"`)
	series     = regexp.MustCompile("`((?:lockstep)?_[a-z_]+)`")
	yamlBlock  = regexp.MustCompile("(?s)```yaml\n(.*?)```")
)

func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	assert.NilError(t, err)
	return string(content)
}

// Each row of the catalogue of failures names tests that exist.
func TestTheCatalogueNamesTestsThatExist(t *testing.T) {
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, match := range goTest.FindAllSubmatch(content, -1) {
			known[string(match[1])] = true
		}
		return err
	})
	assert.NilError(t, err)
	rows := 0
	for line := range strings.Lines(readText(t, "docs/FAILURES.md")) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || strings.HasPrefix(line, "| row") || strings.HasPrefix(line, "| ---") {
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(cells[3], -1)
		assert.Check(t, len(tests) > 0, "no test: %s", line)
		for _, test := range tests {
			assert.Check(t, known[test[1]], "no such test: %s", test[1])
		}
	}
	assert.Assert(t, rows > 40, "only %d rows were found", rows)
}

// The README and docs/METRICS.md list the series that exist, all and no others.
func TestDocumentsListTheSeriesThatExist(t *testing.T) {
	var want []string
	for _, match := range registered.FindAllStringSubmatch(readText(t, "reconciler/metrics/metrics.go"), -1) {
		want = append(want, "lockstep_"+match[1])
	}
	slices.Sort(want)
	assert.Assert(t, len(want) > 10, "only %v were found", want)
	for _, document := range []string{"README.md", "docs/METRICS.md"} {
		assert.DeepEqual(t, listed(readText(t, document)), want)
	}
}

// listed are the series in the tables of a document. A name that begins with
// an underscore takes the place of the last word of the one before it.
func listed(document string) []string {
	var out []string
	for line := range strings.Lines(document) {
		first, _, found := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !found || !strings.HasPrefix(line, "| `lockstep_") {
			continue
		}
		stem := ""
		for _, match := range series.FindAllStringSubmatch(first, -1) {
			name := match[1]
			if strings.HasPrefix(name, "_") {
				name = stem + name
			} else {
				stem = name[:strings.LastIndex(name, "_")]
			}
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// The Release of the README is what the API server takes, field for field. It
// is tried against a copy of the definition in a group of its own, so that
// nothing that runs on the cluster meets it.
func TestTheReleaseOfTheReadmeIsTaken(t *testing.T) {
	s := connect(t)
	example := readmeRelease(t)
	group := s.defineCopy(t)
	example.SetAPIVersion(group.Group + "/" + group.Version)
	example.SetNamespace("default")
	assert.NilError(t, s.dryCreate(t, group, example))

	assert.NilError(t, unstructured.SetNestedField(example.Object, "yes", "spec", "source", "brunch"))
	assert.ErrorContains(t, s.dryCreate(t, group, example), "brunch")
}

func readmeRelease(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	for _, block := range yamlBlock.FindAllStringSubmatch(readText(t, "README.md"), -1) {
		object := map[string]any{}
		assert.NilError(t, sigsyaml.UnmarshalStrict([]byte(block[1]), &object))
		if object["kind"] == "Release" {
			return &unstructured.Unstructured{Object: object}
		}
	}
	t.Fatal("README.md has no Release")
	return nil
}

// defineCopy makes the definition of Releases in another group, until the test ends.
func (s *server) defineCopy(t *testing.T) schema.GroupVersionResource {
	t.Helper()
	group := "readme-" + strings.ToLower(t.Name()) + ".lockstep.test"
	text := strings.ReplaceAll(readText(t, "charts/lockstep/crds/lockstep.dev_releases.yaml"), "name: releases.lockstep.dev", "name: releases."+group)
	text = strings.ReplaceAll(text, "group: lockstep.dev", "group: "+group)
	objects, err := decode(strings.NewReader(text))
	assert.NilError(t, err)
	assert.Equal(t, len(objects), 1)
	// Their short names would be taken.
	unstructured.RemoveNestedField(objects[0].Object, "spec", "names", "shortNames")
	unstructured.RemoveNestedField(objects[0].Object, "spec", "names", "categories")
	body, err := json.Marshal(objects[0])
	assert.NilError(t, err)
	definitions := s.client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	force := true
	_, err = definitions.Patch(t.Context(), objects[0].GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "helm-test", Force: &force})
	assert.NilError(t, err)
	t.Cleanup(func() {
		assert.NilError(t, definitions.Delete(context.WithoutCancel(t.Context()), objects[0].GetName(), metav1.DeleteOptions{}))
	})
	return schema.GroupVersionResource{Group: group, Version: "v1alpha1", Resource: "releases"}
}

// dryCreate waits until a kind is served and asks for an object of it, dry.
func (s *server) dryCreate(t *testing.T, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	t.Helper()
	var refused error
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		_, refused = s.client.Resource(resource).Namespace(object.GetNamespace()).Create(t.Context(), object,
			metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsNotFound(refused) {
			return poll.Continue("%v", refused)
		}
		return poll.Success()
	}, poll.WithTimeout(20*time.Second))
	return refused
}
