package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Results of ledger entries.
const (
	// LedgerSucceeded means that it is done and never runs again.
	LedgerSucceeded = "Succeeded"
	// LedgerFailed means that it did not, and that trying again cannot help.
	LedgerFailed = "Failed"
	// LedgerInterrupted means that what stopped it may pass.
	LedgerInterrupted = "Interrupted"
)

// maxLedger is how many entries of the ledger are kept.
const maxLedger = 20

// Labels of the Jobs that run migrations.
const (
	ReleaseLabel  = "lockstep.dev/release"
	DatabaseLabel = "lockstep.dev/database"
)

// MigrationReport is what `lockstep migrate` leaves as its termination
// message: JSON, at most 4 KiB, since that is what a kubelet keeps.
type MigrationReport struct {
	// Outcome is succeeded, nothing, failed or interrupted.
	Outcome       string             `json:"outcome"`
	VersionBefore string             `json:"versionBefore,omitempty"`
	VersionAfter  string             `json:"versionAfter,omitempty"`
	Applied       []AppliedMigration `json:"applied,omitempty"`
	File          string             `json:"file,omitempty"`
	Line          int32              `json:"line,omitempty"`
	SQLState      string             `json:"sqlState,omitempty"`
	Message       string             `json:"message,omitempty"`
	Dirty         bool               `json:"dirty,omitempty"`
}

// AppliedMigration is one file that ran.
type AppliedMigration struct {
	Version      uint64 `json:"version"`
	Title        string `json:"title,omitempty"`
	Milliseconds int64  `json:"ms"`
}

// migrate brings each database to what the commit expects, then runs the Jobs
// of the overlay in their order. One after the other: a later one may need
// what an earlier one made.
func (a *attempt) migrate(ctx context.Context) error {
	for _, database := range a.release.Spec.Databases {
		set, ok := a.plan.Sets[database.Name]
		if !ok {
			continue
		}
		if err := a.migrateDatabase(ctx, database, set); err != nil {
			return fmt.Errorf("database %s: %w", database.Name, err)
		}
	}
	for _, job := range a.plan.Migrate {
		if err := a.runMigrationJob(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

func (a *attempt) migrateDatabase(ctx context.Context, database v1alpha1.Database, set MigrationSet) error {
	done, err := a.upToDate(ctx, database, set)
	if err != nil || done {
		return err
	}
	digest, err := digestOf(set.Digest, a.release.Name, database.Name, database.SecretRef.Name)
	if err != nil {
		return err
	}
	run := MigrationRun{
		Labels: map[string]string{
			ReleaseLabel: a.release.Name, DatabaseLabel: database.Name, DigestLabel: digest[:40],
		},
		Attempt: a.release.Status.Attempt, Database: database.Name, SecretName: database.SecretRef.Name,
		Set: set, Guard: database.Guard, Owner: a.release,
	}
	return a.runToTheEnd(ctx, run, digest)
}

// upToDate reads the version table. A database that cannot be asked is left
// to the Job, which runs beside it and says why; unless the ledger already
// knows that this very set ran (J15: success needs positive evidence).
func (a *attempt) upToDate(ctx context.Context, database v1alpha1.Database, set MigrationSet) (bool, error) {
	secret, err := a.tenant.Secret(ctx, database.SecretRef.Name)
	if err != nil {
		return false, Transientf("CredentialsUnavailable", "secretRef: %w", err)
	}
	state, err := a.Migrations.State(ctx, secret, a.release.Namespace)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case IsTerminal(err):
		return false, err
	case err != nil:
		a.Log.InfoContext(ctx, "database not reachable from the daemon; the Job will say", "database", database.Name, "error", err)
		return ledgerHas(a.release, database.Name, set.Digest), nil
	}
	if err := a.recordState(ctx, database.Name, set, state); err != nil {
		return false, err
	}
	return judgeState(state, set)
}

// judgeState compares what a version table claims with the files of a commit.
func judgeState(state SchemaState, set MigrationSet) (done bool, err error) {
	switch {
	case state.Dirty:
		return false, Terminalf("DatabaseDirty",
			"version %d is marked dirty: a migration stopped half-way; compare the schema with the file of that version, repair it, then set the version by hand with `migrate force`", state.Version)
	case state.Versioned && state.Version > set.Latest():
		return false, Terminalf("DatabaseNewer",
			"the database is at version %d, the newest file in this commit is %d: deliver a commit that has the file, the schema is never taken back by itself", state.Version, set.Latest())
	}
	return state.Versioned && state.Version == set.Latest(), nil
}

// recordState puts what was read into the status.
func (a *attempt) recordState(ctx context.Context, name string, set MigrationSet, state SchemaState) error {
	entry := v1alpha1.DatabaseStatus{Name: name, Expected: strconv.FormatUint(set.Latest(), 10), Dirty: state.Dirty}
	if state.Versioned {
		entry.Version = strconv.FormatUint(state.Version, 10)
	}
	for _, version := range set.Versions {
		if !state.Versioned || version > state.Version {
			entry.Pending++
		}
	}
	return a.save(ctx, a.release, func(release *v1alpha1.Release) { putDatabase(release, entry) })
}

func putDatabase(release *v1alpha1.Release, entry v1alpha1.DatabaseStatus) {
	for i := range release.Status.Databases {
		if release.Status.Databases[i].Name == entry.Name {
			release.Status.Databases[i] = entry
			return
		}
	}
	release.Status.Databases = append(release.Status.Databases, entry)
}

// runToTheEnd starts or finds the Job of a migration set and waits for its
// end, whatever happens to the branch meanwhile: a migration that runs is
// never abandoned.
func (a *attempt) runToTheEnd(ctx context.Context, run MigrationRun, digest string) error {
	jobs, err := a.tenant.Jobs(ctx, run.Labels)
	if err != nil {
		return err
	}
	decision := decideRun(jobs, run.Attempt, int(run.Guard.Attempts))
	job := decision.job
	switch decision.verb {
	case runStart:
		run.Name = suffixed(jobStem(a.release.Name, run.Database), digest[:10]+"-"+strconv.Itoa(decision.index))
		if err := a.tenant.StartMigration(ctx, run); err != nil {
			return err
		}
		job, err = a.awaitJob(ctx, a.release.Namespace, run.Name)
	case runAwait:
		job, err = a.awaitJob(ctx, a.release.Namespace, job.Name)
	case runDone, runFailed:
	}
	if err != nil {
		return err
	}
	err = a.judgeRun(ctx, run, job)
	if err != nil && decision.verb == runFailed {
		return Terminalf("MigrationFailed", "given up after %d tries: %w", decision.index+1, err)
	}
	return err
}

// judgeRun writes the ledger before anything else can happen, then says what
// the Job's end means.
func (a *attempt) judgeRun(ctx context.Context, run MigrationRun, job JobState) error {
	report := parseReport(job)
	entry := ledgerEntry(job, a.revision, report)
	entry.Digest, entry.Database = run.Set.Digest, run.Database
	err := a.save(ctx, a.release, func(release *v1alpha1.Release) {
		putLedger(release, entry)
		putDatabase(release, databaseAfter(release, run, report))
	})
	if err != nil {
		return err
	}
	a.Recorder.Migration(keyOf(a.release), run.Database, job.FinishedAt.Sub(job.StartedAt))
	if entry.Result == LedgerSucceeded {
		a.Cluster.Event(a.release, false, "Migrated", fmt.Sprintf("database %s went from version %s to %s", run.Database, orNone(report.VersionBefore), orNone(report.VersionAfter)))
		return nil
	}
	failure := errors.New(entry.Message)
	if entry.Result == LedgerInterrupted {
		return Transient("MigrationInterrupted", failure)
	}
	return Terminal("MigrationFailed", failure)
}

// parseReport reads the termination message of a Job. A Job that left none
// was killed, or never ran: what Kubernetes says of it is all there is.
func parseReport(job JobState) MigrationReport {
	var report MigrationReport
	if err := json.Unmarshal([]byte(job.Result), &report); err == nil && report.Outcome != "" {
		return report
	}
	return MigrationReport{Message: strings.Join(nonEmpty(job.Message, job.Result, job.Log), ": ")}
}

func ledgerEntry(job JobState, revision string, report MigrationReport) v1alpha1.LedgerEntry {
	entry := v1alpha1.LedgerEntry{
		Job: job.Name, Revision: revision, Result: LedgerSucceeded,
		VersionBefore: report.VersionBefore, VersionAfter: report.VersionAfter,
		File: report.File, Line: report.Line, SQLState: report.SQLState,
		StartedAt: timeOrNil(job.StartedAt), FinishedAt: timeOrNil(job.FinishedAt),
	}
	switch {
	case job.Phase == JobComplete:
		return entry
	case mayPass(job):
		entry.Result = LedgerInterrupted
	default:
		entry.Result = LedgerFailed
	}
	entry.Message = clip("Job "+job.Name+": "+sentence(report), 1024)
	return entry
}

// sentence says where and why a migration failed.
func sentence(report MigrationReport) string {
	where := report.File
	if where != "" && report.Line > 0 {
		where += " line " + strconv.Itoa(int(report.Line))
	}
	text := strings.Join(nonEmpty(where, report.Message), ": ")
	if report.SQLState != "" {
		text += " (SQLSTATE " + report.SQLState + ")"
	}
	return text
}

// databaseAfter is the state of a database as a finished Job reported it.
func databaseAfter(release *v1alpha1.Release, run MigrationRun, report MigrationReport) v1alpha1.DatabaseStatus {
	entry := v1alpha1.DatabaseStatus{Name: run.Database}
	for _, known := range release.Status.Databases {
		if known.Name == run.Database {
			entry = known
		}
	}
	entry.Expected = strconv.FormatUint(run.Set.Latest(), 10)
	entry.Dirty = report.Dirty
	if report.VersionAfter == "" {
		return entry
	}
	entry.Version = report.VersionAfter
	entry.Pending = 0
	for _, version := range run.Set.Versions {
		if at, err := strconv.ParseUint(report.VersionAfter, 10, 64); err == nil && version > at {
			entry.Pending++
		}
	}
	return entry
}

// runMigrationJob runs a Job that the overlay brings, once for each content.
func (a *attempt) runMigrationJob(ctx context.Context, change Change) error {
	object := change.Object
	digest := object.GetLabels()[DigestLabel]
	if ledgerHas(a.release, "", digest) {
		return nil
	}
	job, failure := a.runJob(ctx, change)
	if job.Phase != JobComplete && job.Phase != JobFailed {
		return failure
	}
	entry := ledgerEntry(job, a.revision, parseReport(job))
	entry.Digest = digest
	if err := a.save(ctx, a.release, func(release *v1alpha1.Release) { putLedger(release, entry) }); err != nil {
		return err
	}
	if failure == nil {
		a.Cluster.Event(a.release, false, "Migrated", "Job "+job.Name+" completed")
	}
	return failure
}

// runJob applies a Job of the overlay and waits for its end.
func (a *attempt) runJob(ctx context.Context, change Change) (JobState, error) {
	object := change.Object
	entries, err := a.tenant.Write(ctx, []Change{change})
	if err != nil {
		return JobState{}, err
	}
	if !slices.ContainsFunc(a.plan.Migrate, func(other Change) bool { return other.Ref.Same(change.Ref) }) {
		for _, entry := range entries {
			a.note(entry)
		}
	}
	namespace := object.GetNamespace()
	if namespace == "" {
		namespace = a.release.Namespace
	}
	job, err := a.awaitJob(ctx, namespace, object.GetName())
	if err != nil {
		return job, err
	}
	if job.Phase == JobFailed {
		return job, Terminal("JobFailed", withOrigin(object, errors.New("Job "+job.Name+": "+sentence(parseReport(job)))))
	}
	return job, nil
}

// awaitJob waits for the end of a Job.
func (a *attempt) awaitJob(ctx context.Context, namespace, name string) (job JobState, err error) {
	err = a.aside(ctx, func() error {
		job, err = a.tenant.AwaitJob(ctx, namespace, name)
		return err
	})
	return job, err
}

func ledgerHas(release *v1alpha1.Release, database, digest string) bool {
	for _, entry := range release.Status.Ledger {
		if entry.Database == database && entry.Digest == digest && entry.Result == LedgerSucceeded {
			return true
		}
	}
	return false
}

// putLedger adds an entry, or replaces the one of the same Job: a pass that
// was cut off after writing it comes by again.
func putLedger(release *v1alpha1.Release, entry v1alpha1.LedgerEntry) {
	ledger := release.Status.Ledger
	for i := range ledger {
		if ledger[i].Job == entry.Job {
			ledger[i] = entry
			return
		}
	}
	ledger = append(ledger, entry)
	if len(ledger) > maxLedger {
		ledger = ledger[len(ledger)-maxLedger:]
	}
	release.Status.Ledger = ledger
}

// jobStem makes the readable part of a Job's name.
func jobStem(release, database string) string {
	name := "migrate-" + release + "-" + database
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '-'
		}
	}, name), "-")
}

func timeOrNil(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}

func nonEmpty(words ...string) []string {
	var out []string
	for _, word := range words {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}
