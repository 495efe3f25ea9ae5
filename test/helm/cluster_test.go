package helm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"gotest.tools/v3/assert"
	is "gotest.tools/v3/assert/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfigVariable names the file that leads to a real API server. Nothing
// is left on it but the namespace lockstep-system.
const kubeconfigVariable = "LOCKSTEP_TEST_KUBECONFIG"

// server is a real API server, asked as `kubectl apply --server-side --dry-run=server` does.
type server struct {
	client dynamic.Interface
	mapper meta.RESTMapper

	mu       sync.Mutex
	warnings []string
}

// HandleWarningHeader keeps what the API server warns of.
func (s *server) HandleWarningHeader(_ int, _ string, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings = append(s.warnings, text)
}

// warned returns the warnings since it was called last.
func (s *server) warned() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	warnings := s.warnings
	s.warnings = nil
	return warnings
}

func connect(t *testing.T) *server {
	t.Helper()
	file := os.Getenv(kubeconfigVariable)
	if file == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set: name the kubeconfig of a real API server", kubeconfigVariable)
		}
		t.Skipf("reason: %s names no kubeconfig of a real API server", kubeconfigVariable)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	assert.NilError(t, err)
	s := &server{}
	config.WarningHandler = s
	s.client, err = dynamic.NewForConfig(config)
	assert.NilError(t, err)
	asked, err := discovery.NewDiscoveryClientForConfig(config)
	assert.NilError(t, err)
	groups, err := restmapper.GetAPIGroupResources(asked)
	assert.NilError(t, err)
	s.mapper = restmapper.NewDiscoveryRESTMapper(groups)
	s.warned()
	return s
}

// apply asks the API server to take an object, dry.
func (s *server) apply(ctx context.Context, object *unstructured.Unstructured) error {
	gvk := object.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	var client dynamic.ResourceInterface = s.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		client = s.client.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	force := true
	_, err = client.Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: "helm-test", Force: &force, FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll},
	})
	return err
}

// haveNamespace makes the namespace of the manifests, with the Pod Security
// level that they demand, unless it is there.
func (s *server) haveNamespace(t *testing.T) {
	t.Helper()
	wanted := manifests(t)["Namespace /"+namespace]
	assert.Assert(t, wanted != nil)
	mapping, err := s.mapper.RESTMapping(wanted.GroupVersionKind().GroupKind(), "v1")
	assert.NilError(t, err)
	_, err = s.client.Resource(mapping.Resource).Create(t.Context(), wanted, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		assert.NilError(t, err)
	}
}

func TestARealAPIServerTakesTheChart(t *testing.T) {
	s := connect(t)
	s.haveNamespace(t)
	withoutMonitor := changed()
	delete(withoutMonitor, "serviceMonitor") // Its kind is not part of Kubernetes.
	for name, set := range map[string]values{"default values": nil, "changed values": withoutMonitor} {
		t.Run(name, func(t *testing.T) {
			for id, object := range rendered(t, set) {
				assert.NilError(t, s.apply(t.Context(), object), id)
				assert.DeepEqual(t, s.warned(), []string(nil))
			}
		})
	}
	definition, err := os.ReadFile(chartDir + "/crds/lockstep.dev_releases.yaml")
	assert.NilError(t, err)
	objects, err := decode(bytes.NewReader(definition))
	assert.NilError(t, err)
	assert.Equal(t, len(objects), 1)
	assert.NilError(t, s.apply(t.Context(), objects[0]))
}

// The API server warns of a Deployment whose Pods it would refuse. That it
// does so is shown first by one that is not hardened; without this, silence
// would prove nothing.
func TestPodSecurityRestrictedHasNothingToSay(t *testing.T) {
	s := connect(t)
	s.haveNamespace(t)
	deployment := rendered(t, nil)["Deployment lockstep-system/lockstep"]
	assert.NilError(t, s.apply(t.Context(), deployment))
	assert.DeepEqual(t, s.warned(), []string(nil))

	delete(container(t, deployment), "securityContext")
	assert.NilError(t, s.apply(t.Context(), deployment))
	assert.Assert(t, is.Contains(strings.Join(s.warned(), "\n"), "restricted"))
}
