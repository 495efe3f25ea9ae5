package cluster_test

import (
	"log/slog"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/yaml"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// patience bounds every wait for the real API server.
const patience = 30 * time.Second

// world is a namespace of a real API server with a tenant in it.
type world struct {
	namespace string
	kube      *kubernetes.Clientset
	dynamic   dynamic.Interface
	cluster   *cluster.Cluster
	release   *v1alpha1.Release
	tenant    reconciler.Tenant
	warnings  *recordedWarnings
}

// newWorld makes a namespace in which the account of the Release holds the
// rights of the example Role.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, controlplane.DeployerRules(t)...)
}

func newWorldWith(t *testing.T, rules ...rbacv1.PolicyRule) *world {
	t.Helper()
	w := &world{
		kube:     controlplane.Client(t),
		dynamic:  controlplane.Dynamic(t),
		warnings: &recordedWarnings{},
	}
	w.namespace = controlplane.Namespace(t)
	w.release = &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: w.namespace, UID: "11111111-2222-3333-4444-555555555555"},
		Spec:       v1alpha1.ReleaseSpec{ServiceAccountName: controlplane.Tenant(t, w.namespace, rules...)},
	}
	var err error
	w.cluster, err = cluster.New(cluster.Options{
		Config: controlplane.Config(t), Image: "lockstep.example/lockstep:test",
		Log: slog.New(w.warnings), Events: events.NewFakeRecorder(100),
	})
	assert.NilError(t, err)
	w.tenant = w.as(t)
	return w
}

// as is a new view of the tenant, as each pass gets one.
func (w *world) as(t *testing.T) reconciler.Tenant {
	t.Helper()
	tenant, err := w.cluster.As(w.release)
	assert.NilError(t, err)
	return tenant
}

func (w *world) configMaps() dynamic.ResourceInterface {
	return w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(w.namespace)
}

func (w *world) deployments() dynamic.ResourceInterface {
	return w.dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(w.namespace)
}

func (w *world) releases() dynamic.ResourceInterface {
	return w.dynamic.Resource(v1alpha1.Resource()).Namespace(w.namespace)
}

// mergePatch changes an object by hand, as an administrator.
func mergePatch(t *testing.T, client dynamic.ResourceInterface, name, body string, subresources ...string) *unstructured.Unstructured {
	t.Helper()
	live, err := client.Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresources...)
	assert.NilError(t, err)
	return live
}

// object reads a manifest; its origin is the file name.
func object(t *testing.T, origin, manifest string) reconciler.Object {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(manifest))
	assert.NilError(t, err)
	u := &unstructured.Unstructured{}
	assert.NilError(t, u.UnmarshalJSON(body))
	return reconciler.Object{Unstructured: u, Origin: origin}
}

// configMap is a manifest that is right.
func configMap(t *testing.T, name string) reconciler.Object {
	t.Helper()
	return object(t, name+".yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: "+name+"}, data: {a: '1'}}")
}

// deployment is a manifest of two replicas.
func deployment(t *testing.T, name, image string) reconciler.Object {
	t.Helper()
	return object(t, name+".yaml", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: `+name+`}
spec:
  replicas: 2
  selector: {matchLabels: {app: `+name+`}}
  template:
    metadata: {labels: {app: `+name+`}}
    spec:
      containers:
        - {name: main, image: `+image+`}
`)
}

// typed converts what the untyped client read.
func typed[T any](t *testing.T, u *unstructured.Unstructured) *T {
	t.Helper()
	out := new(T)
	assert.NilError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out))
	return out
}
