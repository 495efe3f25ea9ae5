package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// recordedDomain keeps what the loop gives it, of one namespace.
type recordedDomain struct {
	namespace string
	passed    chan *v1alpha1.Release
	forgotten chan types.NamespacedName

	mu   sync.Mutex
	work func(context.Context, *v1alpha1.Release) (reconciler.Next, error)
}

// Reconcile implements cluster.Domain.
func (d *recordedDomain) Reconcile(ctx context.Context, release *v1alpha1.Release) (reconciler.Next, error) {
	if release.Namespace != d.namespace {
		return reconciler.Next{After: time.Hour}, nil
	}
	d.mu.Lock()
	work := d.work
	d.mu.Unlock()
	d.passed <- release.DeepCopy()
	if work == nil {
		return reconciler.Next{After: time.Hour}, nil
	}
	return work(ctx, release)
}

// Forget implements cluster.Domain.
func (d *recordedDomain) Forget(key types.NamespacedName) {
	if key.Namespace == d.namespace {
		d.forgotten <- key
	}
}

// quiet asserts that no pass comes for a while.
func (d *recordedDomain) quiet(t *testing.T) {
	t.Helper()
	select {
	case release := <-d.passed:
		t.Fatalf("a pass over generation %d, resourceVersion %s, that nobody asked for", release.Generation, release.ResourceVersion)
	case <-time.After(1500 * time.Millisecond):
	}
}

// waitFor polls until something is so.
func (*world) waitFor(t *testing.T, so func() bool) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if so() {
			return poll.Success()
		}
		return poll.Continue("not yet")
	}, poll.WithTimeout(patience))
}

// loop runs a Controller over the namespace of the world. What is returned
// ends it and waits for its end.
func (w *world) loop(t *testing.T, work func(context.Context, *v1alpha1.Release) (reconciler.Next, error)) (*recordedDomain, func()) {
	t.Helper()
	controller, err := cluster.NewController(controlplane.Config(t), "", 2, slog.New(slog.DiscardHandler))
	assert.NilError(t, err)
	return w.loopOf(t, controller, work)
}

func (w *world) loopOf(t *testing.T, controller *cluster.Controller, work func(context.Context, *v1alpha1.Release) (reconciler.Next, error)) (*recordedDomain, func()) {
	t.Helper()
	var err error
	w.cluster, err = cluster.New(cluster.Options{
		Config: controlplane.Config(t), Events: events.NewFakeRecorder(1), Saved: controller.Saved,
	})
	assert.NilError(t, err)
	domain := &recordedDomain{
		namespace: w.namespace, passed: make(chan *v1alpha1.Release, 100), forgotten: make(chan types.NamespacedName, 100), work: work,
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { assert.Check(t, controller.Watch(ctx)) })
	running.Go(func() { assert.Check(t, controller.Work(ctx, domain)) })
	end := sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(end)
	w.waitFor(t, controller.Synced)
	return domain, end
}

// TestPassesThatWaitKeepNobodyWaiting shows that two workers serve a third
// Release while two passes wait, and that what works is still bounded.
func TestPassesThatWaitKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controlplane.InstallCRD(t)
	controller, err := cluster.NewController(controlplane.Config(t), "", 2, slog.New(slog.DiscardHandler))
	assert.NilError(t, err)
	release := make(chan struct{})
	var working, most atomic.Int32
	domain, _ := w.loopOf(t, controller, func(ctx context.Context, _ *v1alpha1.Release) (reconciler.Next, error) {
		most.Store(max(most.Load(), working.Add(1)))
		working.Add(-1)
		back := controller.Aside(ctx)
		<-release
		back()
		return reconciler.Next{After: time.Hour}, nil
	})
	defer close(release)
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		storedRelease(t, w.releases(), name)
		assert.Equal(t, answered(t, domain.passed).Name, name)
	}
	assert.Assert(t, most.Load() <= 2, "%d at a time", most.Load())
}

// TestStale shows that a pass is told of an edit and of a deletion, and of its
// own status not.
func TestStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controlplane.InstallCRD(t)
	controller, err := cluster.NewController(controlplane.Config(t), "", 2, slog.New(slog.DiscardHandler))
	assert.NilError(t, err)
	domain, _ := w.loopOf(t, controller, nil)
	storedRelease(t, w.releases(), "web")
	seen := answered(t, domain.passed)
	assert.Assert(t, !controller.Stale(seen))
	mergePatch(t, w.releases(), "web", `{"status":{"phase":"Render"}}`, "status")
	mergePatch(t, w.releases(), "web", `{"spec":{"suspend":true}}`)
	w.waitFor(t, func() bool { return controller.Stale(seen) })
	edited := answered(t, domain.passed)
	assert.Assert(t, !controller.Stale(edited))
	assert.NilError(t, w.releases().Delete(t.Context(), "web", metav1.DeleteOptions{}))
	w.waitFor(t, func() bool { return controller.Stale(edited) })
}

// TestShards shows that a daemon with a selector looks after the Releases that
// it chooses, and that one which is given another label changes hands.
func TestShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controlplane.InstallCRD(t)
	shard := func(selector string) *recordedDomain {
		controller, err := cluster.NewController(controlplane.Config(t), selector, 2, slog.New(slog.DiscardHandler))
		assert.NilError(t, err)
		domain, _ := w.loopOf(t, controller, nil)
		return domain
	}
	a, rest := shard("shard="+w.namespace), shard("shard!="+w.namespace)
	storedRelease(t, w.releases(), "web")
	assert.Equal(t, answered(t, rest.passed).Name, "web")
	mergePatch(t, w.releases(), "web", `{"metadata":{"labels":{"shard":"`+w.namespace+`"}}}`)
	assert.Equal(t, answered(t, a.passed).Name, "web")
	assert.Equal(t, answered(t, rest.forgotten).Name, "web")
}

// TestLookAt shows that all Releases of a repository are looked at when
// something moved there, and those of others are not.
func TestLookAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controlplane.InstallCRD(t)
	controller, err := cluster.NewController(controlplane.Config(t), "", 2, slog.New(slog.DiscardHandler))
	assert.NilError(t, err)
	domain, _ := w.loopOf(t, controller, nil)
	for _, name := range []string{"one", "two", "other"} {
		made := object(t, "", manifest("url: https://git.example/"+strings.Replace(name, "two", "one", 1)+".git", "path: deploy"))
		made.SetName(name)
		_, err := w.releases().Create(t.Context(), made.Unstructured, metav1.CreateOptions{})
		assert.NilError(t, err)
		assert.Equal(t, answered(t, domain.passed).Name, name)
	}
	controller.LookAt(func(url string) bool { return url == "https://git.example/one.git" })
	seen := []string{answered(t, domain.passed).Name, answered(t, domain.passed).Name}
	slices.Sort(seen)
	assert.DeepEqual(t, seen, []string{"one", "two"})
	controller.Look(types.NamespacedName{Namespace: w.namespace, Name: "other"})
	assert.Equal(t, answered(t, domain.passed).Name, "other", "and it was not looked at before")
}

// TestLoopPassesOnWhatMatters shows what wakes the loop up: a new Release, a
// new spec, a new value of the annotation; not a status, not a label.
func TestLoopPassesOnWhatMatters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controlplane.InstallCRD(t)
	domain, _ := w.loop(t, nil)
	w.release = storedRelease(t, w.releases(), "web")
	first := answered(t, domain.passed)
	assert.Equal(t, first.UID, w.release.UID)
	assert.Equal(t, first.Spec.Source.FollowedBranch(), "clean-k8s-deploy")
	assert.Equal(t, len(first.ManagedFields), 0, "P7: managed fields are kept in memory")

	w.release.Status.Phase = "Fetch"
	assert.NilError(t, w.cluster.SaveStatus(t.Context(), w.release))
	mergePatch(t, w.releases(), "web", `{"status":{"phase":"Render"}}`, "status")
	mergePatch(t, w.releases(), "web", `{"metadata":{"labels":{"by":"hand"}}}`)
	domain.quiet(t)

	mergePatch(t, w.releases(), "web", `{"spec":{"suspend":true}}`)
	changed := answered(t, domain.passed)
	assert.Equal(t, changed.Generation, int64(2))
	assert.Assert(t, changed.Spec.Suspend)
	assert.Equal(t, changed.Status.Phase, "Render")

	mergePatch(t, w.releases(), "web", `{"metadata":{"annotations":{"lockstep.dev/requested-at":"now"}}}`)
	assert.Equal(t, answered(t, domain.passed).Annotations[v1alpha1.RequestedAtAnnotation], "now")
	mergePatch(t, w.releases(), "web", `{"metadata":{"annotations":{"lockstep.dev/requested-at":"now"}}}`)
	domain.quiet(t)

	assert.NilError(t, w.releases().Delete(t.Context(), "web", metav1.DeleteOptions{}))
	assert.Equal(t, answered(t, domain.forgotten), types.NamespacedName{Namespace: w.namespace, Name: "web"})
	domain.quiet(t)
}

// TestLoopDecidesOnWhatItWrote covers P8: the pass that follows a write sees
// it, however late the watch is.
func TestLoopDecidesOnWhatItWrote(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controlplane.InstallCRD(t)
	const passes = 20
	domain, _ := w.loop(t, func(ctx context.Context, release *v1alpha1.Release) (reconciler.Next, error) {
		if release.Status.Attempt >= passes {
			return reconciler.Next{After: time.Hour}, nil
		}
		release.Status.Attempt++
		return reconciler.Next{After: time.Nanosecond}, w.cluster.SaveStatus(ctx, release)
	})
	storedRelease(t, w.releases(), "web")
	for want := range int64(passes) {
		got := answered(t, domain.passed)
		assert.Equal(t, got.Status.Attempt, want)
	}
	w.waitFor(t, func() bool {
		live, err := w.releases().Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && typed[v1alpha1.Release](t, live).Status.Attempt == passes
	})
}

// TestLoopTriesAgain shows that a pass which could not be finished, and an
// attempt that is to go on, come again by themselves.
func TestLoopTriesAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		next reconciler.Next
		err  error
	}{
		"after an error":           {reconciler.Next{}, errors.New("status not written")},
		"after a retry":            {reconciler.Next{After: time.Hour, Retry: true}, nil},
		"after a retry with limit": {reconciler.Next{After: time.Millisecond, Retry: true}, nil},
		"after the interval":       {reconciler.Next{After: time.Millisecond}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			controlplane.InstallCRD(t)
			domain, _ := w.loop(t, func(context.Context, *v1alpha1.Release) (reconciler.Next, error) { return test.next, test.err })
			storedRelease(t, w.releases(), "web")
			answered(t, domain.passed)
			answered(t, domain.passed)
		})
	}
}

// TestLoopEndsAfterItsLastPass covers P3: who waits for the loop can be sure
// that nothing works any more.
func TestLoopEndsAfterItsLastPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	controlplane.InstallCRD(t)
	working := make(chan struct{})
	finished := false
	domain, end := w.loop(t, func(ctx context.Context, _ *v1alpha1.Release) (reconciler.Next, error) {
		close(working)
		<-ctx.Done()
		<-time.After(200 * time.Millisecond)
		finished = true
		return reconciler.Next{After: time.Hour}, ctx.Err()
	})
	storedRelease(t, w.releases(), "web")
	answered(t, domain.passed)
	answered(t, working)
	end()
	assert.Assert(t, finished)
}
