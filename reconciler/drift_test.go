package reconciler_test

import (
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

// edited is the change that Compare finds after somebody ran kubectl edit.
func edited(path string) reconciler.Change {
	return reconciler.Change{
		Action:  reconciler.ActionUpdate,
		Fields:  []reconciler.FieldChange{{Path: path, Before: `"theirs"`, After: `"ours"`}},
		Manager: "kubectl-edit",
		Live:    &reconciler.Live{UID: "uid-a", Token: "t2", ResourceVersion: "2"},
	}
}

// meddled is a settled Release of whose ConfigMap a somebody changed data.k.
func meddled(t *testing.T) (*world, *reconciler.Reconciler, *v1alpha1.Release) {
	t.Helper()
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b")
	w.moved = []reconciler.Ref{w.watched[0].Ref}
	w.differs = map[string]reconciler.Change{"ConfigMap a": edited("data.k")}
	return w, r, release
}

func TestDriftIsPutBack(t *testing.T) {
	w, r, release := meddled(t)
	again(t, r, release)
	assert.DeepEqual(t, w.compared, []string{"ConfigMap a"})
	assert.DeepEqual(t, w.trace, []string{"apply ConfigMap a", "event DriftCorrected warning=false"})
	assert.Equal(t, w.corrected, 1)
	assert.Equal(t, condition(release, v1alpha1.ConditionReady).Status, metav1.ConditionTrue)
	assert.Equal(t, w.watched[0].Token, "t1", "what was written is what is watched for now")
}

// What an edit of the Release changes goes through the phases, the database
// before the workload: never by way of drift.
func TestAnEditIsNoDrift(t *testing.T) {
	w, r, release := meddled(t)
	release.Generation++
	again(t, r, release)
	started, applied := slices.Index(w.trace, "event AttemptStarted warning=false"), slices.Index(w.trace, "apply ConfigMap a")
	assert.Assert(t, started >= 0 && started < applied, "%v", w.trace)
	assert.Equal(t, w.corrected, 0)
}

// An object that is on its way out comes back when it is gone; others do not
// wait for that.
func TestWhatIsBeingDeletedIsNotWaitedFor(t *testing.T) {
	w, r, release := meddled(t)
	w.differs["ConfigMap a"] = reconciler.Change{Action: reconciler.ActionApply, Reason: "is being deleted", Live: edited("").Live}
	w.differs["ConfigMap b"] = edited("data.k")
	w.moved = append(w.moved, w.watched[1].Ref)
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap b"})
}

// A Job that somebody deleted is not run again for that.
func TestJobsDoNotDrift(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b", "batch/v1 Job seed")
	assert.DeepEqual(t, names(w.watched), []string{"ConfigMap a", "ConfigMap b"})
	w.tip = commitB
	again(t, r, release)
	assert.Equal(t, len(w.compared), 1, "it is asked about in each attempt: %v", w.compared)
	assert.Assert(t, strings.HasPrefix(w.compared[0], "Job seed-"))
}

// Another that applied the same values has become an owner too: that is put
// right and is no drift.
func TestOwnershipAloneIsNoDrift(t *testing.T) {
	w, r, release := meddled(t)
	w.differs["ConfigMap a"] = reconciler.Change{Action: reconciler.ActionUpdate, Reason: "fields become owned", Live: edited("").Live}
	again(t, r, release)
	assert.DeepEqual(t, w.trace, []string{"apply ConfigMap a"})
	assert.Equal(t, w.corrected, 0)
}

func TestADeletedObjectComesBack(t *testing.T) {
	w, r, release := meddled(t)
	w.differs = nil // It is new to Compare.
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap a"})
}

// An outage of the git server is no reason to leave drift: the commit is here.
func TestDriftIsPutBackWithoutTheGitServer(t *testing.T) {
	w, r, release := meddled(t)
	w.tipErr = reconciler.Transientf("ServerUnreachable", "no route to host")
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap a"})
}

func TestDriftPolicies(t *testing.T) {
	for name, test := range map[string]struct {
		mode, annotation string
		change           *reconciler.Change
		writes           []string
		reason           string
	}{
		"correct":                           {mode: "correct", writes: []string{"apply ConfigMap a"}},
		"report":                            {mode: "report", reason: reconciler.DriftReported},
		"ignore":                            {mode: "ignore"},
		"an object that says report":        {mode: "correct", annotation: "report", reason: reconciler.DriftReported},
		"an object that says correct":       {mode: "report", annotation: "correct", writes: []string{"apply ConfigMap a"}},
		"an object that says ignore (A3)":   {mode: "correct", annotation: "ignore"},
		"an annotation that says nothing":   {mode: "report", annotation: "whatever", reason: reconciler.DriftReported},
		"a change that is none":             {mode: "correct", change: &reconciler.Change{Action: reconciler.ActionUnchanged, Live: edited("").Live}},
		"what the API server does not take": {mode: "correct", change: &reconciler.Change{Action: reconciler.ActionRefuse, Err: fmt.Errorf("denied"), Live: edited("").Live}, reason: reconciler.DriftRefused},
	} {
		t.Run(name, func(t *testing.T) {
			w, r, release := meddled(t)
			release.Spec.Drift.Mode = test.mode
			if test.annotation != "" {
				annotated(w.objects[0], reconciler.DriftAnnotation, test.annotation)
			}
			if test.change != nil {
				w.differs["ConfigMap a"] = *test.change
			}
			next := again(t, r, release)
			assert.DeepEqual(t, w.writes(), test.writes)
			drift := condition(release, v1alpha1.ConditionDrifted)
			if test.reason == "" {
				assert.Equal(t, string(drift.Status), "absent")
				assert.Equal(t, len(release.Status.Drift), 0)
				return
			}
			assert.Equal(t, drift.Reason, test.reason)
			assert.Equal(t, release.Status.Drift[0].Object, "ConfigMap unity/a")
			assert.Equal(t, release.Status.Drift[0].Reason, test.reason)
			if test.reason == reconciler.DriftRefused {
				assert.Assert(t, next.Retry, "it is tried again")
				assert.Equal(t, release.Status.Drift[0].Message, "denied")
				return
			}
			assert.Equal(t, w.watched[0].Token, "t2", "it is looked at again when it changes again")
		})
	}
}

func TestReportedDriftNamesFieldAndManagerAndEnds(t *testing.T) {
	w, r, release := meddled(t)
	release.Spec.Drift.Mode = v1alpha1.DriftReport
	again(t, r, release)
	assert.DeepEqual(t, release.Status.Drift, []v1alpha1.DriftedObject{{
		Object: "ConfigMap unity/a", Fields: []string{"data.k"}, Manager: "kubectl-edit", Reason: reconciler.DriftReported,
	}})
	assert.Equal(t, condition(release, v1alpha1.ConditionDrifted).Message,
		"1 objects differ from the commit and are not put back: ConfigMap unity/a (by kubectl-edit)")

	w.differs["ConfigMap a"] = reconciler.Change{Action: reconciler.ActionUnchanged, Live: &reconciler.Live{UID: "uid-a", Token: "t3"}}
	again(t, r, release)
	assert.Equal(t, len(release.Status.Drift), 0)
	assert.Equal(t, string(condition(release, v1alpha1.ConditionDrifted).Status), "absent")
}

// A reported difference is still one for the next attempt.
func TestTheNextAttemptAppliesWhatWasReported(t *testing.T) {
	w, r, release := meddled(t)
	release.Spec.Drift.Mode = v1alpha1.DriftReport
	again(t, r, release)
	w.moved, w.tip = nil, commitB
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap a"})
	assert.Equal(t, len(release.Status.Drift), 0)
}

// A23: the same field put back five times in a minute is a fight.
func TestAFightIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r, release := meddled(t)
		for range 8 {
			again(t, r, release)
			time.Sleep(time.Second) // The clock of the test.
		}
		assert.Equal(t, w.corrected, 5)
		assert.Equal(t, condition(release, v1alpha1.ConditionDrifted).Reason, reconciler.DriftFought)
		assert.Check(t, cmp.Contains(condition(release, v1alpha1.ConditionDrifted).Message, "(by kubectl-edit)"))
		time.Sleep(10 * time.Minute)
		again(t, r, release)
		assert.Equal(t, w.corrected, 5, "it stays stopped")
	})
}

func TestCorrectionsNowAndThenAreNoFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r, release := meddled(t)
		for range 20 {
			again(t, r, release)
			time.Sleep(20 * time.Second) // The clock of the test.
		}
		assert.Equal(t, w.corrected, 20)
	})
}

func TestFieldsThatOthersMaySetAreLeftToThem(t *testing.T) {
	w, r, release := meddled(t)
	release.Spec.Drift.Ignore = []v1alpha1.DriftRule{
		{Kind: "ConfigMap", Name: "a", Path: "/data/k"}, {Kind: "Secret", Path: "/data/x"}, {Path: "/metadata/labels/team"},
	}
	again(t, r, release)
	assert.DeepEqual(t, w.ignored, []string{"/data/k", "/metadata/labels/team"})
}

// Nothing is put back on a Release that is held or suspended: what it would
// be put back to is not decided.
func TestDriftWaitsWhileNothingIsDecided(t *testing.T) {
	w, r, release := meddled(t)
	release.Spec.Suspend = true
	again(t, r, release)
	release.Spec.Suspend = false
	release.Status.Phase, release.Status.HeldRevision = "Held", "main@sha1:"+commitA
	again(t, r, release)
	assert.Assert(t, !slices.ContainsFunc(w.trace, func(line string) bool { return strings.HasPrefix(line, "apply") }), "%v", w.trace)
}

// Without the right to watch, drift is not known; the condition says what to do.
func TestObjectsThatCannotBeWatchedAreTold(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b")
	w.blind, w.trouble = true, reconciler.Transientf("WatchForbidden", "ServiceAccount unity/deployer may not watch configmaps")
	again(t, r, release)
	drift := condition(release, v1alpha1.ConditionDrifted)
	assert.Equal(t, drift.Status, metav1.ConditionUnknown)
	assert.Equal(t, drift.Reason, "WatchForbidden")
	w.moved = []reconciler.Ref{w.watched[0].Ref}
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap a"}) // What is seen is put back all the same.

	w.blind, w.trouble, w.moved = false, nil, nil
	again(t, r, release)
	assert.Equal(t, string(condition(release, v1alpha1.ConditionDrifted).Status), "absent")
}
