package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

func pass(t *testing.T, w *world, release *v1alpha1.Release) reconciler.Next {
	t.Helper()
	next, err := w.reconciler().Reconcile(t.Context(), release)
	assert.NilError(t, err)
	return next
}

func TestANewCommitGoesThroughAllPhasesInOrder(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.schema.Version = 1

	next := pass(t, w, release)

	assert.DeepEqual(t, w.trace, []string{
		"read secret git",
		"event AttemptStarted warning=false",
		"Fetch succeeded", "Render succeeded", "Plan succeeded",
		"apply ConfigMap settings", "apply StatefulSet postgres", "Foundation succeeded",
		"read secret db", "job start", "event Migrated warning=false", "Migrate succeeded",
		"apply Deployment backend", "Rollout succeeded",
		"Verify succeeded", "Prune succeeded",
		"attempt succeeded", "event Settled warning=false",
	})
	assert.Equal(t, next, reconciler.Next{After: 30 * time.Second})
	status := w.saved.Status
	assert.Equal(t, status.LastGoodRevision, "main@sha1:"+commitA)
	assert.Equal(t, status.Phase, "Settled")
	assert.Equal(t, status.Attempt, int64(1))
	assert.Equal(t, status.HeldRevision, "")
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Status, metav1.ConditionTrue)
	assert.Equal(t, string(condition(w.saved, v1alpha1.ConditionReconciling).Status), "absent")
	assert.Equal(t, status.Databases[0].Version, "2")
	assert.Equal(t, status.Ledger[0].Result, reconciler.LedgerSucceeded)
}

func TestAPassWithoutNewsWritesNothingAndAsksNothing(t *testing.T) {
	w, release := newWorld(), newRelease()
	r := w.reconciler()
	_, err := r.Reconcile(t.Context(), release)
	assert.NilError(t, err)
	w.trace, w.saved = nil, nil

	for range 10 {
		_, err := r.Reconcile(t.Context(), release)
		assert.NilError(t, err)
	}

	assert.Equal(t, len(w.trace), 0, "trace: %v", w.trace)
	assert.Assert(t, w.saved == nil, "the status was written")
}

func TestADatabaseThatIsUpToDateGetsNoJob(t *testing.T) {
	w, release := newWorld(), newRelease()
	pass(t, w, release)
	assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap settings", "apply StatefulSet postgres", "apply Deployment backend"})
}

// Each failure before Migrate leaves the workload alone and is held or tried
// again as its cause deserves.
func TestFailuresEndAsTheyShould(t *testing.T) {
	cause := errors.New("boom")
	for name, test := range map[string]struct {
		given  func(*world)
		phase  string
		reason string
		held   bool
		writes int
	}{
		"a render error is held": {
			func(w *world) { w.rendered = reconciler.Terminal("RenderFailed", cause) }, "Render", "RenderFailed", true, 0,
		},
		"an empty render is held (R13)": {
			func(w *world) { w.objects = nil }, "Render", "RenderEmpty", true, 0,
		},
		"a renderer that cannot start is tried again": {
			func(w *world) { w.rendered = cause }, "Render", "RenderFailed", false, 0,
		},
		"an object that the API refuses is held before any write (R15)": {
			func(w *world) { w.dryRun = reconciler.Terminal("DryRunFailed", cause) }, "Plan", "DryRunFailed", true, 0,
		},
		"an API that is down is waited for": {
			func(w *world) { w.dryRun = reconciler.Transient("ClusterUnavailable", cause) }, "Plan", "ClusterUnavailable", false, 0,
		},
		"bad migration files are held before any write": {
			func(w *world) { w.setErr = reconciler.Terminal("MigrationsInvalid", cause) }, "Plan", "MigrationsInvalid", true, 0,
		},
		"a dirty database stops everything (I7)": {
			func(w *world) { w.schema.Dirty = true }, "Migrate", "DatabaseDirty", true, 2,
		},
		"a database newer than the commit stops everything (D5)": {
			func(w *world) { w.schema.Version = 3 }, "Migrate", "DatabaseNewer", true, 2,
		},
		"a wrong password stops everything (D14)": {
			func(w *world) { w.stateErr = reconciler.Terminal("DatabaseRefused", cause) }, "Migrate", "DatabaseRefused", true, 2,
		},
		"a missing database Secret is waited for": {
			func(w *world) { delete(w.secrets, "db") }, "Migrate", "CredentialsUnavailable", false, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, release := newWorld(), newRelease()
			release.Status.LastGoodRevision = "main@sha1:old"
			test.given(w)

			next := pass(t, w, release)

			ready := condition(w.saved, v1alpha1.ConditionReady)
			assert.Equal(t, ready.Status, metav1.ConditionFalse)
			assert.Equal(t, ready.Reason, test.reason)
			assert.Check(t, cmp.Contains(ready.Message, test.phase))
			assert.Equal(t, len(w.writes()), test.writes, "writes: %v", w.writes())
			assert.Equal(t, w.saved.Status.LastGoodRevision, "main@sha1:old", "the last good revision must survive (I5)")
			assert.Equal(t, next.Retry, !test.held)
			if test.held {
				assert.Equal(t, w.saved.Status.HeldRevision, "main@sha1:"+commitA)
				assert.Equal(t, condition(w.saved, v1alpha1.ConditionStalled).Status, metav1.ConditionTrue)
			} else {
				assert.Equal(t, w.saved.Status.HeldRevision, "")
				assert.Equal(t, condition(w.saved, v1alpha1.ConditionReconciling).Status, metav1.ConditionTrue)
			}
		})
	}
}

func TestAFailedMigrationIsHeldWithFileLineAndStateAndTheWorkloadStays(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.schema.Version = 1
	w.jobEnds = func(name string) reconciler.JobState {
		return reconciler.JobState{Name: name, Phase: reconciler.JobFailed, ExitCode: 1,
			Result: `{"outcome":"failed","versionBefore":"1","versionAfter":"1","file":"000002_x.up.sql","line":4,"sqlState":"42601","message":"syntax error"}`}
	}

	pass(t, w, release)

	assert.Assert(t, cmp.Contains(condition(w.saved, v1alpha1.ConditionReady).Message, "000002_x.up.sql line 4: syntax error (SQLSTATE 42601)"))
	assert.Equal(t, w.saved.Status.HeldRevision, "main@sha1:"+commitA)
	entry := w.saved.Status.Ledger[0]
	assert.Equal(t, entry.Result, reconciler.LedgerFailed)
	assert.Equal(t, entry.File, "000002_x.up.sql")
	assert.Equal(t, entry.Line, int32(4))
	assert.Equal(t, entry.SQLState, "42601")
	assert.Assert(t, !strings.Contains(fmt.Sprint(w.trace), "apply Deployment"), "trace: %v", w.trace)

	// J7: ten more looks at the same commit start nothing; a new commit does.
	for range 10 {
		pass(t, w, release)
	}
	assert.Equal(t, len(w.jobs), 1)
	w.tip, w.set.Digest = commitB, "d2"
	w.jobs = nil
	w.jobEnds = newWorld().jobEnds
	pass(t, w, release)
	assert.Equal(t, w.saved.Status.LastGoodRevision, "main@sha1:"+commitB)
	assert.Equal(t, w.saved.Status.HeldRevision, "")
}

func TestAMigrationThatMayPassIsTriedAgainButNotForEver(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.schema.Version = 1
	w.jobEnds = func(name string) reconciler.JobState {
		return reconciler.JobState{Name: name, Phase: reconciler.JobFailed, ExitCode: reconciler.ExitTemporary,
			Result: `{"outcome":"interrupted","message":"lock timeout","sqlState":"55P03"}`}
	}
	for i := range 3 {
		assert.Assert(t, pass(t, w, release).Retry, "try %d", i)
		assert.Equal(t, len(w.jobs), i+1)
	}
	assert.Assert(t, !pass(t, w, release).Retry)
	assert.Equal(t, len(w.jobs), 3)
	assert.Equal(t, w.saved.Status.HeldRevision, "main@sha1:"+commitA)
	assert.Equal(t, w.saved.Status.Attempt, int64(1), "one attempt, however often it was tried")
}

func TestAnOutageOfTheGitServerChangesNothingThatIsDeployed(t *testing.T) { // G8
	w, release := newWorld(), newRelease()
	pass(t, w, release)
	w.trace = nil
	w.tipErr = reconciler.Transient("ServerUnreachable", errors.New("connection refused"))

	pass(t, w, release)

	assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Status, metav1.ConditionTrue)
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionSourceReady).Reason, "ServerUnreachable")
	assert.Equal(t, len(w.writes()), 0)
	w.saved = nil
	pass(t, w, release)
	assert.Assert(t, w.saved == nil, "the same outage was written twice")
	w.tipErr = nil
	pass(t, w, release)
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionSourceReady).Status, metav1.ConditionTrue)
}

func TestRefusedCredentialsAreReadAnewWithinThePoll(t *testing.T) { // G15
	w, release := newWorld(), newRelease()
	r := w.reconciler()
	_, err := r.Reconcile(t.Context(), release)
	assert.NilError(t, err)
	w.trace, w.tips = nil, 0
	w.tipErr = reconciler.Transient(reconciler.ReasonAuthenticationFailed, errors.New("401"))

	_, err = r.Reconcile(t.Context(), release)

	assert.NilError(t, err)
	assert.DeepEqual(t, w.trace, []string{"read secret git"})
	assert.Equal(t, w.tips, 2)
}

func TestAHopelessRolloutIsLeftForANewerCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := newWorld(), newRelease()
		w.await = func(ctx context.Context, objects []reconciler.Object) error {
			if objects[0].GetKind() != "Deployment" {
				return nil
			}
			<-ctx.Done()
			w.tip = commitB
			return errors.New("0 of 2 replicas available")
		}
		began := time.Now()
		next := pass(t, w, release)
		assert.Equal(t, time.Since(began), 30*time.Second, "one poll interval, not the timeout")
		assert.Equal(t, next, reconciler.Next{}, "the newer commit is taken at once")
		assert.Equal(t, w.saved.Status.HeldRevision, "")
	})
}

func TestARolloutThatIsNotReadyInTimeIsHeldWithWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := newWorld(), newRelease()
		w.await = func(ctx context.Context, objects []reconciler.Object) error {
			if objects[0].GetKind() != "Deployment" {
				return nil
			}
			<-ctx.Done()
			return errors.New("Deployment backend: 0 of 2 replicas available")
		}
		began := time.Now()
		pass(t, w, release)
		// The recorded start has whole seconds.
		assert.Assert(t, time.Since(began) <= 5*time.Minute && time.Since(began) > 5*time.Minute-2*time.Second, time.Since(began))
		ready := condition(w.saved, v1alpha1.ConditionReady)
		assert.Equal(t, ready.Reason, reconciler.ReasonTimeout)
		assert.Check(t, cmp.Contains(ready.Message, "not done after 5m0s: Deployment backend: 0 of 2 replicas available"))
	})
}

func TestARestartGoesOnWithWhatIsLeftOfATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := newWorld(), newRelease()
		w.await = func(ctx context.Context, objects []reconciler.Object) error {
			if objects[0].GetKind() != "Deployment" {
				return nil
			}
			<-ctx.Done()
			return errors.New("not yet")
		}
		ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
		defer stop()
		_, err := w.reconciler().Reconcile(ctx, release)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, w.saved.Status.Phase, "Rollout")

		began := time.Now()
		pass(t, w, w.saved.DeepCopy())
		assert.Assert(t, time.Since(began) <= 5*time.Minute)
		assert.Equal(t, w.saved.Status.Attempt, int64(1))
	})
}

func TestASuspendedReleaseIsLeftAlone(t *testing.T) {
	w, release := newWorld(), newRelease()
	release.Spec.Suspend = true
	pass(t, w, release)
	assert.Equal(t, w.tips, 0)
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionSuspended).Status, metav1.ConditionTrue)
	release.Spec.Suspend = false
	pass(t, w, release)
	assert.Equal(t, string(condition(w.saved, v1alpha1.ConditionSuspended).Status), "absent")
}

// I6, P11: a pass that is cut off at any boundary and begun anew by another
// process, from what was written down, ends as an undisturbed one does, and
// the migration ran once.
func TestAPassThatIsCutOffAnywhereEndsTheSame(t *testing.T) {
	for _, phase := range []reconciler.Phase{
		reconciler.PhaseFetch, reconciler.PhaseRender, reconciler.PhasePlan, reconciler.PhaseFoundation,
		reconciler.PhaseMigrate, reconciler.PhaseRollout, reconciler.PhaseVerify, reconciler.PhaseSettled,
	} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s after=%v", phase, after), func(t *testing.T) {
				w, release := newWorld(), newRelease()
				w.schema.Version = 1
				ran := 0
				ends := w.jobEnds
				w.jobEnds = func(name string) reconciler.JobState {
					ran++
					w.schema.Version = 2
					return ends(name)
				}
				w.cut = func(at reconciler.Phase, ended bool) {
					if at == phase && ended == after {
						panic("killed")
					}
				}
				func() {
					defer func() { assert.Equal(t, recover(), "killed") }()
					_, _ = w.reconciler().Reconcile(t.Context(), release)
				}()
				w.cut = nil
				if w.saved != nil {
					release = w.saved.DeepCopy()
				}

				pass(t, w, release)

				assert.Equal(t, ran, 1)
				assert.Equal(t, len(w.jobs), 1)
				assert.Equal(t, w.saved.Status.LastGoodRevision, "main@sha1:"+commitA)
				assert.Equal(t, w.saved.Status.Attempt, int64(1))
				assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Status, metav1.ConditionTrue)
			})
		}
	}
}

func TestAStatusThatCannotBeWrittenStopsThePass(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.saveErr = errors.New("API is away")
	_, err := w.reconciler().Reconcile(t.Context(), release)
	assert.ErrorContains(t, err, "API is away")
	assert.Equal(t, len(w.writes()), 0)
}

// Who edits or deletes a Release need not wait for the rollout of before.
func TestAnEditEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := newWorld(), newRelease()
		began := time.Now()
		w.await = func(ctx context.Context, _ []reconciler.Object) error {
			assert.Equal(t, w.aside, 1, "a pass that waits keeps its place")
			w.stale = time.Since(began) >= time.Minute
			<-ctx.Done()
			return errors.New("not ready")
		}
		pass(t, w, release)
		assert.Assert(t, time.Since(began) <= 2*time.Minute, "%s", time.Since(began))
		assert.Assert(t, slices.Contains(w.trace, "attempt superseded"), "%v", w.trace)
		assert.Equal(t, w.aside, 0)
	})
}

// A daemon that is started anew goes on with what is left of a timeout.
func TestARestartGivesNoNewTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := newWorld(), newRelease()
		began := time.Now()
		ctx, kill := context.WithTimeout(t.Context(), 4*time.Minute)
		defer kill()
		w.await = func(ctx context.Context, objects []reconciler.Object) error {
			if objects[0].GetKind() != "Deployment" {
				return nil
			}
			<-ctx.Done()
			return errors.New("not ready")
		}
		_, err := w.reconciler().Reconcile(ctx, release)
		assert.ErrorIs(t, err, context.DeadlineExceeded)

		pass(t, w, w.saved)
		assert.Equal(t, w.saved.Status.Phase, "Held")
		assert.Equal(t, time.Since(began), 5*time.Minute)
	})
}

// A write that takes longer than the poll interval goes on where it was: each
// object is written once.
func TestALongWriteDoesNotBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := newWorld(), newRelease()
		release.Spec.Databases, release.Spec.Verify = nil, v1alpha1.Verify{}
		w.objects = objects("v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap c", "v1 ConfigMap d")
		w.slow = func(ctx context.Context) bool {
			select {
			case <-time.After(20 * time.Second):
				return false
			case <-ctx.Done():
				return true
			}
		}
		pass(t, w, release)
		assert.Equal(t, w.saved.Status.Phase, "Settled", "%v", w.saved.Status.Conditions)
		assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap a", "apply ConfigMap b", "apply ConfigMap c", "apply ConfigMap d"})
	})
}
