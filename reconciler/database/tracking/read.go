package tracking

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DefaultLockTimeout is how long a look waits for a table that its tool locks
// against readers. golang-migrate does so for a moment around every file.
const DefaultLockTimeout = time.Second

// statementTimeout bounds each query.
const statementTimeout = 10 * time.Second

// cleanupTimeout bounds the end of a transaction after the context has ended.
const cleanupTimeout = 5 * time.Second

// SQLSTATE codes that have a meaning here.
const (
	codeLockTimeout = "55P03"
	codePrivilege   = "42501"
)

// ErrLocked means that somebody holds the tracking table against readers. It
// is a moment of a migration that runs, or a transaction left open.
var ErrLocked = errors.New("the table is locked against readers: a migration is at work, or a transaction was left open; look again later")

// Querier is a connection, a pool or a transaction of pgx. A transaction must
// have the isolation READ COMMITTED: golang-migrate replaces its row with
// TRUNCATE, which makes the table look empty to an older snapshot.
type Querier interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// starter is a Querier that can say how a transaction is to be.
type starter interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Options say which table to look for. The zero value looks for any.
type Options struct {
	// Tool is the one that is expected; empty is any.
	Tool Tool
	// Schema restricts to one schema; empty is all, where the search path of
	// the role decides between several, as it does for the tools.
	Schema string
	// Table is the name of the table where it is not the usual one.
	Table string
	// LockTimeout bounds the wait for a locked table; zero is
	// DefaultLockTimeout.
	LockTimeout time.Duration
}

// SeveralError means that there are several tracking tables, and nothing tells
// which one counts.
type SeveralError struct {
	Found []Found
}

func (e *SeveralError) Error() string {
	var names []string
	for _, f := range e.Found {
		name := f.String()
		if f.Tool != "" {
			name += " of " + string(f.Tool)
		}
		names = append(names, name)
	}
	return "several tracking tables: " + strings.Join(names, ", ") + ": say which tool, schema or table counts"
}

// Read reads what the tracking table of a database says. That there is none,
// or one that is not understood, is a state and no error. Errors are that the
// server does not answer, ErrLocked, SeveralError, or a missing privilege.
func Read(ctx context.Context, q Querier, options Options) (State, error) {
	var out State
	err := within(ctx, q, options, func(tx pgx.Tx) error {
		found, err := detect(ctx, tx, options)
		if err != nil {
			return err
		}
		out, err = judge(ctx, tx, found, options)
		return err
	})
	if err != nil {
		return State{}, err
	}
	return out, nil
}

// judge picks the table and reads it.
func judge(ctx context.Context, tx pgx.Tx, found []Found, options Options) (State, error) {
	candidates := choose(candidatesOf(found, options))
	switch {
	case len(candidates) == 0:
		return State{Status: Absent, Tool: options.Tool}, nil
	case len(candidates) > 1:
		return State{}, &SeveralError{Found: candidates}
	}
	table := candidates[0]
	state := State{Status: Unknown, Detail: fmt.Sprintf("%s has the columns of no known tool: %s; give the right table, or look at it by hand", table, columnsText(table.columns))}
	switch {
	case table.Tool == "":
	case options.Tool != "" && table.Tool != options.Tool:
		state = State{Status: OtherTool, Detail: fmt.Sprintf("%s is the table of %s, not of %s: correct the tool, or give the table or the schema of %s", table, table.Tool, options.Tool, options.Tool)}
	default:
		var err error
		if state, err = readTable(ctx, tx, table); err != nil {
			return State{}, explain("tracking table "+table.String(), err)
		}
	}
	state.Tool, state.Schema, state.Table = table.Tool, table.Schema, table.Table
	return state, nil
}

// candidatesOf keeps the tables that may be meant, and of the best sort only:
// a table of the tool before one that only has its name.
func candidatesOf(found []Found, options Options) []Found {
	var ofTool, ofName []Found
	for _, f := range found {
		if options.Table != "" && f.Table != options.Table {
			continue
		}
		named := options.Table != "" || options.Tool == "" || strings.EqualFold(f.Table, usualTable(options.Tool))
		switch {
		case f.Tool != "" && (options.Tool == "" || f.Tool == options.Tool):
			ofTool = append(ofTool, f)
		case named:
			ofName = append(ofName, f)
		}
	}
	if len(ofTool) > 0 {
		return ofTool
	}
	return ofName
}

func usualTable(tool Tool) string {
	for _, s := range signatures() {
		if s.tool == tool {
			return s.table
		}
	}
	return ""
}

func columnsText(columns []column) string {
	var out []string
	for _, c := range columns {
		out = append(out, c.name+" "+c.kind)
	}
	return strings.Join(out, ", ")
}

// readTable reads a table of a known tool.
func readTable(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	switch f.Tool {
	case GolangMigrate:
		return readGolangMigrate(ctx, tx, f)
	case Alembic:
		return readAlembic(ctx, tx, f)
	case Django:
		return readDjango(ctx, tx, f)
	case Flyway:
		return readFlyway(ctx, tx, f)
	case Rails:
		return readRails(ctx, tx, f)
	case Goose:
		return readGoose(ctx, tx, f)
	case Prisma:
		return readPrisma(ctx, tx, f)
	case Liquibase:
		return readLiquibase(ctx, tx, f)
	case Atlas:
		return readAtlas(ctx, tx, f)
	}
	return State{}, fmt.Errorf("no reader for %s", f.Tool)
}

// within runs a look in a read-only transaction of its own, or in a savepoint
// of the caller's, and rolls it back: the settings must not outlive it.
func within(ctx context.Context, q Querier, options Options, look func(pgx.Tx) error) error {
	tx, err := begin(ctx, q)
	if err != nil {
		return explain("tracking tables", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		// A transaction that cannot be rolled back goes with its connection.
		_ = tx.Rollback(ctx)
	}()
	timeout := options.LockTimeout
	if timeout <= 0 {
		timeout = DefaultLockTimeout
	}
	var isolation string
	err = tx.QueryRow(ctx, `SELECT pg_catalog.current_setting('transaction_isolation'), pg_catalog.set_config('transaction_read_only', 'on', true),
		pg_catalog.set_config('lock_timeout', $1, true), pg_catalog.set_config('statement_timeout', $2, true)`,
		milliseconds(timeout), milliseconds(statementTimeout)).Scan(&isolation, nil, nil, nil)
	if err != nil {
		return explain("tracking tables", err)
	}
	if isolation != "read committed" {
		return fmt.Errorf("tracking tables: the transaction has the isolation %s: begin it with READ COMMITTED, since a table that its tool has just truncated looks empty to an older snapshot", isolation)
	}
	return look(tx)
}

func begin(ctx context.Context, q Querier) (pgx.Tx, error) {
	if own, ok := q.(starter); ok {
		return own.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadOnly})
	}
	return q.Begin(ctx)
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

// explain wraps an error of the server with what to do about it.
func explain(what string, err error) error {
	server, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && server.Code == codeLockTimeout:
		return fmt.Errorf("%s: %w (%w)", what, ErrLocked, err)
	case ok && server.Code == codePrivilege:
		return fmt.Errorf("%s: %w: grant the role SELECT on it", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
