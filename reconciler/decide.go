package reconciler

import "github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"

// action is what a pass does about the revision that the branch points at.
type action int

const (
	// actionIdle: nothing changed since the last attempt ended.
	actionIdle action = iota
	// actionStart: a new attempt.
	actionStart
	// actionResume: the attempt that was cut off, or waits to be tried again.
	actionResume
)

// decide compares what is wanted with what was attempted last. Both the
// revision and the generation of the spec count: who edits the Release wants
// it tried again, even after it was held.
func decide(release *v1alpha1.Release, revision string) action {
	status := &release.Status
	switch {
	case status.LastAttemptedRevision != revision || status.ObservedGeneration != release.Generation:
		return actionStart
	case status.HeldRevision == revision:
		return actionIdle
	case status.LastGoodRevision == revision && status.Phase == string(PhaseSettled):
		return actionIdle
	default:
		return actionResume
	}
}

// runDecision is what to do about a migration set.
type runDecision struct {
	verb runVerb
	// index of the Job to start or to wait for, counted from 0.
	index int
	// job is the finished Job that decided, for runDone and runFailed.
	job JobState
}

type runVerb int

const (
	runStart runVerb = iota
	runAwait
	runDone
	runFailed
)

// decideRun looks at the Jobs that exist for one digest, oldest first. An
// unfinished Job is always waited for, whoever made it, since two must never
// run at once (J1, J6). A failed one is followed by another only when its
// failure may pass by itself and attempts are left, or when a person asked
// anew by changing the Release since (J7).
func decideRun(jobs []JobState, attempt int64, limit int) runDecision {
	interrupted := 0
	for i, job := range jobs {
		switch {
		case job.Phase == JobRunning:
			return runDecision{verb: runAwait, index: i, job: job}
		case job.Phase == JobComplete:
			return runDecision{verb: runDone, index: i, job: job}
		case job.Attempt == attempt:
			interrupted++
		}
	}
	if len(jobs) == 0 {
		return runDecision{verb: runStart}
	}
	last := jobs[len(jobs)-1]
	if last.Attempt == attempt && (!mayPass(last) || interrupted >= limit) {
		return runDecision{verb: runFailed, index: len(jobs) - 1, job: last}
	}
	return runDecision{verb: runStart, index: len(jobs)}
}

// ExitTemporary is the exit code by which `lockstep migrate` says that trying
// again may help. It is EX_TEMPFAIL of sysexits(3).
const ExitTemporary = 75

func mayPass(job JobState) bool { return job.ExitCode == ExitTemporary }
