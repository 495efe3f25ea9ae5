package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition types of a Release, as kstatus and `kubectl wait` read them.
const (
	// ConditionReady is True when the branch's revision is settled.
	ConditionReady = "Ready"
	// ConditionReconciling is True while an attempt is under way, and absent otherwise.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when nothing more is tried until the branch or the Release changes, and absent otherwise.
	ConditionStalled = "Stalled"
	// ConditionSourceReady is False while the branch cannot be read. Ready
	// does not follow it: what was delivered stays delivered.
	ConditionSourceReady = "SourceReady"
	// ConditionDrifted is True while objects differ from the commit and are not
	// put back, and absent otherwise.
	ConditionDrifted = "Drifted"
	// ConditionSuspended is True while spec.suspend is set, and absent otherwise.
	ConditionSuspended = "Suspended"
)

// RequestedAtAnnotation makes the daemon look at the branch at once whenever
// its value changes.
const RequestedAtAnnotation = "lockstep.dev/requested-at"

// ReleaseStatus is what Lockstep knows about a Release.
type ReleaseStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions: Ready, Reconciling, Stalled, SourceReady, Suspended.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Phase that runs, or ran last: Fetch, Render, Plan, Foundation, Migrate,
	// Rollout, Verify, Settled or Held.
	//
	// +optional
	Phase string `json:"phase,omitempty"`

	// PhaseStartedAt is when Phase began. A daemon that takes over goes on
	// with what is left of a timeout, not with all of it.
	//
	// +optional
	PhaseStartedAt *metav1.Time `json:"phaseStartedAt,omitempty"`

	// Attempt counts the tries to carry a revision through all phases.
	//
	// +optional
	Attempt int64 `json:"attempt,omitempty"`

	// AttemptStartedAt is when the attempt began.
	//
	// +optional
	AttemptStartedAt *metav1.Time `json:"attemptStartedAt,omitempty"`

	// LastAttemptedRevision is the newest revision that was tried, as
	// branch@sha1:commit.
	//
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`

	// Signer is who signed LastAttemptedRevision, where spec.source.verify asks
	// for a signature.
	//
	// +optional
	Signer string `json:"signer,omitempty"`

	// LastHandledRequestedAt is the value of the annotation
	// lockstep.dev/requested-at that was acted upon last.
	//
	// +optional
	LastHandledRequestedAt string `json:"lastHandledRequestedAt,omitempty"`

	// LastGoodRevision is the newest revision that settled. A failure never
	// erases it.
	//
	// +optional
	LastGoodRevision string `json:"lastGoodRevision,omitempty"`

	// LastGoodTime is when LastGoodRevision settled.
	//
	// +optional
	LastGoodTime *metav1.Time `json:"lastGoodTime,omitempty"`

	// HeldRevision failed and is not tried again until the branch or the
	// spec of the Release changes.
	//
	// +optional
	HeldRevision string `json:"heldRevision,omitempty"`

	// Inventory is what was applied.
	//
	// +optional
	Inventory *InventoryStatus `json:"inventory,omitempty"`

	// Drift lists objects that differ from the commit and are not put back,
	// the first 50.
	//
	// +optional
	// +listType=atomic
	Drift []DriftedObject `json:"drift,omitempty"`

	// Databases as they were found last.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	Databases []DatabaseStatus `json:"databases,omitempty"`

	// Ledger of what ran on the databases, oldest first, the last 20 entries.
	//
	// +optional
	// +listType=atomic
	Ledger []LedgerEntry `json:"ledger,omitempty"`
}

// InventoryStatus says how much was applied and where the list of it is.
type InventoryStatus struct {
	// Objects in the inventory.
	Objects int32 `json:"objects"`
	// Leaving is how many of them left the commit and are not gone yet.
	//
	// +optional
	Leaving int32 `json:"leaving,omitempty"`
	// Record finds the list.
	Record string `json:"record"`
}

// DriftedObject is an object that is not as the commit has it.
type DriftedObject struct {
	// Object as kind and name.
	Object string `json:"object"`
	// Fields that differ, the first 10.
	//
	// +optional
	// +listType=atomic
	Fields []string `json:"fields,omitempty"`
	// Manager that set one of them last, where known.
	//
	// +optional
	Manager string `json:"manager,omitempty"`
	// Reason why it is not put back: Reported, Fought or Refused.
	Reason string `json:"reason"`
	// Message of the API server that refuses it.
	//
	// +optional
	Message string `json:"message,omitempty"`
}

// DatabaseStatus is a database as it was found last.
type DatabaseStatus struct {
	// Name of the database in the spec.
	Name string `json:"name"`
	// Version that the version table claims, empty when it claims none.
	//
	// +optional
	Version string `json:"version,omitempty"`
	// Expected version: the newest in the commit.
	//
	// +optional
	Expected string `json:"expected,omitempty"`
	// Pending migrations: those of the commit that are newer than Version.
	//
	// +optional
	Pending int32 `json:"pending,omitempty"`
	// Dirty is true when a migration stopped half-way and a person must look.
	//
	// +optional
	Dirty bool `json:"dirty,omitempty"`
}

// LedgerEntry is one run of a migration.
type LedgerEntry struct {
	// Digest of what ran: the files of a migration set, or the spec of a Job.
	Digest string `json:"digest"`
	// Database on which it ran, empty for a Job of the overlay.
	//
	// +optional
	Database string `json:"database,omitempty"`
	// Job that ran it.
	Job string `json:"job"`
	// Revision that brought it.
	Revision string `json:"revision"`
	// Result: Succeeded, Failed or Interrupted (may be tried again).
	//
	// +kubebuilder:validation:Enum=Succeeded;Failed;Interrupted
	Result string `json:"result"`
	// VersionBefore and VersionAfter are what the version table claimed.
	//
	// +optional
	VersionBefore string `json:"versionBefore,omitempty"`
	// +optional
	VersionAfter string `json:"versionAfter,omitempty"`
	// File, Line and SQLState say where and why a migration failed.
	//
	// +optional
	File string `json:"file,omitempty"`
	// +optional
	Line int32 `json:"line,omitempty"`
	// +optional
	SQLState string `json:"sqlState,omitempty"`
	// Message says what happened in one sentence.
	//
	// +optional
	Message string `json:"message,omitempty"`
	// StartedAt and FinishedAt are the times of the Job.
	//
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
}
