package database

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// versionTable is the name of golang-migrate's version table.
const versionTable = "schema_migrations"

// querier is a connection or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}

// table is a version table, or the place where it would be.
type table struct {
	schema string
	exists bool
}

// quoted is the name of the table for a statement.
func (t table) quoted() string { return pgx.Identifier{t.schema, versionTable}.Sanitize() }

// version is what a version table claims. The zero value is a database that
// was never migrated.
type version struct {
	known  bool
	number int64
	dirty  bool
}

// columnsQuery lists the columns of each version table on the search path, in
// its order. It reads the catalogue: information_schema shows only what the
// role has a privilege for.
const columnsQuery = `
SELECT n.nspname::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relname = $1 AND n.nspname = ANY (pg_catalog.current_schemas(false))
ORDER BY pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname), a.attnum`

// findTable looks for the version table as golang-migrate would: in the
// current schema. It refuses a table that is not golang-migrate's, and one in
// another schema of the search path, since golang-migrate would make a second,
// empty one and run everything again.
func findTable(ctx context.Context, q querier) (table, error) {
	var schema *string
	if err := q.QueryRow(ctx, "SELECT pg_catalog.current_schema()::text").Scan(&schema); err != nil {
		return table{}, err
	}
	if schema == nil {
		return table{}, reconciler.Terminalf("VersionTable", "the search_path of the role names no schema that exists: create one, or ALTER ROLE … SET search_path")
	}
	rows, err := q.Query(ctx, columnsQuery, versionTable)
	if err != nil {
		return table{}, err
	}
	defer rows.Close()
	found := table{schema: *schema}
	holder := ""
	columns := map[string]string{}
	for rows.Next() {
		var schema, name, kind string
		if err := rows.Scan(&schema, &name, &kind); err != nil {
			return table{}, err
		}
		if holder == "" {
			holder = schema
		}
		if schema == holder {
			columns[name] = kind
		}
	}
	if err := rows.Err(); err != nil {
		return table{}, err
	}
	found.exists = holder != ""
	return found, judgeTable(found, holder, columns)
}

// judgeTable decides whose table it is. Rails has one of the same name.
func judgeTable(t table, holder string, columns map[string]string) error {
	switch {
	case holder == "":
		return nil
	case holder != t.schema:
		return reconciler.Terminalf("VersionTable",
			"the version table is in schema %s, but the current schema is %s, where everything would run again: set the search_path of the role so that %s comes first", holder, t.schema, holder)
	case isWhole(columns["version"]) && columns["dirty"] == "boolean":
		return nil
	case strings.HasPrefix(columns["version"], "character varying") && len(columns) == 1:
		return reconciler.Terminalf("VersionTable",
			"%s.%s is the version table of Rails, not of golang-migrate: give the migrations a schema of their own by the search_path of the role", t.schema, versionTable)
	default:
		return reconciler.Terminalf("VersionTable",
			"%s.%s has not the columns of golang-migrate, version bigint and dirty boolean: it belongs to something else; give the migrations a schema of their own by the search_path of the role", t.schema, versionTable)
	}
}

func isWhole(kind string) bool { return kind == "bigint" || kind == "integer" }

// readVersion reads the version table.
func readVersion(ctx context.Context, q querier, t table) (version, error) {
	if !t.exists {
		return version{}, nil
	}
	rows, err := q.Query(ctx, "SELECT version::bigint, dirty FROM "+t.quoted()+" LIMIT 2")
	if err != nil {
		return version{}, err
	}
	defer rows.Close()
	var found []version
	for rows.Next() {
		v := version{known: true}
		if err := rows.Scan(&v.number, &v.dirty); err != nil {
			return version{}, err
		}
		found = append(found, v)
	}
	switch {
	case rows.Err() != nil:
		return version{}, rows.Err()
	case len(found) > 1:
		return version{}, reconciler.Terminalf("VersionTable", "%s.%s has more than one row: golang-migrate keeps one; find out which is true and delete the others", t.schema, versionTable)
	case len(found) == 0 || found[0].number < 0 && !found[0].dirty:
		return version{}, nil
	}
	return found[0], nil
}

// writeVersion replaces the row of the version table. It must run in a
// transaction. golang-migrate truncates the table instead, which waits for
// every reader, lets every later reader wait, and shows a dump whose snapshot
// is older an empty table; the row is the same.
func writeVersion(ctx context.Context, q querier, t table, v version) error {
	if _, err := q.Exec(ctx, "DELETE FROM "+t.quoted()); err != nil {
		return err
	}
	if !v.known {
		return nil
	}
	_, err := q.Exec(ctx, "INSERT INTO "+t.quoted()+" (version, dirty) VALUES ($1, $2)", v.number, v.dirty)
	return err
}

// createTable makes the version table as golang-migrate does. Since version 15
// PostgreSQL lets only the owner of a database make tables in schema public.
func createTable(ctx context.Context, q querier, t table) error {
	_, err := q.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+t.quoted()+" (version bigint not null primary key, dirty boolean not null)")
	return err
}
