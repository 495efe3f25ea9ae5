package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Outcomes of a report.
const (
	// OutcomeSucceeded means that files ran and the database is where the commit wants it.
	OutcomeSucceeded = "succeeded"
	// OutcomeNothing means that the database was there already.
	OutcomeNothing = "nothing"
	// OutcomeFailed means that trying again cannot help.
	OutcomeFailed = "failed"
	// OutcomeInterrupted means that what stopped it may pass: a lock, a
	// deadlock, a server that restarts, a signal. No file is half applied.
	OutcomeInterrupted = "interrupted"
)

// Exit codes of `lockstep migrate`.
const (
	// ExitOK means that the database is at the newest version.
	ExitOK = 0
	// ExitTerminal means that trying again cannot help.
	ExitTerminal = 1
	// ExitTemporary means that trying again may help.
	ExitTemporary = reconciler.ExitTemporary
)

// maxReport is what a kubelet keeps of a termination message.
const maxReport = 4096

// Bounds of texts in a report, in bytes.
const (
	maxText = 1024
	maxName = 200
)

// ExitCode is the exit code that says what a report says.
func ExitCode(report reconciler.MigrationReport) int {
	switch report.Outcome {
	case OutcomeSucceeded, OutcomeNothing:
		return ExitOK
	case OutcomeInterrupted:
		return ExitTemporary
	default:
		return ExitTerminal
	}
}

// conclude completes the report.
func (r *run) conclude(ctx context.Context, err error) reconciler.MigrationReport {
	if err == nil {
		r.report.Outcome = OutcomeSucceeded
		if len(r.report.Applied) == 0 {
			r.report.Outcome = OutcomeNothing
		}
		return fit(r.report)
	}
	failure, isFile := errors.AsType[*fileError](err)
	passing := mayPass(err)
	if isFile {
		r.report.File, r.report.Line = failure.name, failure.line
		passing = passing && !failure.dirty && !failure.timedOut
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		r.report.SQLState = server.Code
	}
	r.report.Message = r.sentence(ctx, err, failure)
	r.report.Outcome = OutcomeFailed
	if passing {
		r.report.Outcome = OutcomeInterrupted
	}
	if isFile {
		r.look(ctx, failure)
	}
	r.options.Log.ErrorContext(ctx, "not migrated", "outcome", r.report.Outcome, "file", r.report.File, "line", r.report.Line,
		"sqlstate", r.report.SQLState, "error", r.report.Message)
	return fit(r.report)
}

// sentence says what went wrong and what is next.
func (r *run) sentence(ctx context.Context, err error, failure *fileError) string {
	if failure == nil {
		if ctx.Err() != nil && !isDomain(err) {
			return "stopped before the next file"
		}
		return oneLine(err.Error())
	}
	text := oneLine(failure.err.Error())
	server, ok := errors.AsType[*pgconn.PgError](err)
	if ok {
		text = safeMessage(server)
	}
	switch {
	case ctx.Err() != nil:
		text = "stopped while the file ran: " + text
	case failure.timedOut:
		text += fmt.Sprintf(": a statement ran longer than %s; raise guard.statementTimeout or do less in one statement", r.options.StatementTimeout)
	case ok && server.Code == codeLockNotAvailable:
		text += fmt.Sprintf(": a lock was not free within %s; find the long transaction in pg_stat_activity, or raise guard.lockTimeout", r.options.LockTimeout)
	case ok && server.Code == codeDiskFull:
		text += ": make room on the server"
	}
	return strings.Join(nonEmpty(text, failure.note), "; ")
}

func isDomain(err error) bool {
	_, ok := errors.AsType[*reconciler.Failure](err)
	return ok
}

// look reads the version once more over a connection of its own, since what
// failed may have been the connection. It never makes things worse: what
// cannot be read stays as it was last seen.
func (r *run) look(ctx context.Context, failure *fileError) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	r.report.Dirty = failure.dirty
	found, err := r.settings.readState(ctx)
	if err != nil {
		r.options.Log.WarnContext(ctx, "version not read after the failure", "error", err)
		return
	}
	r.observe(found)
}

// fit shortens a report until it encodes to what a kubelet keeps: the texts,
// then the oldest of the files that ran, then the message, of which JSON may
// write each character as six.
func fit(report reconciler.MigrationReport) reconciler.MigrationReport {
	report.Message, report.File = clip(report.Message, maxText), clip(report.File, maxName)
	for i := range report.Applied {
		report.Applied[i].Title = clip(report.Applied[i].Title, maxName)
	}
	for len(report.Applied) > 0 && encodedSize(report) > maxReport {
		report.Applied = report.Applied[1:]
	}
	for encodedSize(report) > maxReport {
		report.Message = clip(report.Message, len(report.Message)/2)
	}
	return report
}

// encodedSize is the size of a report as JSON.
func encodedSize(report reconciler.MigrationReport) int {
	content, err := json.Marshal(report)
	if err != nil {
		return 0
	}
	return len(content)
}

// clip shortens a text to whole characters.
func clip(text string, limit int) string {
	const mark = " …"
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(mark)], "") + mark
}

func nonEmpty(words ...string) []string {
	var out []string
	for _, word := range words {
		if word != "" {
			out = append(out, word)
		}
	}
	return out
}
