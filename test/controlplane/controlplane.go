// Package controlplane gives tests a real Kubernetes API server: namespaces
// of their own, the definition of Release, and ServiceAccounts with few rights.
package controlplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler/verdict"
)

// Variable of the environment that names the kubeconfig of an administrator
// of the API server under test.
const Variable = "LOCKSTEP_TEST_KUBECONFIG"

// ServiceAccount is the name of the account that Tenant makes.
const ServiceAccount = "deployer"

// cleanupTimeout bounds the clean-up, which outlives the context of the test.
const cleanupTimeout = 10 * time.Second

// Config reads the kubeconfig of the API server under test. Without one, the
// test is skipped on a desk and fails under CI, where a silent skip would
// hide that nothing is tested.
func Config(t testing.TB) *rest.Config {
	t.Helper()
	path := os.Getenv(Variable)
	if path == "" {
		const reason = "set " + Variable + ": `make test` does"
		if os.Getenv("CI") != "" {
			t.Fatal(reason)
		}
		t.Skip("reason: " + reason)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	assert.NilError(t, err, "kubeconfig of %s", Variable)
	config.QPS, config.Burst = 200, 400
	return config
}

// Client returns typed clients with the rights of an administrator.
func Client(t testing.TB) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(Config(t))
	assert.NilError(t, err)
	return client
}

// Dynamic returns an untyped client with the rights of an administrator.
func Dynamic(t testing.TB) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(Config(t))
	assert.NilError(t, err)
	return client
}

// Namespace makes a namespace that lives as long as the test, and waits for
// what Kubernetes itself puts into a new one.
func Namespace(t testing.TB) string {
	t.Helper()
	client := Client(t)
	made, err := client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "lockstep-test-"}}, metav1.CreateOptions{})
	assert.NilError(t, err)
	Cleanup(t, "namespace "+made.Name, func(ctx context.Context) error {
		return client.CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{})
	})
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		_, err := client.CoreV1().ServiceAccounts(made.Name).Get(t.Context(), "default", metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return poll.Continue("no ServiceAccount default in %s yet", made.Name)
		case err != nil:
			return poll.Error(err)
		}
		return poll.Success()
	}, poll.WithTimeout(30*time.Second))
	return made.Name
}

// Cleanup deletes something when the test ends. That it is gone already is
// what is wanted; every other error is told.
func Cleanup(t testing.TB, what string, remove func(context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), cleanupTimeout)
		defer cancel()
		if err := remove(ctx); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("clean up %s: %v", what, err)
		}
	})
}

// InstallCRD applies the definition of Release from the manifests and waits
// until the API serves it. It stays, for the tests that run beside.
func InstallCRD(t testing.TB) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(moduleRoot(t), "manifests", "crd", "lockstep.dev_releases.yaml"))
	assert.NilError(t, err)
	body, err := yaml.YAMLToJSON(content)
	assert.NilError(t, err)
	definitions := Dynamic(t).Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
	force := true
	applied, err := definitions.Patch(t.Context(), "releases.lockstep.dev", types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: "lockstep-test", Force: &force})
	assert.NilError(t, err)
	Await(t, definitions, applied)
}

// Await waits until an object is done.
func Await(t testing.TB, client dynamic.ResourceInterface, object *unstructured.Unstructured) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		live, err := client.Get(t.Context(), object.GetName(), metav1.GetOptions{})
		if err != nil {
			return poll.Error(err)
		}
		if judged := verdict.Of(live); judged.State != verdict.Done {
			return poll.Continue("%s %s: %s", live.GetKind(), live.GetName(), judged.Message)
		}
		return poll.Success()
	}, poll.WithTimeout(30*time.Second))
}

// Tenant makes the ServiceAccount, and a Role and a RoleBinding that give it
// the rules in this namespace. It returns the name of the account.
func Tenant(t testing.TB, namespace string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	client := Client(t)
	meta := metav1.ObjectMeta{Name: ServiceAccount, Namespace: namespace}
	_, err := client.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	assert.NilError(t, err)
	_, err = client.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	assert.NilError(t, err)
	_, err = client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: ServiceAccount},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: ServiceAccount, Namespace: namespace}},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	if len(rules) > 0 {
		awaitRight(t, client, namespace, rules[0])
	}
	return ServiceAccount
}

// awaitRight waits until the API server knows of a right: a Role is in force a
// moment after it was made.
func awaitRight(t testing.TB, client *kubernetes.Clientset, namespace string, rule rbacv1.PolicyRule) {
	t.Helper()
	if len(rule.APIGroups) == 0 || len(rule.Resources) == 0 || len(rule.Verbs) == 0 {
		return
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + namespace + ":" + ServiceAccount,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Group: rule.APIGroups[0], Resource: rule.Resources[0], Verb: rule.Verbs[0],
		},
	}}
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
		switch {
		case err != nil:
			return poll.Error(err)
		case !answer.Status.Allowed:
			return poll.Continue("the Role is not in force yet")
		}
		return poll.Success()
	}, poll.WithTimeout(30*time.Second), poll.WithDelay(20*time.Millisecond))
}

// moduleRoot is the folder with go.mod, above the package under test.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	assert.NilError(t, err)
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir || !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("no go.mod above the working directory: %v", err)
		}
		dir = parent
	}
}

// DeployerRules are the rules of the Role in the manifests that are given to
// tenants as an example, so that the tests show whether they suffice.
func DeployerRules(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(moduleRoot(t), "manifests", "tenant", "deployer.yaml"))
	assert.NilError(t, err)
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		role := &rbacv1.Role{}
		assert.NilError(t, yaml.Unmarshal([]byte(document), role))
		if role.Kind == "Role" {
			return role.Rules
		}
	}
	t.Fatal("manifests/tenant/deployer.yaml holds no Role")
	return nil
}
