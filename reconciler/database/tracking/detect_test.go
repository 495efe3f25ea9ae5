package tracking_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/database/schema"
	"github.com/lockstep-gitops/lockstep/reconciler/database/tracking"
)

// summary is what can be seen of a Found.
type summary struct {
	Tool   tracking.Tool
	Name   string
	Ignore []string
}

func detect(t *testing.T, q tracking.Querier, options tracking.Options) []summary {
	t.Helper()
	found, err := tracking.Detect(t.Context(), q, options)
	assert.NilError(t, err)
	out := []summary{}
	for _, f := range found {
		out = append(out, summary{f.Tool, f.String(), f.Ignore()})
	}
	return out
}

func TestDetect(t *testing.T) {
	tests := map[string]struct {
		setup   string
		options tracking.Options
		want    []summary
	}{
		"an empty database": {"", tracking.Options{}, []summary{}},
		"golang-migrate and Rails share a name": {
			golangMigrateTable + `CREATE SCHEMA web; SET search_path = web;` + railsTable, tracking.Options{}, []summary{
				{tracking.GolangMigrate, "public.schema_migrations", []string{"public.schema_migrations"}},
				{tracking.Rails, "web.schema_migrations", []string{"web.schema_migrations", "web.ar_internal_metadata"}},
			}},
		"other names, known by their columns": {
			golangMigrateTable + alembicTable + flywayTable + `ALTER TABLE schema_migrations RENAME TO a; ALTER TABLE alembic_version RENAME TO b; ALTER TABLE flyway_schema_history RENAME TO c`,
			tracking.Options{}, []summary{
				{tracking.GolangMigrate, "public.a", []string{"public.a"}},
				{tracking.Alembic, "public.b", []string{"public.b"}},
				{tracking.Flyway, "public.c", []string{"public.c"}},
			}},
		"tables of the application are none": {
			`CREATE TABLE documents (id bigint, version bigint); CREATE TABLE app (version varchar); CREATE TABLE notes (version bigint, dirty boolean, body text);
			CREATE TABLE keys (id bigint, app text, name text, applied text)`, tracking.Options{}, []summary{}},
		"the name alone is not enough": {"CREATE TABLE alembic_version (id integer)", tracking.Options{}, []summary{{"", "public.alembic_version", []string{"public.alembic_version"}}}},
		"Rails with a prefix":          {"CREATE TABLE shop_schema_migrations (version varchar PRIMARY KEY)", tracking.Options{}, []summary{{tracking.Rails, "public.shop_schema_migrations", []string{"public.shop_schema_migrations"}}}},
		"Rails with a name of its own": {"CREATE TABLE versions (version varchar PRIMARY KEY)", tracking.Options{Table: "versions"}, []summary{{tracking.Rails, "public.versions", []string{"public.versions"}}}},
		"one schema":                   {alembicTable + `CREATE SCHEMA web; SET search_path = web;` + alembicTable, tracking.Options{Schema: "web"}, []summary{{tracking.Alembic, "web.alembic_version", []string{"web.alembic_version"}}}},
		"Liquibase with its lock":      {liquibaseTable, tracking.Options{}, []summary{{tracking.Liquibase, "public.databasechangelog", []string{"public.databasechangelog", "public.databasechangeloglock"}}}},
		"Liquibase in capitals, newer": {
			`CREATE TABLE "DATABASECHANGELOG" ("ID" varchar(255), "AUTHOR" varchar(255), "FILENAME" varchar(255), "DATEEXECUTED" timestamp, "ORDEREXECUTED" int, "EXECTYPE" varchar(10), "MD5SUM" varchar(35), "EXECUTION_MILLISECONDS" bigint)`,
			tracking.Options{}, []summary{{tracking.Liquibase, "public.DATABASECHANGELOG", []string{"public.DATABASECHANGELOG"}}}},
		"Atlas has a schema of its own": {atlasTable, tracking.Options{}, []summary{{tracking.Atlas, "atlas_schema_revisions.atlas_schema_revisions", []string{"atlas_schema_revisions.*"}}}},
		"a temporary table is none":     {"CREATE TEMP TABLE alembic_version (version_num varchar(32))", tracking.Options{}, []summary{}},
	}
	_, conn := database(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			assert.NilError(t, err)
			defer func() { assert.NilError(t, tx.Rollback(t.Context())) }()
			_, err = tx.Exec(t.Context(), test.setup)
			assert.NilError(t, err)
			assert.DeepEqual(t, detect(t, tx, test.options), test.want)
		})
	}
}

func TestWhichTable(t *testing.T) {
	two := alembicTable + `INSERT INTO alembic_version VALUES ('a'); CREATE SCHEMA web; SET search_path = web; ` + alembicTable + ` INSERT INTO alembic_version VALUES ('b');`
	tests := map[string]struct {
		setup   string
		options tracking.Options
		want    tracking.State
		err     string
	}{
		"none":              {setup: "", options: tracking.Options{Tool: tracking.Flyway}, want: tracking.State{Status: tracking.Absent, Tool: tracking.Flyway}},
		"none of that tool": {setup: alembicTable, options: tracking.Options{Tool: tracking.Flyway}, want: tracking.State{Status: tracking.Absent, Tool: tracking.Flyway}},
		"the name belongs to another tool": {setup: railsTable, options: tracking.Options{Tool: tracking.GolangMigrate}, want: tracking.State{
			Status: tracking.OtherTool, Tool: tracking.Rails, Schema: "public", Table: "schema_migrations",
			Detail: "public.schema_migrations is the table of rails, not of golang-migrate: correct the tool, or give the table or the schema of golang-migrate"}},
		"columns of no tool": {setup: "CREATE TABLE schema_migrations (id integer, ok boolean)", options: tracking.Options{Tool: tracking.GolangMigrate}, want: tracking.State{
			Status: tracking.Unknown, Schema: "public", Table: "schema_migrations",
			Detail: "public.schema_migrations has the columns of no known tool: id integer, ok boolean; give the right table, or look at it by hand"}},
		"the search path decides": {setup: two + "SET search_path = web, public", options: tracking.Options{}, want: tracking.State{
			Status: tracking.At, Tool: tracking.Alembic, Schema: "web", Table: "alembic_version", Versions: []string{"b"}}},
		"the schema decides": {setup: two + "SET search_path = web, public", options: tracking.Options{Schema: "public"}, want: tracking.State{
			Status: tracking.At, Tool: tracking.Alembic, Schema: "public", Table: "alembic_version", Versions: []string{"a"}}},
		"nothing decides": {setup: two + "SET search_path = pg_catalog", options: tracking.Options{},
			err: "several tracking tables: public.alembic_version of alembic, web.alembic_version of alembic: say which tool, schema or table counts"},
		"two tools": {setup: alembicTable + golangMigrateTable, options: tracking.Options{},
			err: "several tracking tables: public.alembic_version of alembic, public.schema_migrations of golang-migrate"},
		"two tools, one of them asked for": {setup: alembicTable + golangMigrateTable, options: tracking.Options{Tool: tracking.GolangMigrate}, want: tracking.State{
			Status: tracking.Empty, Tool: tracking.GolangMigrate, Schema: "public", Table: "schema_migrations"}},
		"a copy beside the real one": {setup: alembicTable + "CREATE TABLE alembic_backup AS TABLE alembic_version", options: tracking.Options{}, want: tracking.State{
			Status: tracking.Empty, Tool: tracking.Alembic, Schema: "public", Table: "alembic_version"}},
		"the copy asked for by name": {setup: alembicTable + "CREATE TABLE alembic_backup AS SELECT 'x'::varchar AS version_num", options: tracking.Options{Table: "alembic_backup"}, want: tracking.State{
			Status: tracking.At, Tool: tracking.Alembic, Schema: "public", Table: "alembic_backup", Versions: []string{"x"}}},
	}
	_, conn := database(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tx, err := conn.Begin(t.Context())
			assert.NilError(t, err)
			defer func() { assert.NilError(t, tx.Rollback(t.Context())) }()
			_, err = tx.Exec(t.Context(), test.setup)
			assert.NilError(t, err)
			got, err := tracking.Read(t.Context(), tx, test.options)
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				_, several := errors.AsType[*tracking.SeveralError](err)
				assert.Assert(t, several)
				return
			}
			assert.NilError(t, err)
			assert.DeepEqual(t, got, test.want)
		})
	}
}

// TestIgnore leaves all that tools keep out of a snapshot of the schema.
func TestIgnore(t *testing.T) {
	_, conn := database(t)
	execute(t, conn, "CREATE TABLE app (id bigint)")
	want, err := schema.Read(t.Context(), conn, schema.Options{})
	assert.NilError(t, err)
	execute(t, conn, alembicTable+djangoTable+flywayTable+railsTable+gooseTable+prismaTable+liquibaseTable+atlasTable)
	found, err := tracking.Detect(t.Context(), conn, tracking.Options{})
	assert.NilError(t, err)
	assert.Equal(t, len(found), 8)
	var ignore []string
	for _, f := range found {
		ignore = append(ignore, f.Ignore()...)
	}
	have, err := schema.Read(t.Context(), conn, schema.Options{Ignore: ignore})
	assert.NilError(t, err)
	assert.DeepEqual(t, schema.Diff(want, have), []schema.Difference(nil))
}

// TestLockedTable covers D7 and D8: golang-migrate truncates its table, and a
// look that comes then must not wait for the end of the migration.
func TestLockedTable(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, golangMigrateTable)
	holder := d.Connect(t)
	execute(t, holder, "BEGIN; TRUNCATE schema_migrations")
	_, err := tracking.Read(t.Context(), conn, tracking.Options{LockTimeout: 50 * time.Millisecond})
	assert.ErrorIs(t, err, tracking.ErrLocked)
	assert.ErrorContains(t, err, "tracking table public.schema_migrations: the table is locked against readers")
	assert.Equal(t, len(detect(t, conn, tracking.Options{})), 1)
	execute(t, holder, "ROLLBACK")
	assert.Equal(t, read(t, conn, tracking.Options{}).Status, tracking.Empty)
}

// TestAdvisoryLocks covers D7: what holds all advisory locks there are holds
// up nobody who looks.
func TestAdvisoryLocks(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, golangMigrateTable+"INSERT INTO schema_migrations VALUES (1, false)")
	holder := d.Connect(t)
	// The keys of golang-migrate for this table, goose and Prisma.
	execute(t, holder, "SELECT pg_advisory_lock(4097083626), pg_advisory_lock(72707369), pg_advisory_lock(1787120056)")
	assert.Equal(t, read(t, conn, tracking.Options{}).Version(), "1")
	var held int
	assert.NilError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()").Scan(&held))
	assert.Equal(t, held, 0)
}

func TestPrivileges(t *testing.T) {
	d, admin := database(t)
	stranger := shared.Server(t).Database(t)
	execute(t, admin, alembicTable)
	config, err := pgx.ParseConfig(address(stranger, "postgres"))
	assert.NilError(t, err)
	config.Database = d.Name
	conn, err := pgx.ConnectConfig(t.Context(), config)
	assert.NilError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })

	assert.DeepEqual(t, detect(t, conn, tracking.Options{}), []summary{{tracking.Alembic, "public.alembic_version", []string{"public.alembic_version"}}})
	_, err = tracking.Read(t.Context(), conn, tracking.Options{})
	assert.ErrorContains(t, err, "tracking table public.alembic_version: ERROR: permission denied for table alembic_version (SQLSTATE 42501): grant the role SELECT on it")
}

func TestTransactionOfTheCaller(t *testing.T) {
	_, conn := database(t)
	execute(t, conn, alembicTable)
	t.Run("an old snapshot is refused", func(t *testing.T) {
		tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		assert.NilError(t, err)
		defer func() { assert.NilError(t, tx.Rollback(t.Context())) }()
		_, err = tracking.Read(t.Context(), tx, tracking.Options{})
		assert.ErrorContains(t, err, "isolation repeatable read: begin it with READ COMMITTED")
	})
	t.Run("its settings stay, and it goes on", func(t *testing.T) {
		tx, err := conn.Begin(t.Context())
		assert.NilError(t, err)
		defer func() { assert.NilError(t, tx.Rollback(t.Context())) }()
		_ = read(t, tx, tracking.Options{})
		var timeout string
		assert.NilError(t, tx.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&timeout))
		assert.Equal(t, timeout, "0")
		_, err = tx.Exec(t.Context(), "INSERT INTO alembic_version VALUES ('a')")
		assert.NilError(t, err)
		assert.Equal(t, read(t, tx, tracking.Options{}).Version(), "a")
	})
	t.Run("a default of the role does not matter", func(t *testing.T) {
		execute(t, conn, "SET default_transaction_isolation = 'serializable'")
		assert.Equal(t, read(t, conn, tracking.Options{}).Status, tracking.Empty)
	})
}
