package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// awaiting runs Await beside the test; its answer comes out of the channel.
func awaiting(ctx context.Context, tenant reconciler.Tenant, objects []reconciler.Object) <-chan error {
	answer := make(chan error, 1)
	go func() { answer <- tenant.Await(ctx, objects) }()
	return answer
}

// answered takes the answer of a wait, which must come soon.
func answered[T any](t *testing.T, answer <-chan T) T {
	t.Helper()
	select {
	case got := <-answer:
		return got
	case <-time.After(patience):
		t.Fatal("no answer")
		panic("unreachable")
	}
}

// TestAwaitEndsWhenTheRolloutDoes covers O1.
func TestAwaitEndsWhenTheRolloutDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	objects := []reconciler.Object{deployment(t, "shop", "image:1"), configMap(t, "beside")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	answer := awaiting(t.Context(), w.tenant, objects)
	w.readyPods(t, "shop", 2)
	assert.NilError(t, answered(t, answer))
	live, err := w.kube.AppsV1().Deployments(w.namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Equal(t, live.Status.AvailableReplicas, int32(2))
}

// TestAwaitNamesWhatIsMissing shows what a person reads after a timeout.
func TestAwaitNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	objects := []reconciler.Object{deployment(t, "shop", "image:1"), deployment(t, "done", "image:1")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	w.readyPods(t, "done", 2)
	assert.NilError(t, answered(t, awaiting(t.Context(), w.tenant, objects[1:])))
	w.pullFails(t, "shop")
	w.updated(t, "shop", 1, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := answered(t, awaiting(ctx, w.tenant, objects))
	assert.ErrorContains(t, err, "Deployment shop: 0 of 2 replicas available")
	assert.ErrorContains(t, err, "container main: ImagePullBackOff: no such image")
	assert.Assert(t, !errors.Is(err, context.Canceled))
	assert.Assert(t, !contains(err, "Deployment done"), "%v", err)
}

// TestAwaitIsNotContentWithHalfARollout covers O1: the replicas of before are
// available and do not count.
func TestAwaitIsNotContentWithHalfARollout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := []reconciler.Object{deployment(t, "shop", "image:1")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, first))
	w.readyPods(t, "shop", 2)
	assert.NilError(t, answered(t, awaiting(t.Context(), w.tenant, first)))
	next := []reconciler.Object{deployment(t, "shop", "image:2")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, next))
	w.updated(t, "shop", 2, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := answered(t, awaiting(ctx, w.tenant, next))
	assert.ErrorContains(t, err, "Deployment shop: 1 of 2 replicas updated")
}

// TestAwaitIgnoresTheStateOfBefore covers O1 with a watch cache that lags: a
// state that is older than what was applied does not count, however good it is.
func TestAwaitIgnoresTheStateOfBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stale := w.throughStaleCache(t)
	first := []reconciler.Object{deployment(t, "shop", "image:1")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, first))
	w.readyPods(t, "shop", 2)
	assert.NilError(t, answered(t, awaiting(t.Context(), w.tenant, first)))
	live, err := w.deployments().List(t.Context(), metav1.ListOptions{})
	assert.NilError(t, err)
	stale.serve(t, live)

	next := []reconciler.Object{deployment(t, "shop", "image:2")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, next))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err = answered(t, awaiting(ctx, w.tenant, next))
	assert.ErrorContains(t, err, "Deployment shop: ")
	assert.Assert(t, stale.served.Load() > 0, "the test served nothing stale")
}

// TestAwaitOfAnObjectThatIsDeleted shows that nobody waits for what is gone
// without being told.
func TestAwaitOfAnObjectThatIsDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	objects := []reconciler.Object{deployment(t, "shop", "image:1")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	answer := awaiting(ctx, w.tenant, objects)
	assert.NilError(t, w.deployments().Delete(t.Context(), "shop", metav1.DeleteOptions{}))
	err := answered(t, answer)
	assert.ErrorContains(t, err, "Deployment shop: ")
}

// TestAwaitOfAFailedJobEndsAtOnce covers J5: what is stuck is not waited for.
func TestAwaitOfAFailedJobEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	objects := []reconciler.Object{object(t, "job.yaml", `
apiVersion: batch/v1
kind: Job
metadata: {name: probe}
spec:
  backoffLimit: 0
  template: {metadata: {labels: {app: probe}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}
`)}
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	answer := awaiting(t.Context(), w.tenant, objects)
	w.endPods(t, "app=probe", corev1.ContainerStateTerminated{ExitCode: 3})
	err := answered(t, answer)
	assert.ErrorContains(t, err, "Job probe: failed: BackoffLimitExceeded")
	assert.Assert(t, reconciler.IsTerminal(err))
	assert.Equal(t, reconciler.ReasonOf(err, ""), "ObjectStuck")
}

func TestAwaitOfNothingReturnsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	assert.NilError(t, w.tenant.Await(t.Context(), []reconciler.Object{configMap(t, "not-even-applied")}))
}

// TestAwaitWithoutTheRightToWatch shows that a missing right is told and not
// waited for.
func TestAwaitWithoutTheRightToWatch(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, deploymentsWithoutWatch())
	objects := []reconciler.Object{deployment(t, "shop", "image:1")}
	assert.NilError(t, writeAll(t.Context(), w.tenant, objects))
	err := answered(t, awaiting(t.Context(), w.tenant, objects))
	assert.ErrorContains(t, err, "as ServiceAccount "+w.namespace+"/deployer: ")
	assert.Equal(t, reconciler.ReasonOf(err, ""), "Forbidden")
	assert.Assert(t, reconciler.IsTerminal(err))
}
