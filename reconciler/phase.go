package reconciler

// Phase is one step of an attempt. It is also a metric label, a log field and
// the value of status.phase.
type Phase string

// The phases in their order, then the two ends.
const (
	// PhaseFetch brings the commit into the local store.
	PhaseFetch Phase = "Fetch"
	// PhaseRender builds the overlay into objects.
	PhaseRender Phase = "Render"
	// PhasePlan sorts the objects into stages, reads the migrations and
	// dry-runs all that can be dry-run. Nothing is written before it ends.
	PhasePlan Phase = "Plan"
	// PhaseFoundation applies what the workload and the migrations stand on.
	PhaseFoundation Phase = "Foundation"
	// PhaseMigrate runs the migration Jobs, one after the other.
	PhaseMigrate Phase = "Migrate"
	// PhaseRollout applies the workload and waits for it.
	PhaseRollout Phase = "Rollout"
	// PhaseVerify asks the new workload what it was rolled out for.
	PhaseVerify Phase = "Verify"
	// PhasePrune deletes what left the commit.
	PhasePrune Phase = "Prune"
	// PhaseSettled is the good end of an attempt.
	PhaseSettled Phase = "Settled"
	// PhaseHeld is the bad end of an attempt.
	PhaseHeld Phase = "Held"
)

// Outcome is how a phase or an attempt ended. It is also a metric label.
type Outcome string

// The outcomes.
const (
	// OutcomeSucceeded means that the phase did what it is for.
	OutcomeSucceeded Outcome = "succeeded"
	// OutcomeRetry means that it failed in a way that may pass by itself.
	OutcomeRetry Outcome = "retry"
	// OutcomeHeld means that it failed until somebody changes something.
	OutcomeHeld Outcome = "held"
	// OutcomeSuperseded means that the branch moved while it waited.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeInterrupted means that the daemon was told to stop.
	OutcomeInterrupted Outcome = "interrupted"
)

// Stage says which phase applies an object.
type Stage string

// The stages.
const (
	// StageFoundation is applied before migrations: databases, configuration, rights.
	StageFoundation Stage = "foundation"
	// StageMigrate holds Jobs that change a database.
	StageMigrate Stage = "migrate"
	// StageWorkload is applied after migrations.
	StageWorkload Stage = "workload"
	// StageVerify holds Jobs that must succeed after the rollout.
	StageVerify Stage = "verify"
)
