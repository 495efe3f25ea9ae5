package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// attempt is one try to carry a revision through all phases. What a phase
// finds out for the later ones stands here; nothing of it is stored, since
// each pass finds it out again.
type attempt struct {
	*Reconciler

	release  *v1alpha1.Release
	tenant   Tenant
	repo     Repository
	tip      Tip
	revision string

	tree    Tree
	objects []Object
	plan    Plan
	// held is the inventory; digests and kept belong to the objects of this
	// commit.
	held    inventory
	digests map[Ref]string
	kept    map[Ref]bool

	// resumed is the phase in which an earlier pass was cut off, and when that
	// phase began.
	resumed struct {
		phase string
		at    *metav1.Time
	}
	// waiting is true while the pass has left its place.
	waiting bool

	// unsaved is the status as it was written last, while the one in memory is
	// ahead of it.
	unsaved *v1alpha1.ReleaseStatus
}

// step is a phase and what it does.
type step struct {
	phase Phase
	run   func(context.Context) error
}

// steps is the list of phases. Their order is the promise of this program:
// the database is changed before the workload that needs the change.
func (a *attempt) steps() []step {
	return []step{
		{PhaseFetch, a.fetch},
		{PhaseRender, a.render},
		{PhasePlan, a.planned},
		{PhaseFoundation, a.foundation},
		{PhaseMigrate, a.migrate},
		{PhaseRollout, a.rollout},
		{PhaseVerify, a.verify},
		{PhasePrune, a.prune},
	}
}

// start records that a new attempt begins.
func (a *attempt) start(ctx context.Context) error {
	err := a.save(ctx, a.release, func(release *v1alpha1.Release) { begin(release, a.revision) })
	if err != nil {
		return err
	}
	a.Cluster.Event(a.release, false, "AttemptStarted", fmt.Sprintf("attempt %d delivers %s", a.release.Status.Attempt, a.revision))
	return nil
}

// run drives the phases. It alone records them: a step returns an error and
// knows nothing of status, metrics or events.
func (a *attempt) run(ctx context.Context) (Next, error) {
	log := a.Log.With("namespace", a.release.Namespace, "release", a.release.Name, "revision", a.revision, "attempt", a.release.Status.Attempt)
	for _, step := range a.steps() {
		if err := a.enter(ctx, step.phase); err != nil {
			return Next{}, err
		}
		a.boundary(step.phase, false)
		at := time.Now()
		err := step.run(ctx)
		outcome := outcomeOf(ctx, err)
		a.Recorder.Phase(keyOf(a.release), step.phase, outcome, time.Since(at))
		log.InfoContext(ctx, "phase ended", "phase", step.phase, "outcome", outcome, "took", time.Since(at).Round(time.Millisecond), "error", err)
		a.boundary(step.phase, true)
		if err != nil {
			return a.stop(ctx, step.phase, outcome, err)
		}
	}
	return a.settled(ctx)
}

// enter records that a phase begins. The status is written when the phase has
// something to do that takes time; else the next write tells.
func (a *attempt) enter(ctx context.Context, phase Phase) error {
	enter := func(release *v1alpha1.Release) {
		enter(release, phase)
		if a.resumed.phase == string(phase) && a.resumed.at != nil {
			release.Status.PhaseStartedAt = a.resumed.at
		}
	}
	if a.takesTime(phase) {
		return a.save(ctx, a.release, enter)
	}
	a.aheadOfStatus()
	enter(a.release)
	return nil
}

// aheadOfStatus notes what is written, before the status in memory changes.
func (a *attempt) aheadOfStatus() {
	if a.unsaved == nil {
		a.unsaved = a.release.Status.DeepCopy()
	}
}

func (a *attempt) takesTime(phase Phase) bool {
	changing := func(changes []Change) bool {
		return slices.ContainsFunc(changes, func(change Change) bool { return change.Action != ActionUnchanged })
	}
	switch phase {
	case PhaseFoundation:
		return changing(a.plan.Foundation)
	case PhaseMigrate:
		return len(a.plan.Sets)+len(a.plan.Migrate) > 0
	case PhaseRollout:
		return changing(a.plan.Workload)
	case PhaseVerify:
		return len(a.release.Spec.Verify.HTTP)+len(a.plan.Verify) > 0
	default:
		return false
	}
}

// save writes the status when a change, or a phase that was not written yet,
// makes a difference.
func (a *attempt) save(ctx context.Context, release *v1alpha1.Release, change func(*v1alpha1.Release)) error {
	before := a.unsaved
	if before == nil {
		before = release.Status.DeepCopy()
	}
	if err := a.saveSince(ctx, release, before, change); err != nil {
		return err
	}
	a.unsaved = nil
	return nil
}

func (a *attempt) boundary(phase Phase, after bool) {
	if a.Boundary != nil {
		a.Boundary(phase, after)
	}
}

// outcomeOf classifies the end of a phase.
func outcomeOf(ctx context.Context, err error) Outcome {
	switch {
	case err == nil:
		return OutcomeSucceeded
	case ctx.Err() != nil:
		return OutcomeInterrupted
	case errors.Is(err, ErrSuperseded):
		return OutcomeSuperseded
	case IsTerminal(err):
		return OutcomeHeld
	default:
		return OutcomeRetry
	}
}

// stop ends an attempt that did not get through.
func (a *attempt) stop(ctx context.Context, phase Phase, outcome Outcome, err error) (Next, error) {
	a.Recorder.Attempt(keyOf(a.release), outcome, 0)
	next := Next{After: a.release.Spec.Source.Interval.Duration}
	switch outcome {
	case OutcomeInterrupted:
		return next, ctx.Err()
	case OutcomeSuperseded:
		a.Cluster.Event(a.release, false, "Superseded", fmt.Sprintf("%s of %s was left: %s", phase, a.revision, err))
		return Next{}, nil
	case OutcomeHeld:
		a.Cluster.Event(a.release, true, ReasonOf(err, string(phase)+"Failed"), fmt.Sprintf("%s is held: %s: %s", a.revision, phase, err))
		return next, a.save(ctx, a.release, func(release *v1alpha1.Release) { hold(release, a.revision, phase, err) })
	default:
		a.Cluster.Event(a.release, true, ReasonOf(err, string(phase)+"Failed"), fmt.Sprintf("%s is tried again: %s: %s", a.revision, phase, err))
		next.Retry = true
		return next, a.save(ctx, a.release, func(release *v1alpha1.Release) { retry(release, phase, err) })
	}
}

// settled ends an attempt that got through.
func (a *attempt) settled(ctx context.Context) (Next, error) {
	a.boundary(PhaseSettled, false)
	err := a.save(ctx, a.release, func(release *v1alpha1.Release) { settle(release, a.revision) })
	if err != nil {
		return Next{}, err
	}
	var took time.Duration
	if began := a.release.Status.AttemptStartedAt; began != nil {
		took = time.Since(began.Time)
	}
	a.Recorder.Attempt(keyOf(a.release), OutcomeSucceeded, took)
	a.Cluster.Event(a.release, false, ReasonSettled, "delivered "+a.revision)
	a.boundary(PhaseSettled, true)
	return Next{After: a.release.Spec.Source.Interval.Duration}, nil
}

// deadline is when the phase that runs has used up its timeout. It counts
// from the recorded start of the phase, so that a restart of the daemon does
// not give a hopeless rollout another five minutes.
func (a *attempt) deadline() time.Time {
	timeout := a.release.Spec.Rollout.Timeout.Duration
	if at := a.release.Status.PhaseStartedAt; at != nil {
		return at.Add(timeout)
	}
	return time.Now().Add(timeout)
}

// wait runs await until it ends or the phase's deadline passes. It does so in
// slices of the poll interval: a commit that repairs a hopeless rollout must
// not wait for that rollout's timeout (J7).
func (a *attempt) wait(ctx context.Context, await func(context.Context) error) error {
	until := a.deadline()
	for {
		end := time.Now().Add(a.release.Spec.Source.Interval.Duration)
		last := !end.Before(until)
		if last {
			end = until
		}
		slice, cancel := context.WithDeadline(ctx, end)
		err := a.aside(ctx, func() error { return await(slice) })
		expired := slice.Err() != nil
		cancel()
		switch {
		case err == nil || ctx.Err() != nil || !expired:
			return err
		case last:
			return Terminalf(ReasonTimeout, "not done after %s: %w", a.release.Spec.Rollout.Timeout.Duration, err)
		case a.moved(ctx):
			return ErrSuperseded
		}
		if err := a.save(ctx, a.release, func(*v1alpha1.Release) {}); err != nil {
			return err
		}
	}
}

// aside runs what only waits, so that a slow Release keeps no other from being
// worked on. What is aside already stays so.
func (a *attempt) aside(ctx context.Context, wait func() error) error {
	if a.waiting {
		return wait()
	}
	a.waiting = true
	back := a.Loop.Aside(ctx)
	defer func() {
		back()
		a.waiting = false
	}()
	return wait()
}

// moved tells whether the branch points elsewhere by now, or the Release was
// edited. A branch that cannot be read has not moved.
func (a *attempt) moved(ctx context.Context) bool {
	if a.Loop.Stale(a.release) {
		return true
	}
	tip, err := a.Source.Resolve(ctx, a.repo)
	return err == nil && tip.Commit != a.tip.Commit
}
