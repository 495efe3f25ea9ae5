package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// candidate is one of several replicas.
type candidate struct {
	leads  chan struct{}
	told   chan struct{}
	finish chan error
	ended  chan error
}

func stand(ctx context.Context, t *testing.T, namespace, name string) *candidate {
	t.Helper()
	c := &candidate{
		leads: make(chan struct{}), told: make(chan struct{}), finish: make(chan error, 1), ended: make(chan error, 1),
	}
	config := controlplane.Config(t)
	go func() {
		c.ended <- cluster.Lead(ctx, config, cluster.Lease{Namespace: namespace, Name: "lockstep", Identity: name},
			func(working context.Context) error {
				close(c.leads)
				<-working.Done()
				close(c.told)
				return <-c.finish
			})
	}()
	return c
}

func (w *world) holder(t *testing.T) string {
	t.Helper()
	lease, err := w.kube.CoordinationV1().Leases(w.namespace).Get(t.Context(), "lockstep", metav1.GetOptions{})
	assert.NilError(t, err)
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// TestNextLeaderWaitsForTheLastOne covers P3: the Lease is given away after
// the work has returned, and not when it was told to stop.
func TestNextLeaderWaitsForTheLastOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := stand(stop, t, w.namespace, "first")
	answered(t, first.leads)
	second := stand(t.Context(), t, w.namespace, "second")

	cancel()
	answered(t, first.told)
	assert.Equal(t, w.holder(t), "first")
	select {
	case <-second.leads:
		t.Fatal("the second leads while the first still works")
	case err := <-first.ended:
		t.Fatalf("the first ended before its work: %v", err)
	case <-time.After(5 * time.Second):
		// Two and a half times as long as a candidate waits between two looks.
	}
	assert.Equal(t, w.holder(t), "first")
	first.finish <- nil
	assert.NilError(t, answered(t, first.ended))
	answered(t, second.leads)
	assert.Equal(t, w.holder(t), "second")
	second.finish <- nil
}

// TestErrorOfTheWorkIsReturned shows that work which ends by itself takes the
// process with it, with its own error.
func TestErrorOfTheWorkIsReturned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := errors.New("broken")
	err := cluster.Lead(t.Context(), controlplane.Config(t), cluster.Lease{Namespace: w.namespace, Name: "lockstep", Identity: "one"},
		func(context.Context) error { return broken })
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, w.holder(t), "")
}

// TestCandidateStopsBeforeItLeads shows that a replica in waiting ends at
// once and leaves the leader alone.
func TestCandidateStopsBeforeItLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leader := stand(t.Context(), t, w.namespace, "first")
	answered(t, leader.leads)
	stop, cancel := context.WithCancel(t.Context())
	waiting := stand(stop, t, w.namespace, "second")
	cancel()
	assert.NilError(t, answered(t, waiting.ended))
	assert.Equal(t, w.holder(t), "first")
	leader.finish <- nil
}

// TestLostLeaseEndsTheProcess covers P1 and P5: the end of the election is the
// end of Lead, with an error, and the work is told to stop.
func TestLostLeaseEndsTheProcess(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]error{
		"the work returns nothing":           nil,
		"the work returns that it was ended": context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			leader := stand(t.Context(), t, w.namespace, "first")
			answered(t, leader.leads)
			leader.finish <- result
			now := metav1.NowMicro().UTC().Format("2006-01-02T15:04:05.000000Z")
			_, err := w.kube.CoordinationV1().Leases(w.namespace).Patch(t.Context(), "lockstep", types.MergePatchType,
				[]byte(`{"spec":{"holderIdentity":"thief","leaseDurationSeconds":60,"renewTime":"`+now+`"}}`), metav1.PatchOptions{})
			assert.NilError(t, err)
			stolen := time.Now()
			err = answered(t, leader.ended)
			assert.ErrorIs(t, err, cluster.ErrLeaseLost)
			assert.Assert(t, time.Since(stolen) < 15*time.Second, "it took %s", time.Since(stolen))
			answered(t, leader.told)
			assert.Equal(t, w.holder(t), "thief")
		})
	}
}

// TestDeletedLeaseIsTakenAgain shows that a Lease which somebody deleted is
// made anew by the leader, before another candidate can believe it free.
func TestDeletedLeaseIsTakenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leader := stand(t.Context(), t, w.namespace, "first")
	answered(t, leader.leads)
	assert.NilError(t, w.kube.CoordinationV1().Leases(w.namespace).Delete(t.Context(), "lockstep", metav1.DeleteOptions{}))
	w.waitFor(t, func() bool {
		list, err := w.kube.CoordinationV1().Leases(w.namespace).List(t.Context(), metav1.ListOptions{})
		return err == nil && meta.LenList(list) == 1
	})
	assert.Equal(t, w.holder(t), "first")
	leader.finish <- nil
}
