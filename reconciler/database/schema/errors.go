package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE codes that have a meaning here.
const (
	codeLockTimeout = "55P03"
	codePrivilege   = "42501"
	codeInternal    = "XX000"
	codeNoTable     = "42P01"
	codeNoObject    = "42704"
)

// ErrChanged means that somebody changed the schema while it was read. Reading
// again helps once nobody does.
var ErrChanged = errors.New("the schema was changed while it was read: take the snapshot while nothing migrates")

// LockedError means that a table was locked against readers for longer than
// Options.LockTimeout, so that its definition could not be spelled.
type LockedError struct {
	// Holders say who holds which table, as far as the role may see it.
	Holders []string
	// what was read, for the text.
	what  string
	cause error
}

func (e *LockedError) Error() string {
	who := "a table is locked"
	if len(e.Holders) > 0 {
		who = strings.Join(e.Holders, "; ")
	}
	return "schema: " + e.what + ": " + who + ": a migration or a VACUUM FULL may be at work; read the schema when it has ended"
}

// Unwrap returns what the server said.
func (e *LockedError) Unwrap() error { return e.cause }

// explain wraps an error of the server with what to do about it.
func explain(what string, err error) error {
	server, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return fmt.Errorf("schema: %s: %w", what, err)
	}
	switch server.Code {
	case codePrivilege:
		return fmt.Errorf("schema: %s: %w: grant the role SELECT on that catalogue; without it the snapshot would be smaller than the schema", what, err)
	case codeInternal, codeNoTable, codeNoObject:
		// What the catalogue showed is gone by the time that PostgreSQL spells it.
		return fmt.Errorf("schema: %s: %w (%w)", what, ErrChanged, err)
	case codeLockTimeout:
		return &LockedError{what: what, cause: err}
	}
	return fmt.Errorf("schema: %s: %w", what, err)
}

// holdersQuery lists who holds a table against readers.
const holdersQuery = `
SELECT 'table ' || n.nspname || '.' || c.relname || ' is locked by process ' || l.pid
	|| coalesce(' (' || nullif(a.application_name, '') || ')', '')
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_'
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted
	AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
ORDER BY 1
LIMIT 5`

// nameHolders adds to the error who holds the lock. It reads only what the
// server keeps in memory and catalogues that nobody locks.
func nameHolders(ctx context.Context, q Querier, locked *LockedError) {
	tx, err := q.Begin(ctx)
	if err != nil {
		return
	}
	defer rollback(ctx, tx)
	rows, err := tx.Query(ctx, holdersQuery)
	if err != nil {
		return
	}
	// The error is complete without the names.
	holders, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil {
		locked.Holders = holders
	}
}
