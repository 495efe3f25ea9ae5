package cluster_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// hookedRelease is a Release with a webhook whose token is "first-token".
func hookedRelease(t *testing.T) (*world, *cluster.Hooks, types.NamespacedName) {
	t.Helper()
	controlplane.InstallCRD(t)
	w := newWorld(t)
	_, err := w.kube.CoreV1().Secrets(w.namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "hook"}, StringData: map[string]string{"token": "first-token\n"},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	for _, line := range []string{"hooked", "plain"} {
		made := object(t, "", manifest("url: https://git.example/shop.git", "path: deploy"))
		if line == "hooked" {
			made = object(t, "", manifest("url: https://git.example/shop.git", "path: deploy", "webhook: {secretRef: {name: hook}}"))
		}
		made.SetName(line)
		_, err = w.releases().Create(t.Context(), made.Unstructured, metav1.CreateOptions{})
		assert.NilError(t, err)
	}
	controller, err := cluster.NewController(controlplane.Config(t), "", 2, slog.New(slog.DiscardHandler))
	assert.NilError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- controller.Watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NilError(t, <-stopped)
	})
	hooks := cluster.NewHooks(ctx, w.cluster, controller, slog.New(slog.DiscardHandler))
	key := types.NamespacedName{Namespace: w.namespace, Name: "hooked"}
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if _, ok := hooks.Token(key); ok {
			return poll.Success()
		}
		return poll.Continue("the Release is not known yet")
	}, poll.WithTimeout(patience), poll.WithDelay(20*time.Millisecond))
	return w, hooks, key
}

func TestWebhookTokens(t *testing.T) {
	t.Parallel()
	w, hooks, key := hookedRelease(t)
	token, ok := hooks.Token(key)
	assert.Assert(t, ok)
	assert.Equal(t, string(token), "first-token", "the line break of a file is no part of it")
	for _, name := range []string{"plain", "absent"} {
		_, ok := hooks.Token(types.NamespacedName{Namespace: w.namespace, Name: name})
		assert.Assert(t, !ok, name)
	}

	mergePatch(t, w.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(w.namespace), "hook", `{"stringData":{"token":"second-token"}}`)
	token, _ = hooks.Token(key)
	assert.Equal(t, string(token), "first-token", "it is not read anew while it verifies what comes")
	hooks.Refused(key)
	token, _ = hooks.Token(key)
	assert.Equal(t, string(token), "first-token", "requests that fail must not cost a read each")
	hooks.SetPause(0)
	token, _ = hooks.Token(key)
	assert.Equal(t, string(token), "second-token")
}

// A webhook reaches the replica that leads through the Release, and a burst of
// them is two looks: one now and one for all that came meanwhile (S21).
func TestWebhooksAskForALook(t *testing.T) {
	t.Parallel()
	w, hooks, key := hookedRelease(t)
	hooks.SetPause(200 * time.Millisecond)
	for range 50 {
		hooks.Poll(key)
	}
	var seen []string
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		release, err := w.releases().Get(t.Context(), key.Name, metav1.GetOptions{})
		if err != nil {
			return poll.Error(err)
		}
		at := release.GetAnnotations()[v1alpha1.RequestedAtAnnotation]
		if at != "" && (len(seen) == 0 || seen[len(seen)-1] != at) {
			seen = append(seen, at)
		}
		if len(seen) == 2 {
			return poll.Success()
		}
		return poll.Continue("looks asked for at %v", seen)
	}, poll.WithTimeout(patience), poll.WithDelay(10*time.Millisecond))
	first, err := time.Parse(time.RFC3339Nano, seen[0])
	assert.NilError(t, err)
	second, err := time.Parse(time.RFC3339Nano, seen[1])
	assert.NilError(t, err)
	assert.Equal(t, second.Sub(first), 200*time.Millisecond)
	release, err := w.releases().Get(t.Context(), key.Name, metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, release.GetGeneration(), int64(1), "the spec is left alone")
}
