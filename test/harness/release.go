package harness

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Namespace in which Unity runs.
const Namespace = "unity"

// release is what the demo delivers.
const release = `
apiVersion: lockstep.dev/v1alpha1
kind: Release
metadata:
  name: unity
  namespace: unity
spec:
  source:
    url: ` + RepositoryURL + `
    branch: ` + Branch + `
    path: kustomize/overlays/kind
    interval: 5s
    secretRef: {name: git-credentials}
  serviceAccountName: unity-deployer
  databases:
    - name: homelab_db
      secretRef: {name: unity-db}
      migrations: {path: migrations}
  rollout: {timeout: 3m}
  verify:
    http:
      - {service: unity-backend, port: 8000, path: /, expect: {status: 200, contains: Welcome to Unity}}
`

// InstallDaemon applies the manifests with the given image of the daemon.
func (c *Cluster) InstallDaemon(ctx context.Context, image Image, environment ...corev1.EnvVar) error {
	objects, err := c.Build("manifests")
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		deployment := map[string]any{"image": image.Ref}
		if err := editDaemon(object, deployment, environment); err != nil {
			return err
		}
	}
	if err := c.Apply(ctx, objects...); err != nil {
		return err
	}
	return c.RolledOut(ctx, "lockstep-system", "lockstep", 2*time.Minute)
}

func editDaemon(object *unstructured.Unstructured, set map[string]any, environment []corev1.EnvVar) error {
	containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		return fmt.Errorf("deployment of the daemon: one container expected: %w", err)
	}
	container, ok := containers[0].(map[string]any)
	if !ok {
		return fmt.Errorf("deployment of the daemon: unexpected container %T", containers[0])
	}
	maps.Copy(container, set)
	variables, _, _ := unstructured.NestedSlice(container, "env")
	for _, variable := range environment {
		variables = append(variables, map[string]any{"name": variable.Name, "value": variable.Value})
	}
	container["env"] = variables
	return unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers")
}

// InstallTenant makes the namespace of Unity, the account that delivers it,
// and the credentials of the git server.
func (c *Cluster) InstallTenant(ctx context.Context) error {
	objects, err := Parse(fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: unity}
---
apiVersion: v1
kind: Secret
metadata: {name: git-credentials, namespace: unity}
stringData: {username: %s, password: %s}
`, gitUser, gitPassword))
	if err != nil {
		return err
	}
	tenant, err := c.Build("manifests/tenant")
	if err != nil {
		return err
	}
	return c.Apply(ctx, append(objects, tenant...)...)
}

// InstallRelease makes the Release.
func (c *Cluster) InstallRelease(ctx context.Context) error {
	objects, err := Parse(release)
	if err != nil {
		return err
	}
	return c.Apply(ctx, objects...)
}

// Release reads the Release.
func (c *Cluster) Release(ctx context.Context) (*v1alpha1.Release, error) {
	object, err := c.Dynamic.Resource(v1alpha1.Resource()).Namespace(Namespace).Get(ctx, "unity", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decode(object)
}

func decode(object *unstructured.Unstructured) (*v1alpha1.Release, error) {
	out := &v1alpha1.Release{}
	return out, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, out)
}

// Poke asks the daemon to look at the branch at once.
func (c *Cluster) Poke(ctx context.Context) error {
	return c.Edit(ctx, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RequestedAtAnnotation, time.Now().Format(time.RFC3339Nano)))
}

// Edit changes the Release by a JSON merge patch.
func (c *Cluster) Edit(ctx context.Context, patch string) error {
	_, err := c.Dynamic.Resource(v1alpha1.Resource()).Namespace(Namespace).Patch(ctx, "unity", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// WaitRelease watches the Release until it is as wanted. Each state that comes
// by is shown to see, which may be nil.
func (c *Cluster) WaitRelease(ctx context.Context, limit time.Duration, see func(*v1alpha1.Release), wanted func(*v1alpha1.Release) bool) (*v1alpha1.Release, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := c.Dynamic.Resource(v1alpha1.Resource()).Namespace(Namespace)
	selector := fields.OneTermEqualSelector("metadata.name", "unity").String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = selector
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = selector
			return client.Watch(ctx, options)
		},
	}
	var last *v1alpha1.Release
	_, err := watchtools.UntilWithSync(ctx, lw, &unstructured.Unstructured{}, nil, func(event watch.Event) (bool, error) {
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			return false, nil
		}
		current, err := decode(object)
		if err != nil {
			return false, err
		}
		last = current
		if see != nil {
			see(current)
		}
		return wanted(current), nil
	})
	if err != nil {
		return last, fmt.Errorf("release is not as wanted after %s: %w; it is in %s: %s", limit, err, phaseOf(last), Message(last))
	}
	return last, nil
}

func phaseOf(release *v1alpha1.Release) string {
	if release == nil {
		return "no state"
	}
	return release.Status.Phase
}

// Message is what the condition Ready says.
func Message(release *v1alpha1.Release) string {
	if release == nil {
		return ""
	}
	for _, condition := range release.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Message
		}
	}
	return ""
}

// Settled tells whether a commit is delivered.
func Settled(commit string) func(*v1alpha1.Release) bool {
	return func(release *v1alpha1.Release) bool {
		return release.Status.LastGoodRevision == Branch+"@sha1:"+commit && release.Status.Phase == "Settled"
	}
}

// Held tells whether a commit failed for good.
func Held(commit string) func(*v1alpha1.Release) bool {
	return func(release *v1alpha1.Release) bool {
		return release.Status.HeldRevision == Branch+"@sha1:"+commit
	}
}
