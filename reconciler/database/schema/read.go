package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Defaults of Options.
const (
	// DefaultLockTimeout is how long a definition waits for a locked table.
	DefaultLockTimeout = 2 * time.Second
	// DefaultStatementTimeout bounds each of the queries.
	DefaultStatementTimeout = 10 * time.Second
)

// attempts is how often a schema is read that is changed meanwhile.
const attempts = 3

// cleanupTimeout bounds the end of a transaction after the context has ended.
const cleanupTimeout = 5 * time.Second

// Querier is a connection, a pool or a transaction of pgx. A transaction must
// have the isolation REPEATABLE READ or SERIALIZABLE.
type Querier interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// starter is a Querier that can say how a transaction is to be.
type starter interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Options say what to read.
type Options struct {
	// Schemas are read; empty is every schema that is not PostgreSQL's own.
	// Extensions, event triggers and other objects of the database as a
	// whole are always read.
	Schemas []string
	// Ignore are tables to leave out with all that belongs to them, such as
	// the tracking tables of migration tools: table, schema.table, or
	// schema.* for a schema with everything in it. The names are not quoted.
	Ignore []string
	// Comments adds comments to the snapshot.
	Comments bool
	// LockTimeout bounds the wait for a table that is locked against
	// readers; zero is DefaultLockTimeout.
	LockTimeout time.Duration
	// StatementTimeout bounds each of the queries; zero is
	// DefaultStatementTimeout.
	StatementTimeout time.Duration
}

// Read reads the schema of a database in one read-only transaction.
//
// It needs no privilege beyond the right to connect: the catalogue shows
// everything to everybody. Where an administrator has taken that away, the
// error says which catalogue, and there is no snapshot.
//
// PostgreSQL locks a table with ACCESS SHARE to spell an index, a default, a
// CHECK, a view, a policy, a partition key, the condition of a trigger, or
// statistics (measured on version 15). So Read waits behind an ALTER TABLE, at
// most for Options.LockTimeout, and then returns a LockedError that names who
// holds which table. Until Read returns, an ALTER TABLE waits for it in turn.
func Read(ctx context.Context, q Querier, options Options) (Snapshot, error) {
	for attempt := 1; ; attempt++ {
		snapshot, err := readOnce(ctx, q, options)
		if locked, ok := errors.AsType[*LockedError](err); ok {
			nameHolders(ctx, q, locked)
		}
		_, own := q.(starter)
		if !errors.Is(err, ErrChanged) || !own || attempt == attempts {
			return snapshot, err
		}
	}
}

func readOnce(ctx context.Context, q Querier, options Options) (Snapshot, error) {
	tx, err := begin(ctx, q)
	if err != nil {
		return Snapshot{}, err
	}
	// Rolled back also in the good case: nothing was written, and the
	// settings must not outlive a savepoint in a transaction of the caller.
	defer rollback(ctx, tx)
	server, err := prepare(ctx, tx, options)
	if err != nil {
		return Snapshot{}, err
	}
	reader := reader{options: options, objects: []Object{}, seen: map[address]int{}}
	for _, query := range queries(server) {
		if err := reader.read(ctx, tx, query); err != nil {
			return Snapshot{}, err
		}
	}
	if options.Comments {
		if err := reader.readComments(ctx, tx); err != nil {
			return Snapshot{}, err
		}
	}
	slices.SortFunc(reader.objects, Object.compare)
	return Snapshot{Format: format, Server: server, Objects: reader.objects}, nil
}

// begin starts the transaction, or a savepoint in that of the caller.
func begin(ctx context.Context, q Querier) (pgx.Tx, error) {
	if own, ok := q.(starter); ok {
		tx, err := own.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return nil, explain("transaction", err)
		}
		return tx, nil
	}
	tx, err := q.Begin(ctx)
	if err != nil {
		return nil, explain("savepoint", err)
	}
	var isolation string
	if err := tx.QueryRow(ctx, "SELECT pg_catalog.current_setting('transaction_isolation')").Scan(&isolation); err != nil {
		rollback(ctx, tx)
		return nil, explain("savepoint", err)
	}
	if isolation != "repeatable read" && isolation != "serializable" {
		rollback(ctx, tx)
		return nil, fmt.Errorf("schema: the transaction has the isolation %s: begin it with REPEATABLE READ, so that all of the snapshot is of one time", isolation)
	}
	return tx, nil
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	// A transaction that cannot be rolled back goes with its connection.
	_ = tx.Rollback(ctx)
}

// prepare bounds the transaction and makes PostgreSQL spell names and values
// in one way, whatever the settings of the role or the database are. It
// returns the version of the server.
func prepare(ctx context.Context, tx pgx.Tx, options Options) (int, error) {
	lock, statement := options.LockTimeout, options.StatementTimeout
	if lock <= 0 {
		lock = DefaultLockTimeout
	}
	if statement <= 0 {
		statement = DefaultStatementTimeout
	}
	names, values := []string{}, []string{}
	for _, setting := range [][2]string{
		{"lock_timeout", milliseconds(lock)},
		{"statement_timeout", milliseconds(statement)},
		// Names of other schemas than this one come out qualified.
		{"search_path", "pg_catalog, pg_temp"},
		{"quote_all_identifiers", "off"},
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"bytea_output", "hex"},
		{"extra_float_digits", "1"},
		// To compile such queries takes longer than to run them.
		{"jit", "off"},
	} {
		names, values = append(names, setting[0]), append(values, setting[1])
	}
	_, err := tx.Exec(ctx, "SELECT pg_catalog.set_config(name, value, true) FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS s (name, value)", names, values)
	if err != nil {
		return 0, explain("settings", err)
	}
	var version string
	if err := tx.QueryRow(ctx, "SELECT pg_catalog.current_setting('server_version_num')").Scan(&version); err != nil {
		return 0, explain("version of the server", err)
	}
	server, err := strconv.Atoi(version)
	if err != nil {
		return 0, fmt.Errorf("schema: version of the server: %w", err)
	}
	return server, nil
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}
