package cluster_test

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// manifest is a Release with the given lines below spec.source.
func manifest(source ...string) string {
	return `
apiVersion: lockstep.dev/v1alpha1
kind: Release
metadata: {name: web}
spec:
  serviceAccountName: deployer
  source:
    ` + strings.Join(source, "\n    ") + "\n"
}

// TestReleaseIsValidated covers P12: a wrong field is refused when it is
// written, by name, and not found out by the daemon.
func TestReleaseIsValidated(t *testing.T) {
	controlplane.InstallCRD(t)
	w := newWorld(t)
	const url, path = "url: https://git.example/team/shop.git", "path: deploy/production"
	for name, test := range map[string]struct {
		manifest string
		fields   []string
	}{
		"an interval under five seconds": {
			manifest(url, path, "interval: 4s"), []string{"spec.source.interval", "interval must be at least 5s"},
		},
		"an interval over a day": {
			manifest(url, path, "interval: 25h"), []string{"spec.source.interval", "interval must be at most 24h"},
		},
		"an interval that is no duration": {manifest(url, path, "interval: 1x"), []string{"spec.source.interval"}},
		"an absolute path": {
			manifest(url, "path: /deploy"), []string{"spec.source.path", "path must be relative to the top of the repository"},
		},
		"a path that climbs": {
			manifest(url, "path: deploy/../../etc"), []string{"spec.source.path", "path must not contain '..'"},
		},
		"a user in the address": {
			manifest("url: https://bob@git.example/shop.git", path), []string{"spec.source.url", "url must not hold a user or password"},
		},
		"a password in an ssh address": {
			manifest("url: ssh://git:pw@git.example/shop.git", path), []string{"spec.source.url", "url must not hold a password"},
		},
		"a local address": {manifest("url: /srv/git/shop.git", path), []string{"spec.source.url", "url must look like"}},
		"an option as branch": {
			manifest(url, path, "branch: --upload-pack=x"), []string{"spec.source.branch", "branch must be a git branch name"},
		},
		"two wrong fields are told at once": {
			manifest(url, "path: /deploy", "interval: 1s"),
			[]string{"spec.source.path", "spec.source.interval", "interval must be at least 5s"},
		},
		"no account": {
			strings.Replace(manifest(url, path), "deployer", "''", 1), []string{"spec.serviceAccountName"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.releases().Create(t.Context(), object(t, "", test.manifest).Unstructured, metav1.CreateOptions{})
			assert.Assert(t, apierrors.IsInvalid(err), "%v", err)
			for _, field := range test.fields {
				assert.ErrorContains(t, err, field)
			}
		})
	}
}

func TestReleaseWithALongNameIsRefused(t *testing.T) {
	controlplane.InstallCRD(t)
	w := newWorld(t)
	long := object(t, "", manifest("url: https://git.example/shop.git", "path: deploy"))
	long.SetName(strings.Repeat("a", 64))
	_, err := w.releases().Create(t.Context(), long.Unstructured, metav1.CreateOptions{})
	assert.Assert(t, apierrors.IsInvalid(err), "%v", err)
	assert.ErrorContains(t, err, "at most 63 characters")
}

func TestReleaseGetsItsDefaults(t *testing.T) {
	controlplane.InstallCRD(t)
	w := newWorld(t)
	created, err := w.releases().Create(t.Context(), object(t, "", manifest(
		"url: https://git.example/shop.git", "path: deploy",
	)+`
  databases:
    - name: shop
      secretRef: {name: shop-db}
      migrations: {path: migrations}
  verify:
    http: [{service: web, port: 80}]
`).Unstructured, metav1.CreateOptions{})
	assert.NilError(t, err)
	got := typed[v1alpha1.Release](t, created).Spec
	duration := func(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }
	assert.DeepEqual(t, got, v1alpha1.ReleaseSpec{
		Source: v1alpha1.Source{
			URL: "https://git.example/shop.git", Path: "deploy", Interval: duration(30 * time.Second),
		},
		ServiceAccountName: "deployer",
		Databases: []v1alpha1.Database{{
			Name: "shop", SecretRef: v1alpha1.SecretReference{Name: "shop-db"},
			Migrations: &v1alpha1.Migrations{Tool: "golang-migrate", Path: "migrations"},
			Guard:      v1alpha1.Guard{LockTimeout: duration(2 * time.Second), StatementTimeout: duration(15 * time.Minute), Attempts: 5},
		}},
		Rollout: v1alpha1.Rollout{Timeout: duration(5 * time.Minute)},
		Verify: v1alpha1.Verify{HTTP: []v1alpha1.HTTPCheck{{
			Service: "web", Port: 80, Path: "/", Expect: v1alpha1.HTTPExpectation{Status: 200},
		}}},
		Prune: new(true), DeletionPolicy: "orphan", Drift: v1alpha1.Drift{Mode: "correct"},
	})
}

// TestEmptyAccountIsRefused covers CVE-2026-23990 of another tool: an empty
// account would impersonate nobody and act as the daemon.
func TestEmptyAccountIsRefused(t *testing.T) {
	w := newWorld(t)
	for name, account := range map[string]string{"empty": "", "blank": "  "} {
		t.Run(name, func(t *testing.T) {
			release := w.release.DeepCopy()
			release.Spec.ServiceAccountName = account
			_, err := w.cluster.As(release)
			assert.ErrorContains(t, err, "spec.serviceAccountName is empty")
			assert.Assert(t, reconciler.IsTerminal(err))
			assert.Equal(t, reconciler.ReasonOf(err, ""), "ServiceAccountMissing")
		})
	}
}

// storedRelease makes a Release in the API and returns it as the daemon reads it.
func storedRelease(t *testing.T, client dynamic.ResourceInterface, name string) *v1alpha1.Release {
	t.Helper()
	made := object(t, "", manifest("url: https://git.example/shop.git", "path: deploy"))
	made.SetName(name)
	created, err := client.Create(t.Context(), made.Unstructured, metav1.CreateOptions{})
	assert.NilError(t, err)
	return typed[v1alpha1.Release](t, created)
}
