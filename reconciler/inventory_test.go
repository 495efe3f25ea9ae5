package reconciler_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// delivered is a world in which a Release of these objects is settled, with
// the Reconciler that did it.
func delivered(t *testing.T, lines ...string) (*world, *reconciler.Reconciler, *v1alpha1.Release) {
	t.Helper()
	w, release := newWorld(), newRelease()
	release.Spec.Databases, release.Spec.Verify = nil, v1alpha1.Verify{}
	w.objects = objects(lines...)
	r := w.reconciler()
	again(t, r, release)
	assert.Equal(t, w.saved.Status.Phase, "Settled")
	w.trace, w.compared = nil, nil
	return w, r, release
}

// again is one more pass.
func again(t *testing.T, r *reconciler.Reconciler, release *v1alpha1.Release) reconciler.Next {
	t.Helper()
	next, err := r.Reconcile(t.Context(), release)
	assert.NilError(t, err)
	return next
}

func names(entries []reconciler.Entry) []string {
	var out []string
	for _, entry := range entries {
		out = append(out, entry.Kind+" "+entry.Name)
	}
	return out
}

func TestAOneObjectCommitAsksAboutOneObject(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b", "apps/v1 Deployment web")
	assert.DeepEqual(t, names(w.watched), []string{"ConfigMap a", "ConfigMap b", "Deployment web"})
	assert.Equal(t, w.saved.Status.Inventory.Objects, int32(3))

	w.tip = commitB
	w.objects = objects("v1 ConfigMap a", "v1 ConfigMap b", "apps/v1 Deployment web")
	w.objects[1].Object["data"] = map[string]any{"k": "v"}
	again(t, r, release)
	assert.DeepEqual(t, w.compared, []string{"ConfigMap b"})
	assert.DeepEqual(t, w.writes(), []string{"apply ConfigMap b"})
	assert.Equal(t, w.saved.Status.LastGoodRevision, "main@sha1:"+commitB)
	assert.Equal(t, len(w.records), 2, "the record of before is kept until the status names the new one, older ones are not")
}

// A phase is written into the status when it has something to do.
func TestStatusWritesAreFew(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b", "apps/v1 Deployment web")
	assert.Equal(t, w.saves, 4, "start, Foundation, Rollout, end")
	w.saves, w.tip = 0, commitB
	again(t, r, release)
	assert.Equal(t, w.saves, 2, "start and end of a commit that changes nothing")
}

// What moved, and everything while the watches are not synced, is compared.
func TestWhatIsNotKnownIsCompared(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b")
	w.blind, w.tip = true, commitB
	again(t, r, release)
	assert.DeepEqual(t, w.compared, []string{"ConfigMap a", "ConfigMap b"})

	w.blind, w.tip, w.compared = false, commitA, nil
	w.moved = []reconciler.Ref{w.watched[0].Ref}
	release.Spec.Drift.Mode = v1alpha1.DriftIgnore
	again(t, r, release)
	assert.Assert(t, slices.Contains(w.compared, "ConfigMap a"))
	assert.Assert(t, !slices.Contains(w.compared, "ConfigMap b"))
}

func TestTheInventorySurvivesARestart(t *testing.T) {
	w, _, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap c")
	w.tip, w.objects, w.watched = commitB, w.objects[:2], nil
	again(t, w.reconciler(), release)
	assert.DeepEqual(t, w.writes(), []string{"delete ConfigMap c"})
	assert.DeepEqual(t, names(w.watched), []string{"ConfigMap a", "ConfigMap b"})
}

// A16: an object that is going to be made is in the record before it is made,
// so that a daemon that is killed in between does not lose it.
func TestIntentIsRecordedBeforeTheWrite(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b")
	w.tip, w.objects = commitB, objects("v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap fresh")
	w.applyErr = errors.New("connection lost")
	again(t, r, release)
	assert.Equal(t, w.saved.Status.Inventory.Objects, int32(3))

	w.applyErr, w.tip, w.trace = nil, strings.Repeat("c", 40), nil
	w.objects = objects("v1 ConfigMap a", "v1 ConfigMap b")
	again(t, w.reconciler(), release)
	assert.DeepEqual(t, w.writes(), []string{"delete ConfigMap fresh"})
}

// A16: what could not be recorded is recorded by the next pass, not taken for
// recorded because it is in memory.
func TestAFailedRecordIsWrittenByTheNextPass(t *testing.T) {
	w, release := newWorld(), newRelease()
	release.Spec.Databases, release.Spec.Verify = nil, v1alpha1.Verify{}
	w.recordErr = errors.New("timeout")
	r := w.reconciler()
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string(nil))
	w.recordErr = nil
	w.applyErr = errors.New("killed")
	again(t, r, release)
	assert.Assert(t, w.saved.Status.Inventory != nil, "objects were written without a record")
	assert.Equal(t, w.saved.Status.Inventory.Objects, int32(3))
}

// A18: an object that says never is known as such before it is made, and after
// a restart.
func TestNeverIsRecordedWithTheIntent(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap c")
	w.tip, w.objects = commitB, objects("v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap c", "v1 ConfigMap precious")
	annotated(w.objects[2], reconciler.PruneAnnotation, "never")
	annotated(w.objects[3], reconciler.PruneAnnotation, "never")
	w.applyErr = reconciler.Terminalf("Broken", "no")
	again(t, r, release)
	assert.Equal(t, w.saved.Status.Phase, "Held")

	w.applyErr, w.tip, w.trace = nil, strings.Repeat("c", 40), nil
	w.objects = objects("v1 ConfigMap a", "v1 ConfigMap b")
	again(t, w.reconciler(), release)
	assert.Equal(t, w.saved.Status.Phase, "Settled")
	assert.DeepEqual(t, w.writes(), []string(nil))
}

// A16: an object that is made anew is another one; a record that has the UID of
// the old one would lose it.
func TestAnObjectMadeAnewIsRecordedWithoutItsOldUID(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b")
	w.tip = commitB
	w.moved = []reconciler.Ref{w.watched[0].Ref}
	release.Spec.Drift.Mode = v1alpha1.DriftIgnore
	w.applyErr = reconciler.Terminalf("Broken", "no")
	again(t, r, release)
	record := string(w.records[w.saved.Status.Inventory.Record])
	assert.Assert(t, strings.Contains(record, `"name":"a","uid":""`), record)
	assert.Assert(t, strings.Contains(record, `"name":"b","uid":"uid-b"`), record)
}

func TestALostInventoryIsToldAndNothingIsDeleted(t *testing.T) {
	w, _, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b")
	w.records, w.tip = nil, commitB
	again(t, w.reconciler(), release)
	assert.Equal(t, w.saved.Status.Phase, "Held")
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Reason, "InventoryMissing")
	assert.DeepEqual(t, w.writes(), []string(nil))
}

// A17: what replaces is there and verified before the replaced one goes.
func TestARenamedObjectIsMadeBeforeTheOldOneGoes(t *testing.T) {
	w, r, release := delivered(t, "v1 Service web", "apps/v1 Deployment old", "v1 ConfigMap c")
	w.tip, w.objects = commitB, objects("v1 Service web", "apps/v1 Deployment new", "v1 ConfigMap c")
	again(t, r, release)
	applied := slices.Index(w.trace, "apply Deployment new")
	assert.DeepEqual(t, w.trace[applied:], []string{
		"apply Deployment new", "Rollout succeeded", "Verify succeeded", "delete Deployment old", "Prune succeeded",
		"attempt succeeded", "event Settled warning=false",
	})
}

// A14, A16: what a finalizer holds stays in the inventory and blocks nothing.
func TestWhatIsNotGoneStaysInTheInventory(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap held")
	w.stays = map[string]bool{"ConfigMap held": true}
	w.tip, w.objects = commitB, objects("v1 ConfigMap a", "v1 ConfigMap b")
	again(t, r, release)
	assert.Equal(t, w.saved.Status.Phase, "Settled")
	assert.DeepEqual(t, w.saved.Status.Inventory.Leaving, int32(1))
	assert.DeepEqual(t, names(w.watched), []string{"ConfigMap a", "ConfigMap b"})

	w.stays, w.tip, w.trace = nil, commitA, nil
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string{"delete ConfigMap held"}) // The next attempt tries again.
	assert.DeepEqual(t, w.saved.Status.Inventory.Leaving, int32(0))
}

// A16: a refused deletion is told and not forgotten.
func TestARefusedDeletionIsTold(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap c")
	w.stays = map[string]bool{"ConfigMap c": true}
	w.deleteErr = reconciler.Terminalf("Forbidden", "ConfigMap c: denied by policy")
	w.tip, w.objects = commitB, objects("v1 ConfigMap a", "v1 ConfigMap b")
	again(t, r, release)
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Message, "Prune failed: ConfigMap c: denied by policy")
	assert.Equal(t, w.saved.Status.Inventory.Objects, int32(3))
}

func TestPruneHasBrakes(t *testing.T) {
	all := []string{"v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap c", "v1 PersistentVolumeClaim data", "apps/v1 StatefulSet db", "v1 ConfigMap d"}
	for name, test := range map[string]struct {
		left   []int
		allow  string
		writes []string
		held   string
	}{
		"one of many":                     {[]int{0, 1, 3, 4, 5}, "", []string{"delete ConfigMap c"}, ""},
		"more than half (R13)":            {[]int{3, 4}, "", nil, "without 4 of the 6 objects"},
		"more than half, allowed":         {[]int{3, 4}, "*", []string{"delete ConfigMap a", "delete ConfigMap b", "delete ConfigMap c", "delete ConfigMap d"}, ""},
		"a claim (A18)":                   {[]int{0, 1, 2, 4, 5}, "", nil, `PersistentVolumeClaim/data left the commit and may hold data`},
		"all is not a claim (A18)":        {[]int{0, 1, 2, 4, 5}, "*", nil, `PersistentVolumeClaim/data left the commit and may hold data`},
		"a claim, allowed by name":        {[]int{0, 1, 2, 4, 5}, "PersistentVolumeClaim/data", []string{"delete PersistentVolumeClaim data"}, ""},
		"a StatefulSet (A18)":             {[]int{0, 1, 2, 3, 5}, "PersistentVolumeClaim/data", nil, "StatefulSet/db left the commit"},
		"half of them":                    {[]int{0, 1, 2, 3, 4}, "", []string{"delete ConfigMap d"}, ""},
		"two allowed, what uses it first": {[]int{0, 1, 2, 5}, "PersistentVolumeClaim/data, StatefulSet/db", []string{"delete StatefulSet db", "delete PersistentVolumeClaim data"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, r, release := delivered(t, all...)
			var left []string
			for _, i := range test.left {
				left = append(left, all[i])
			}
			w.tip, w.objects = commitB, objects(left...)
			if test.allow != "" {
				w.files = map[string]string{"overlay/kustomization.yaml": "metadata: {annotations: {lockstep.dev/allow-prune: '" + test.allow + "'}}\nresources: [x]\n"}
			}
			again(t, r, release)
			assert.DeepEqual(t, w.writes(), test.writes)
			if test.held != "" {
				assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Reason, "PruneRefused")
				assert.Check(t, cmp.Contains(condition(w.saved, v1alpha1.ConditionReady).Message, test.held))
				return
			}
			assert.Equal(t, w.saved.Status.Phase, "Settled")
		})
	}
}

// Names that change with their content are no loss, and neither are Jobs.
func TestNewNamesAreNoLoss(t *testing.T) {
	w, r, release := delivered(t, "apps/v1 Deployment web", "v1 ConfigMap c-1", "v1 Secret s-1", "batch/v1 Job one", "batch/v1 Job two")
	w.tip, w.objects = commitB, objects("apps/v1 Deployment web", "v1 ConfigMap c-2", "v1 Secret s-2")
	again(t, r, release)
	assert.Equal(t, w.saved.Status.Phase, "Settled", "%v", w.saved.Status.Conditions)
}

// What was allowed once and waits for its finalizer needs not be allowed again,
// and what is kept does not hide a loss.
func TestBrakesCountWhatCanBeLost(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 PersistentVolumeClaim data")
	w.stays = map[string]bool{"PersistentVolumeClaim data": true}
	w.tip, w.objects = commitB, objects("v1 ConfigMap a")
	w.files = map[string]string{"overlay/kustomization.yaml": "metadata: {annotations: {lockstep.dev/allow-prune: PersistentVolumeClaim/data}}\n"}
	again(t, r, release)
	assert.Equal(t, w.saved.Status.Phase, "Settled")
	w.tip, w.files = commitA, nil
	again(t, r, release)
	assert.Equal(t, w.saved.Status.Phase, "Settled", "%v", w.saved.Status.Conditions)

	w, release = newWorld(), newRelease()
	release.Spec.Databases, release.Spec.Verify = nil, v1alpha1.Verify{}
	w.objects = objects("v1 ConfigMap a", "v1 ConfigMap b", "v1 ConfigMap c", "v1 Secret k1", "v1 Secret k2", "v1 Secret k3")
	for _, object := range w.objects[3:] {
		annotated(object, reconciler.PruneAnnotation, "never")
	}
	r = w.reconciler()
	again(t, r, release)
	w.tip, w.objects = commitB, w.objects[:1]
	again(t, r, release)
	assert.Check(t, cmp.Contains(condition(w.saved, v1alpha1.ConditionReady).Message, "without 2 of the 3 objects"))
}

func TestObjectsThatSayNeverStay(t *testing.T) {
	w, release := newWorld(), newRelease()
	release.Spec.Databases, release.Spec.Verify = nil, v1alpha1.Verify{}
	w.objects = objects("v1 ConfigMap a", "v1 ConfigMap b", "v1 PersistentVolumeClaim data")
	annotated(w.objects[2], reconciler.PruneAnnotation, "never")
	r := w.reconciler()
	again(t, r, release)
	w.tip, w.objects, w.trace = commitB, w.objects[:2], nil
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string(nil))
	assert.Equal(t, w.saved.Status.Phase, "Settled")
}

func TestPruneCanBeOff(t *testing.T) {
	w, r, release := delivered(t, "v1 ConfigMap a", "v1 ConfigMap b")
	release.Spec.Prune = new(false)
	w.tip, w.objects = commitB, objects("v1 ConfigMap a")
	again(t, r, release)
	assert.DeepEqual(t, w.writes(), []string(nil))
}

// P15: an object of another Release is not taken; it is asked for.
func TestAnObjectOfAnotherReleaseIsClaimed(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.differs = map[string]reconciler.Change{"ConfigMap settings": {
		Action: reconciler.ActionRefuse, Err: reconciler.Transientf(reconciler.ReasonOwned, "ConfigMap settings is delivered by Release shop/web"),
	}}
	next := pass(t, w, release)
	assert.Assert(t, next.Retry)
	assert.DeepEqual(t, w.writes(), []string(nil))
	assert.Assert(t, slices.Contains(w.trace, "claim ConfigMap settings"), "%v", w.trace)
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Reason, reconciler.ReasonOwned)
}

func TestDeletionOfARelease(t *testing.T) {
	all := []string{"v1 Service web", "v1 PersistentVolumeClaim data", "apps/v1 Deployment web"}
	for name, test := range map[string]struct {
		policy  string
		leaving bool
		trace   []string
	}{
		"orphan leaves everything": {policy: v1alpha1.DeletionOrphan, trace: []string{"finalizer false"}},
		"delete keeps what holds data": {
			policy: v1alpha1.DeletionDelete,
			trace:  []string{"delete Deployment web", "delete Service web", "event ObjectsLeft warning=false", "finalizer false"},
		},
		"a namespace that goes takes them along": {policy: v1alpha1.DeletionDelete, leaving: true, trace: []string{"finalizer false"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, r, release := delivered(t, all...)
			release.Spec.DeletionPolicy, release.DeletionTimestamp = test.policy, &metav1.Time{}
			release.Finalizers = []string{reconciler.Finalizer}
			w.leaving = test.leaving
			again(t, r, release)
			assert.DeepEqual(t, w.trace, test.trace)
			assert.Equal(t, len(release.Finalizers), 0)
		})
	}
}

// A Release that somebody else's finalizer holds is no reason to hurry.
func TestDeletionThatOthersHold(t *testing.T) {
	_, r, release := delivered(t, "v1 Service web")
	release.DeletionTimestamp, release.Finalizers = &metav1.Time{}, []string{"example.org/theirs"}
	assert.Equal(t, again(t, r, release), reconciler.Next{After: 30 * time.Second})
}

func TestDeletionWaitsForWhatIsHeld(t *testing.T) {
	w, r, release := delivered(t, "v1 Service web")
	release.Spec.DeletionPolicy = v1alpha1.DeletionDelete
	again(t, r, release)
	assert.DeepEqual(t, release.Finalizers, []string{reconciler.Finalizer})
	w.stays = map[string]bool{"Service web": true}
	release.DeletionTimestamp = &metav1.Time{}
	next := again(t, r, release)
	assert.Assert(t, next.Retry)
	assert.DeepEqual(t, release.Finalizers, []string{reconciler.Finalizer})
	w.stays = nil
	again(t, r, release)
	assert.Equal(t, len(release.Finalizers), 0)
}
