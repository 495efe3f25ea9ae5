package cluster_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// TestStatusIsWrittenBesideAnEdit shows that neither the status nor the edit
// of a person is lost when both come at once.
func TestStatusIsWrittenBesideAnEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	var saved []*unstructured.Unstructured
	daemon, err := cluster.New(cluster.Options{
		Config: controlplane.Config(t), Events: events.NewFakeRecorder(1),
		Saved: func(u *unstructured.Unstructured) { saved = append(saved, u) },
	})
	assert.NilError(t, err)
	mergePatch(t, w.releases(), "web", `{"spec":{"source":{"interval":"1m"}},"metadata":{"labels":{"by":"hand"}}}`)

	w.release.Status.Phase, w.release.Status.Attempt = "Fetch", 3
	assert.NilError(t, daemon.SaveStatus(t.Context(), w.release))
	w.release.Status.Phase = "Render"
	assert.NilError(t, daemon.SaveStatus(t.Context(), w.release))

	live, err := w.releases().Get(t.Context(), "web", metav1.GetOptions{})
	assert.NilError(t, err)
	got := typed[v1alpha1.Release](t, live)
	assert.Equal(t, got.Spec.Source.Interval.Duration.String(), "1m0s")
	assert.Equal(t, got.Labels["by"], "hand")
	assert.Equal(t, got.Generation, int64(2))
	assert.Equal(t, got.Status.Phase, "Render")
	assert.Equal(t, got.Status.Attempt, int64(3))
	assert.Equal(t, w.release.ResourceVersion, live.GetResourceVersion())
	assert.Equal(t, len(saved), 2)
	assert.Equal(t, saved[1].GetResourceVersion(), live.GetResourceVersion())
}

// TestStatusOfAnotherReleaseIsNotWritten covers a Release that was deleted
// and made anew under its name while a pass ran.
func TestStatusOfAnotherReleaseIsNotWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	before := w.release
	assert.NilError(t, w.releases().Delete(t.Context(), "web", metav1.DeleteOptions{}))
	w.release = storedRelease(t, w.releases(), "web")
	before.Status.Phase = "Settled"
	assert.Error(t, w.cluster.SaveStatus(t.Context(), before), "release "+w.namespace+"/web was deleted and made anew")
	live, err := w.releases().Get(t.Context(), "web", metav1.GetOptions{})
	assert.NilError(t, err)
	_, found, err := unstructured.NestedString(live.Object, "status", "phase")
	assert.NilError(t, err)
	assert.Assert(t, !found)
}

// TestEventIsSeen shows that an event is told about the Release, cut to what
// the API takes.
func TestEventIsSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: w.kube.EventsV1()})
	assert.NilError(t, broadcaster.StartRecordingToSinkWithContext(ctx))
	defer broadcaster.Shutdown()
	daemon, err := cluster.New(cluster.Options{
		Config: controlplane.Config(t), Events: broadcaster.NewRecorder(runtime.NewScheme(), "lockstep"),
	})
	assert.NilError(t, err)
	daemon.Event(w.release, false, "Settled", "revision 1 is settled")
	daemon.Event(w.release, true, "MigrationFailed", "100 % ä"+strings.Repeat("ä", 2000))

	notes := map[string]string{}
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		list, err := w.kube.EventsV1().Events(w.namespace).List(t.Context(), metav1.ListOptions{
			FieldSelector: "reportingController=lockstep",
		})
		if err != nil {
			return poll.Error(err)
		}
		for i := range list.Items {
			event := &list.Items[i]
			assert.Equal(t, event.Regarding.UID, w.release.UID)
			assert.Equal(t, event.Regarding.Kind, "Release")
			assert.Equal(t, event.Regarding.Name, "web")
			notes[event.Type+" "+event.Reason] = event.Note
		}
		if len(notes) < 2 {
			return poll.Continue("%d events", len(notes))
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	assert.Equal(t, notes[corev1.EventTypeNormal+" Settled"], "revision 1 is settled")
	long := notes[corev1.EventTypeWarning+" MigrationFailed"]
	assert.Assert(t, strings.HasPrefix(long, "100 % äää"), "%s", long)
	assert.Assert(t, len(long) > 990 && len(long) <= 1000, "%d bytes", len(long))
}

// TestFinalizer shows that ours comes and goes beside those of others.
func TestFinalizer(t *testing.T) {
	t.Parallel()
	controlplane.InstallCRD(t)
	w := newWorld(t)
	release := storedRelease(t, w.releases(), "web")
	release.Finalizers = []string{"example.org/theirs"}
	assert.NilError(t, w.cluster.SetFinalizer(t.Context(), release, true))
	live, err := w.releases().Get(t.Context(), "web", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.DeepEqual(t, live.GetFinalizers(), []string{"example.org/theirs", reconciler.Finalizer})
	assert.Equal(t, live.GetResourceVersion(), release.ResourceVersion)

	stale := release.DeepCopy()
	assert.NilError(t, w.cluster.SetFinalizer(t.Context(), release, false))
	assert.DeepEqual(t, release.Finalizers, []string{"example.org/theirs"})
	assert.ErrorContains(t, w.cluster.SetFinalizer(t.Context(), stale, false), "the object has been modified", "what others add meanwhile is not lost")

	mergePatch(t, w.releases(), "web", `{"metadata":{"finalizers":null}}`)
	assert.NilError(t, w.releases().Delete(t.Context(), "web", metav1.DeleteOptions{}))
	assert.NilError(t, w.cluster.SetFinalizer(t.Context(), release, true), "one that is gone needs none")
}

func TestNamespaceLeaving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leaving, err := w.cluster.NamespaceLeaving(t.Context(), w.namespace)
	assert.NilError(t, err)
	assert.Assert(t, !leaving)
	mergePatch(t, w.configMaps(), "kube-root-ca.crt", `{"metadata":{"finalizers":["example.org/hold"]}}`)
	defer mergePatch(t, w.configMaps(), "kube-root-ca.crt", `{"metadata":{"finalizers":null}}`)
	assert.NilError(t, w.kube.CoreV1().Namespaces().Delete(t.Context(), w.namespace, metav1.DeleteOptions{}))
	leaving, err = w.cluster.NamespaceLeaving(t.Context(), w.namespace)
	assert.NilError(t, err)
	assert.Assert(t, leaving)
	leaving, err = w.cluster.NamespaceLeaving(t.Context(), "no-such-namespace")
	assert.NilError(t, err)
	assert.Assert(t, leaving)
}
