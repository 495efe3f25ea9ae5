package helm_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// changed sets every value to something else than its default.
func changed() values {
	return values{
		"image":          values{"repository": "registry.invalid/team/lockstep", "tag": "v1.2.3", "pullPolicy": "Always"},
		"replicas":       1,
		"resources":      values{"requests": values{"cpu": "1"}, "limits": values{"memory": "1Gi"}},
		"logFormat":      "text",
		"logLevel":       "debug",
		"workers":        40,
		"podAnnotations": values{"prometheus.io/scrape": nil, "prometheus.io/port": nil, "example.com/team": "a"},
		"nodeSelector":   values{"kubernetes.io/os": "linux"},
		"tolerations":    []any{values{"key": "control", "operator": "Exists", "effect": "NoSchedule"}},
		"serviceMonitor": values{"enabled": true},
	}
}

func TestLintFindsNothing(t *testing.T) {
	version, err := chartutil.ParseKubeVersion(newestKube)
	assert.NilError(t, err)
	for name, set := range map[string]values{"default values": {}, "changed values": changed()} {
		t.Run(name, func(t *testing.T) {
			for _, message := range lint.AllWithKubeVersion(chartDir, set, namespace, version).Messages {
				if message.Severity > support.InfoSev {
					t.Error(message)
				}
			}
		})
	}
}

// The chart and `kubectl apply -k manifests` install the same. The Namespace
// is made by Helm itself and the CustomResourceDefinition lies in crds.
func TestDefaultValuesRenderTheManifests(t *testing.T) {
	want, got := manifests(t), rendered(t, nil)
	for id, object := range want {
		if kind := object.GetKind(); kind == "Namespace" || kind == "CustomResourceDefinition" {
			delete(want, id)
		}
	}
	for id, object := range got {
		assert.Assert(t, want[id] != nil, "%s is in the chart only", id)
		withoutHelm(t, object)
		assert.DeepEqual(t, object.Object, want[id].Object)
	}
	for id := range want {
		assert.Assert(t, got[id] != nil, "%s is in manifests only", id)
	}
}

// A shard has names, a Lease and a selector of its own, and the right to that
// Lease.
func TestShardsStandBesideOneAnother(t *testing.T) {
	all := rendered(t, nil)
	shard := rendered(t, values{"shard": values{"name": "a", "selector": "shard=a"}})
	assert.Equal(t, len(shard), len(all))
	for id := range shard {
		assert.Assert(t, all[id] == nil, "%s belongs to both", id)
	}
	text := encoded(t, shard)
	for _, want := range []string{`"--lease=lockstep-a"`, `"--watch-selector=shard=a"`, `"resourceNames":["lockstep-a"]`} {
		assert.Check(t, strings.Contains(text, want), "%s is missing", want)
	}
	assert.Check(t, !strings.Contains(encoded(t, all), "--watch-selector"))
}

func encoded(t *testing.T, objects map[string]*unstructured.Unstructured) string {
	t.Helper()
	var out strings.Builder
	for _, object := range objects {
		text, err := object.MarshalJSON()
		assert.NilError(t, err)
		out.Write(text)
	}
	return out.String()
}

// withoutHelm takes out what only the chart says: its labels, and the flags
// whose defaults are also those of the program.
func withoutHelm(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	labels := object.GetLabels()
	assert.Equal(t, labels["app.kubernetes.io/managed-by"], "Helm")
	assert.Equal(t, labels["app.kubernetes.io/name"], "lockstep")
	delete(labels, "app.kubernetes.io/managed-by")
	delete(labels, "helm.sh/chart")
	if !strings.HasPrefix(object.GetAPIVersion(), "apps/") && object.GetKind() != "Service" {
		delete(labels, "app.kubernetes.io/name")
	}
	if len(labels) == 0 {
		labels = nil
	}
	object.SetLabels(labels)
	if object.GetKind() != "Deployment" {
		return
	}
	only := container(t, object)
	args, ok := only["args"].([]any)
	assert.Assert(t, ok)
	for _, flag := range []string{"--workers=20", "--log-format=json", "--log-level=info"} {
		assert.Assert(t, slices.Contains(args, any(flag)), "no %s in %v", flag, args)
		args = slices.DeleteFunc(args, func(arg any) bool { return arg == flag })
	}
	only["args"] = args
}

func TestEachValueHasItsEffect(t *testing.T) {
	objects := rendered(t, changed())
	deployment := objects["Deployment lockstep-system/lockstep"]
	assert.Assert(t, deployment != nil)
	assert.Equal(t, field[float64](t, deployment, "spec", "replicas"), 1.0)
	assert.DeepEqual(t, field[map[string]any](t, deployment, "spec", "template", "metadata", "annotations"), values{"example.com/team": "a"})
	pod := field[map[string]any](t, deployment, "spec", "template", "spec")
	assert.DeepEqual(t, pod["nodeSelector"], any(values{"kubernetes.io/os": "linux"}))
	assert.DeepEqual(t, pod["tolerations"], any([]any{values{"key": "control", "operator": "Exists", "effect": "NoSchedule"}}))
	only := container(t, deployment)
	assert.Equal(t, only["image"], "registry.invalid/team/lockstep:v1.2.3")
	assert.Equal(t, only["imagePullPolicy"], "Always")
	assert.DeepEqual(t, only["resources"], any(values{
		"requests": values{"cpu": "1", "memory": "64Mi"}, "limits": values{"memory": "1Gi"},
	}))
	assert.DeepEqual(t, only["args"], any([]any{
		"run", "--namespace=$(POD_NAMESPACE)", "--identity=$(POD_NAME)",
		"--migrate-image=registry.invalid/team/lockstep:v1.2.3", "--workers=40", "--log-format=text", "--log-level=debug",
	}))
	monitor := objects["ServiceMonitor lockstep-system/lockstep"]
	assert.Assert(t, monitor != nil)
	service := objects["Service lockstep-system/lockstep"]
	assert.DeepEqual(t, field[map[string]any](t, monitor, "spec", "selector", "matchLabels"),
		field[map[string]any](t, service, "spec", "selector"))
}

func TestWrongValuesAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		set  values
		want string
	}{
		"an unknown value":          {values{"replica": 3}, "replica"},
		"an unknown log level":      {values{"logLevel": "loud"}, "logLevel"},
		"an unknown log format":     {values{"logFormat": "xml"}, "logFormat"},
		"no workers":                {values{"workers": 0}, "workers"},
		"workers in words":          {values{"workers": "ten"}, "workers"},
		"an unknown pull policy":    {values{"image": values{"pullPolicy": "Often"}}, "pullPolicy"},
		"an image without tag":      {values{"image": values{"tag": ""}}, "tag"},
		"an annotation that counts": {values{"podAnnotations": values{"a": 1}}, "podAnnotations"},
		"a toleration in a mapping": {values{"tolerations": values{"key": "a"}}, "tolerations"},
		"a monitor that is neither": {values{"serviceMonitor": values{"enabled": "yes"}}, "serviceMonitor"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := render(test.set)
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestNotesNameTheNamespace(t *testing.T) {
	_, notes, err := render(nil)
	assert.NilError(t, err)
	assert.Assert(t, is.Contains(notes, "kubectl -n lockstep-system rollout status deployment/lockstep"))
}

func TestTheDefinitionOfReleasesIsThatOfTheManifests(t *testing.T) {
	const file = "lockstep.dev_releases.yaml"
	want, err := os.ReadFile(filepath.Join(manifestsDir, "crd", file))
	assert.NilError(t, err)
	got, err := os.ReadFile(filepath.Join(chartDir, "crds", file))
	assert.NilError(t, err)
	assert.Assert(t, string(got) == string(want), "copy manifests/crd/%s to charts/lockstep/crds", file)
	loaded, err := loader.LoadDir(chartDir)
	assert.NilError(t, err)
	assert.Equal(t, len(loaded.CRDObjects()), 1)
}

func TestVersionsOfKubernetes(t *testing.T) {
	loaded, err := loader.LoadDir(chartDir)
	assert.NilError(t, err)
	for version, want := range map[string]bool{
		"v1.33.9": false, "v1.34.0": true, "v1.36.1+k3s1": true, "v1.37.2": true, "v1.37.0-gke.100": true,
	} {
		assert.Equal(t, chartutil.IsCompatibleRange(loaded.Metadata.KubeVersion, version), want, version)
	}
}
