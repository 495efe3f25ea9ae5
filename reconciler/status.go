package reconciler

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Reasons of conditions that more than one place speaks of.
const (
	// ReasonAuthenticationFailed is used when the git server refused the credentials.
	ReasonAuthenticationFailed = "AuthenticationFailed"
	// ReasonProgressing is used while phases run.
	ReasonProgressing = "Progressing"
	// ReasonSettled is used when a revision went through all phases.
	ReasonSettled = "Settled"
	// ReasonSuspended is used while spec.suspend is set.
	ReasonSuspended = "Suspended"
	// ReasonTimeout is used when something was not ready in time.
	ReasonTimeout = "Timeout"
)

// maxMessage bounds a condition message. The API allows 32 KiB; a person
// reads less.
const maxMessage = 2048

// equalStatus compares two states without the times of their conditions'
// changes, which follow from the rest.
func equalStatus(a, b *v1alpha1.ReleaseStatus) bool {
	return equality.Semantic.DeepEqual(a, b)
}

func setCondition(release *v1alpha1.Release, kind string, value metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&release.Status.Conditions, metav1.Condition{
		Type: kind, Status: value, Reason: reason, Message: clip(message, maxMessage),
		ObservedGeneration: release.Generation,
	})
}

func dropCondition(release *v1alpha1.Release, kind string) {
	meta.RemoveStatusCondition(&release.Status.Conditions, kind)
}

// suspend marks a Release on which nothing new is tried. Ready keeps telling
// the truth about what is deployed.
func suspend(release *v1alpha1.Release) {
	dropCondition(release, v1alpha1.ConditionReconciling)
	setCondition(release, v1alpha1.ConditionSuspended, metav1.ConditionTrue, ReasonSuspended, "spec.suspend is true: no new attempt is started")
}

// reachable marks that the branch was read and holds nothing new.
func reachable(release *v1alpha1.Release) {
	handled(release)
	dropCondition(release, v1alpha1.ConditionSuspended)
	setCondition(release, v1alpha1.ConditionSourceReady, metav1.ConditionTrue, "BranchRead", "the branch can be read")
}

// sourceFailed marks that the branch could not be read. A Release that never
// delivered anything is not ready because of it; one that did stays as it is.
func sourceFailed(release *v1alpha1.Release, err error) {
	if IsTerminal(err) {
		handled(release)
	}
	dropCondition(release, v1alpha1.ConditionSuspended)
	reason := ReasonOf(err, "SourceFailed")
	setCondition(release, v1alpha1.ConditionSourceReady, metav1.ConditionFalse, reason, err.Error())
	if release.Status.LastAttemptedRevision == "" {
		setCondition(release, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, err.Error())
		setCondition(release, v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason, "the branch is read again after the interval")
	}
}

// begin marks the start of an attempt.
func begin(release *v1alpha1.Release, revision string) {
	reachable(release)
	now := metav1.Now()
	status := &release.Status
	status.Attempt++
	status.AttemptStartedAt = &now
	status.ObservedGeneration = release.Generation
	status.LastAttemptedRevision = revision
	status.HeldRevision = ""
	keepDatabases(release)
	dropCondition(release, v1alpha1.ConditionStalled)
	enter(release, PhaseFetch)
}

// keepDatabases forgets what is known of databases that the spec names no more.
func keepDatabases(release *v1alpha1.Release) {
	release.Status.Databases = slices.DeleteFunc(release.Status.Databases, func(known v1alpha1.DatabaseStatus) bool {
		return !slices.ContainsFunc(release.Spec.Databases, func(d v1alpha1.Database) bool { return d.Name == known.Name })
	})
}

// enter marks the start of a phase.
func enter(release *v1alpha1.Release, phase Phase) {
	status := &release.Status
	if status.Phase != string(phase) || status.PhaseStartedAt == nil {
		now := metav1.Now()
		status.PhaseStartedAt = &now
	}
	status.Phase = string(phase)
	message := fmt.Sprintf("%s of %s", phase, status.LastAttemptedRevision)
	setCondition(release, v1alpha1.ConditionReady, metav1.ConditionUnknown, ReasonProgressing, message)
	setCondition(release, v1alpha1.ConditionReconciling, metav1.ConditionTrue, ReasonProgressing, message)
}

// settle marks the good end of an attempt.
func settle(release *v1alpha1.Release, revision string) {
	now := metav1.Now()
	status := &release.Status
	status.Phase = string(PhaseSettled)
	status.PhaseStartedAt = &now
	status.LastGoodRevision = revision
	status.LastGoodTime = &now
	putDrift(release, nil)
	dropCondition(release, v1alpha1.ConditionReconciling)
	dropCondition(release, v1alpha1.ConditionStalled)
	setCondition(release, v1alpha1.ConditionReady, metav1.ConditionTrue, ReasonSettled, "delivered "+revision)
}

// hold marks the bad end of an attempt. The last good revision stays.
func hold(release *v1alpha1.Release, revision string, phase Phase, err error) {
	now := metav1.Now()
	status := &release.Status
	status.Phase = string(PhaseHeld)
	status.PhaseStartedAt = &now
	status.HeldRevision = revision
	reason := ReasonOf(err, string(phase)+"Failed")
	message := fmt.Sprintf("%s failed: %s", phase, err)
	dropCondition(release, v1alpha1.ConditionReconciling)
	setCondition(release, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
	setCondition(release, v1alpha1.ConditionStalled, metav1.ConditionTrue, reason,
		message+"; not tried again until the branch or the Release changes")
}

// putDrift lists what differs from the commit and is not put back.
func putDrift(release *v1alpha1.Release, listed []v1alpha1.DriftedObject) {
	if len(listed) == 0 {
		release.Status.Drift = nil
		dropCondition(release, v1alpha1.ConditionDrifted)
		return
	}
	reason := listed[0].Reason
	if fight := slices.IndexFunc(listed, func(d v1alpha1.DriftedObject) bool { return d.Reason == DriftFought }); fight >= 0 {
		reason = DriftFought
	}
	var names []string
	for _, object := range listed {
		name := object.Object
		if object.Manager != "" {
			name += " (by " + object.Manager + ")"
		}
		if object.Message != "" {
			name += " (" + object.Message + ")"
		}
		names = append(names, name)
	}
	release.Status.Drift = listed[:min(len(listed), maxDrift)]
	setCondition(release, v1alpha1.ConditionDrifted, metav1.ConditionTrue, reason,
		fmt.Sprintf("%d objects differ from the commit and are not put back: %s", len(listed), strings.Join(names, ", ")))
}

// driftWatched tells when objects cannot be watched: what others change there
// is found by the next attempt only. What is known to have drifted says more.
func driftWatched(release *v1alpha1.Release, synced bool, trouble error) {
	if trouble != nil && len(release.Status.Drift) == 0 {
		setCondition(release, v1alpha1.ConditionDrifted, metav1.ConditionUnknown, ReasonOf(trouble, "WatchFailed"), trouble.Error())
	}
	if trouble != nil {
		return
	}
	unknown := meta.IsStatusConditionPresentAndEqual(release.Status.Conditions, v1alpha1.ConditionDrifted, metav1.ConditionUnknown)
	if synced && unknown {
		putDrift(release, release.Status.Drift)
	}
}

// retry marks a failure that may pass by itself.
func retry(release *v1alpha1.Release, phase Phase, err error) {
	release.Status.PhaseStartedAt = nil // The next try has its whole time.
	reason := ReasonOf(err, string(phase)+"Failed")
	message := fmt.Sprintf("%s: %s", phase, err)
	setCondition(release, v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
	setCondition(release, v1alpha1.ConditionReconciling, metav1.ConditionTrue, "Retrying", message)
}

// clip shortens text to at most limit bytes, keeping its beginning and whole
// characters.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const mark = " …"
	return strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
}
