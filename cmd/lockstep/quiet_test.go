package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
	"github.com/lockstep-gitops/lockstep/reconciler/metrics"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// requests counts what goes to the API server, watches and discovery left out.
type requests struct {
	http.RoundTripper
	mu   sync.Mutex
	seen []string
}

func (r *requests) RoundTrip(request *http.Request) (*http.Response, error) {
	watch := request.URL.Query().Get("watch") == "true"
	discovery := strings.Count(request.URL.Path, "/") < 4 || request.URL.Path == "/openapi/v2"
	if !watch && !discovery {
		line := request.Method + " " + request.URL.Path
		if request.URL.Query().Has("dryRun") {
			line += " dry"
		}
		r.mu.Lock()
		r.seen = append(r.seen, line)
		r.mu.Unlock()
	}
	return r.RoundTripper.RoundTrip(request)
}

// take returns what came since it was called last.
func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// counted is the domain on a real API server and a real git server, with a
// count of its requests.
func counted(t *testing.T) (*reconciler.Reconciler, *cluster.Cluster, *requests) {
	t.Helper()
	seen := &requests{}
	config := controlplane.Config(t)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		seen.RoundTripper = next
		return seen
	})
	api, err := cluster.New(cluster.Options{Config: config, Log: slog.New(slog.DiscardHandler), Events: events.NewFakeRecorder(1000)})
	assert.NilError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- api.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NilError(t, <-ended)
	})
	source, err := gitrepo.New(gitrepo.Options{Dir: t.TempDir()})
	assert.NilError(t, err)
	return &reconciler.Reconciler{
		Source: source, Renderer: newRenderer(), Cluster: api, Loop: alone{},
		Recorder: metrics.New(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}, api, seen
}

// alone is the loop of a Release that is passed by hand.
type alone struct{}

func (alone) Aside(context.Context) func() { return func() {} }
func (alone) Stale(*v1alpha1.Release) bool { return false }

func twentyConfigMaps(changed string) map[string]string {
	files := map[string]string{}
	list := "resources:\n"
	for i := range 20 {
		name := fmt.Sprintf("c%02d", i)
		value := "same"
		if name == changed {
			value = "changed"
		}
		files[filepath.Join("overlay", name+".yaml")] = fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}, data: {k: %s}}\n", name, value)
		list += "  - " + name + ".yaml\n"
	}
	files["overlay/kustomization.yaml"] = list
	return files
}

// A pass with nothing changed asks the API server nothing, and a commit that
// changes one object of twenty compares one object and writes one object.
func TestAQuietPassMakesNoRequest(t *testing.T) {
	controlplane.InstallCRD(t)
	namespace := controlplane.Namespace(t)
	account := controlplane.Tenant(t, namespace, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets"}, Verbs: []string{"*"}})
	origin := gitrepotest.New(t).Repo(t, "app.git")
	origin.Commit("main", twentyConfigMaps(""))
	domain, api, seen := counted(t)
	made := object(v1alpha1.GroupVersionKind().GroupVersion().String(), "Release", "app", map[string]any{"spec": map[string]any{
		"serviceAccountName": account,
		"source":             map[string]any{"url": origin.URL, "branch": "main", "path": "overlay"},
	}})
	_, err := controlplane.Dynamic(t).Resource(v1alpha1.Resource()).Namespace(namespace).Create(t.Context(), made.Unstructured, metav1.CreateOptions{})
	assert.NilError(t, err)
	release, err := api.Release(t.Context(), namespace, "app")
	assert.NilError(t, err)
	pass := func() {
		t.Helper()
		_, err := domain.Reconcile(t.Context(), release)
		assert.NilError(t, err)
		assert.Equal(t, release.Status.Phase, "Settled", "%v", release.Status.Conditions)
	}
	pass()
	key := types.NamespacedName{Namespace: namespace, Name: "app"}
	synced := func() {
		t.Helper()
		poll.WaitOn(t, func(poll.LogT) poll.Result {
			if moved, ok := api.Moved(key); !ok || len(moved) > 0 {
				return poll.Continue("moved: %v, synced: %v", moved, ok)
			}
			return poll.Success()
		}, poll.WithTimeout(20*time.Second), poll.WithDelay(10*time.Millisecond))
	}
	synced()
	seen.take()
	for range 10 {
		pass()
	}
	assert.Equal(t, len(seen.take()), 0, "requests of ten quiet passes")

	origin.Commit("main", twentyConfigMaps("c07"))
	release.Annotations = map[string]string{"lockstep.dev/requested-at": "now"}
	pass()
	of := "/api/v1/namespaces/" + namespace + "/configmaps/"
	managed := slices.DeleteFunc(seen.take(), func(line string) bool { return !strings.Contains(line, "/configmaps") })
	slices.Sort(managed)
	assert.DeepEqual(t, managed, []string{"GET " + of + "c07", "PATCH " + of + "c07", "PATCH " + of + "c07 dry"})
	synced()
	pass()
	assert.Equal(t, len(seen.take()), 0)
}
