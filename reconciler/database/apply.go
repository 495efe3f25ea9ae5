package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// fileError is a file that failed. Its text holds nothing of the file.
type fileError struct {
	name string
	// line where it failed, or zero when that is not known.
	line int32
	// err is the server's error, or what happened to the connection.
	err error
	// timedOut is true when the statement ran into its time limit.
	timedOut bool
	// dirty is true when the file may have been applied in part.
	dirty bool
	// note says what is left of it.
	note string
}

func (e *fileError) Error() string { return e.name + ": " + e.err.Error() }

func (e *fileError) Unwrap() error { return e.err }

// apply runs one file and records its version. Both are in one transaction,
// where the server allows it: so the server, not a list of statements, decides
// which files run outside.
func (s *session) apply(ctx context.Context, f file) error {
	err := s.applyWhole(ctx, f)
	if refusesTransaction(err) {
		return s.applyOutside(ctx, f)
	}
	return err
}

// refusesTransaction tells whether a file has to run outside of a
// transaction: because a statement cannot be in one, or because a procedure
// commits on its own.
func refusesTransaction(err error) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (server.Code == codeActiveTransaction || server.Code == codeInvalidTermination)
}

// applyWhole runs a file and writes its version in one transaction.
func (s *session) applyWhole(ctx context.Context, f file) error {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return s.fail(f, 0, err)
	}
	if err := s.inTransaction(ctx, tx, f); err != nil {
		cleanup, cancel := cleanup(ctx)
		defer cancel()
		// A rollback that does not get through is made by the server, when it
		// finds the connection closed.
		_ = tx.Rollback(cleanup)
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return s.fail(f, 0, err)
	}
	return nil
}

func (s *session) inTransaction(ctx context.Context, tx pgx.Tx, f file) error {
	if err := s.execute(ctx, f); err != nil {
		return err
	}
	// The file may have taken on another role, which need not be allowed to
	// write the version table.
	for _, statement := range []string{"RESET SESSION AUTHORIZATION", "RESET ROLE"} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return s.fail(f, 0, err)
		}
	}
	if err := writeVersion(ctx, tx, s.table, version{known: true, number: int64(f.version)}); err != nil {
		return s.fail(f, 0, err)
	}
	return nil
}

// applyOutside runs a file that cannot be in a transaction, with the row of
// the version table marked dirty meanwhile.
func (s *session) applyOutside(ctx context.Context, f file) error {
	before, err := readVersion(ctx, s.conn, s.table)
	if err != nil {
		return s.fail(f, 0, err)
	}
	broken, err := invalidIndexes(ctx, s.conn)
	if err != nil {
		return s.fail(f, 0, err)
	}
	if err := s.patience(ctx, f); err != nil {
		return s.fail(f, 0, err)
	}
	if err := s.record(ctx, version{known: true, number: int64(f.version), dirty: true}); err != nil {
		return s.fail(f, 0, err)
	}
	if err := s.execute(ctx, f); err != nil {
		cleanup, cancel := cleanup(ctx)
		defer cancel()
		return s.afterFailure(cleanup, f, before, broken, err)
	}
	cleanup, cancel := cleanup(ctx)
	defer cancel()
	if err := s.record(cleanup, version{known: true, number: int64(f.version)}); err != nil {
		failure := s.fail(f, 0, err)
		failure.dirty, failure.note = true, "the file was applied, but its version could not be recorded"
		return failure
	}
	return nil
}

// patience lifts the lock timeout for an index that is built concurrently:
// nobody waits behind it while it waits for older transactions to end, and
// giving up would leave an index that is not valid.
func (s *session) patience(ctx context.Context, f file) error {
	if !slices.ContainsFunc(f.statements, statement.buildsIndexConcurrently) {
		return nil
	}
	_, err := s.conn.Exec(ctx, "SET lock_timeout = 0")
	return err
}

// record writes the version in a transaction of its own.
func (s *session) record(ctx context.Context, v version) error {
	return pgx.BeginFunc(ctx, s.conn, func(tx pgx.Tx) error { return writeVersion(ctx, tx, s.table, v) })
}

// afterFailure looks at what a file left that failed outside of a
// transaction. Where that is nothing, the version goes back to what it was.
func (s *session) afterFailure(ctx context.Context, f file, before version, broken []index, cause error) error {
	failure, ok := errors.AsType[*fileError](cause)
	if !ok {
		return cause
	}
	failure.dirty = true
	failure.note = "what it did before is not undone"
	if s.conn.IsClosed() {
		return failure
	}
	now, err := invalidIndexes(ctx, s.conn)
	if err != nil {
		return failure
	}
	if left := added(broken, now); len(left) > 0 {
		failure.note = strings.TrimPrefix(describeIndexes(left), "; ")
		return failure
	}
	// Several statements in one query string are a transaction too.
	if len(f.statements) == 1 && f.statements[0].leavesTraces() {
		return failure
	}
	if err := s.record(ctx, before); err != nil {
		return failure
	}
	failure.dirty, failure.note = false, ""
	return failure
}

// execute sends a file as one query string, as golang-migrate does.
func (s *session) execute(ctx context.Context, f file) error {
	start := time.Now()
	results := s.conn.PgConn().Exec(ctx, string(f.content))
	ended := 0
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err == nil {
			ended++
		}
	}
	err := results.Close()
	if err == nil {
		return nil
	}
	failure := s.fail(f, ended, err)
	// The server says only that the statement was cancelled, in its own
	// language; who did so is known from how long it took.
	server, ok := errors.AsType[*pgconn.PgError](err)
	failure.timedOut = ok && server.Code == codeCancelled && ctx.Err() == nil && time.Since(start) >= s.statementTimeout
	return failure
}

// fail makes the error of a file. The line is that of the position which the
// server names, else that of the statement which had not ended.
func (s *session) fail(f file, ended int, err error) *fileError {
	failure := &fileError{name: f.name, err: err}
	server, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		failure.err = fmt.Errorf("connection: %w", err)
	case server.Position > 0:
		failure.line = lineOf(string(f.content), server.Position)
	}
	if failure.line == 0 && ended < len(f.statements) {
		failure.line = f.statements[ended].line
	}
	return failure
}

// lineOf is the line of a position, both counted from 1; a position counts
// characters, not bytes.
func lineOf(text string, position int32) int32 {
	line := int32(1)
	for _, r := range text {
		if position--; position < 1 {
			break
		}
		if r == '\n' {
			line++
		}
	}
	return line
}
