package schema_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/database/schema"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

func TestOrderOfCreationDoesNotMatter(t *testing.T) {
	first := []string{
		"CREATE TABLE a (id serial PRIMARY KEY)",
		"CREATE TABLE b (id serial PRIMARY KEY, a_id integer REFERENCES a)",
		"CREATE INDEX b_one ON b (a_id)",
		"CREATE INDEX b_two ON b (a_id DESC)",
		"CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
		"CREATE TYPE kind AS ENUM ('x')",
		"GRANT SELECT ON a TO ROLE",
		"GRANT INSERT ON a TO ROLE",
	}
	second := []string{
		"CREATE TABLE gone (id integer)",
		"DROP TABLE gone",
		"CREATE TYPE kind AS ENUM ('x')",
		"CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
		"CREATE TABLE b (gone integer, id serial PRIMARY KEY, a_id integer)",
		"ALTER TABLE b DROP COLUMN gone",
		"CREATE INDEX b_two ON b (a_id DESC)",
		"CREATE INDEX b_one ON b (a_id)",
		"CREATE TABLE a (id serial PRIMARY KEY)",
		"ALTER TABLE b ADD FOREIGN KEY (a_id) REFERENCES a",
		"GRANT INSERT, SELECT ON a TO ROLE",
	}
	d, one := database(t)
	_, two := database(t)
	for _, statement := range first {
		execute(t, one, strings.ReplaceAll(statement, "ROLE", d.User))
	}
	for _, statement := range second {
		execute(t, two, strings.ReplaceAll(statement, "ROLE", d.User))
	}
	want, have := read(t, one, schema.Options{}), read(t, two, schema.Options{})
	assert.DeepEqual(t, texts(schema.Diff(want, have)), []string{})
	assert.Equal(t, digest(t, want), digest(t, have))
	assert.Equal(t, schema.Distance(want, have), 0)
}

// spellings are what PostgreSQL spells in another way after a restore, or might.
const spellings = `
CREATE EXTENSION hstore SCHEMA app;
CREATE EXTENSION btree_gist;
CREATE TABLE bag (h app.hstore, gone integer, n numeric(8,2) DEFAULT 0 CHECK (n > -1 AND n NOT IN (5, 6)), i integer DEFAULT -1,
	span interval DEFAULT '1 day 2 hours', at timestamptz DEFAULT '2020-01-01 12:00:00+02', b bytea DEFAULT '\xff', f float8 DEFAULT 0.1,
	list varchar(10)[] DEFAULT ARRAY['a', 'b'], m app.mood DEFAULT 'ok' CHECK (m IN ('sad', 'ok')), e app.email,
	c char(3) CHECK (c NOT IN ('abc', 'def')), t text CHECK (t LIKE ANY (ARRAY['a%', 'b%']) AND t BETWEEN 'a' AND 'c'),
	v varchar CHECK (lower(v) IN ('it''s', 'a,b', 'x])::text[]')), during tsrange, EXCLUDE USING gist (i WITH =, during WITH &&));
ALTER TABLE bag DROP COLUMN gone;
CREATE INDEX bag_low ON bag (lower(v) text_pattern_ops DESC NULLS LAST) INCLUDE (n) WHERE v NOT IN ('a', 'b') AND c = 'x';
CREATE TABLE parts (id bigint, at date, kind varchar(5) NOT NULL CHECK (kind IN ('a', 'b')), PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE parts_2 (LIKE parts INCLUDING ALL);
ALTER TABLE parts ATTACH PARTITION parts_2 DEFAULT;
CREATE INDEX parts_kind ON parts (kind);
CREATE TABLE refers (id bigint, at date, tenant integer, FOREIGN KEY (id, at) REFERENCES parts DEFERRABLE INITIALLY DEFERRED,
	CONSTRAINT later FOREIGN KEY (tenant) REFERENCES tenants ON DELETE SET NULL);
ALTER TABLE refers ADD CONSTRAINT unchecked CHECK (tenant > 0) NOT VALID;
CREATE VIEW wide AS SELECT u.id, CASE WHEN u.role IN ('admin', 'x') THEN 1 ELSE 0 END AS boss, row_number() OVER (PARTITION BY u.role ORDER BY u.id) AS n,
	t.name::varchar(5) AS short FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.role IN (SELECT role FROM users) AND u.born > '2020-01-01';
CREATE VIEW wider AS SELECT * FROM wide JOIN names USING (id);
CREATE FUNCTION body(r varchar) RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT r IN ('a', 'b'); END;
CREATE FUNCTION defaults(a integer DEFAULT -1, VARIADIC b text[] DEFAULT '{}') RETURNS TABLE (x integer, y text) LANGUAGE sql STABLE SET search_path = app AS 'SELECT 1, ''it''''s''';
CREATE POLICY few ON users AS RESTRICTIVE FOR SELECT TO ROLE USING (role IN ('admin', 'member'));
CREATE RULE also AS ON UPDATE TO plain WHERE new.b IN ('a', 'b') DO ALSO DELETE FROM bag WHERE v IN ('a', 'b');
ALTER DOMAIN app.email ADD CONSTRAINT few CHECK (VALUE::varchar IN ('a@b', 'c@d'));
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO ROLE;
REVOKE EXECUTE ON FUNCTION twice(integer) FROM PUBLIC;
GRANT SELECT ON names TO PUBLIC;
CREATE COLLATION app.plain FROM "C";
CREATE CAST (app.pair AS text) WITH INOUT;
`

// TestRestoredDumpIsEqual is what a rehearsal rests on: it compares a
// restored copy with the original.
func TestRestoredDumpIsEqual(t *testing.T) {
	programs := postgres.Programs(t)
	d, conn := database(t)
	copied, restored := database(t)
	execute(t, conn, strings.ReplaceAll(sample, "ROLE", d.User))
	execute(t, conn, strings.ReplaceAll(spellings, "ROLE", d.User))
	server := shared.Server(t)
	file := filepath.Join(t.TempDir(), "dump")
	where := []string{"-h", server.Socket, "-p", strconv.Itoa(int(server.Port)), "-U", "postgres"}
	program(t, filepath.Join(programs, "pg_dump"), append(where, "-Fc", "-f", file, d.Name)...)
	program(t, filepath.Join(programs, "pg_restore"), append(where, "--exit-on-error", "-d", copied.Name, file)...)

	want := read(t, conn, schema.Options{Comments: true})
	have := read(t, restored, schema.Options{Comments: true})
	assert.DeepEqual(t, texts(schema.Diff(want, have)), []string{})
	assert.Equal(t, digest(t, want), digest(t, have))
	assert.Assert(t, len(want.Objects) >= 110, "%d objects", len(want.Objects))
}

func TestSettingsOfTheSessionDoNotMatter(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, strings.ReplaceAll(sample, "ROLE", d.User))
	want := digest(t, read(t, conn, schema.Options{}))
	other := d.Connect(t)
	execute(t, other, `SET search_path = app, public; SET "DateStyle" = 'German'; SET quote_all_identifiers = on;
		SET "TimeZone" = 'Asia/Tokyo'; SET default_transaction_isolation = 'serializable'; SET extra_float_digits = 0`)
	assert.Equal(t, digest(t, read(t, other, schema.Options{})), want)
	var path string
	assert.NilError(t, other.QueryRow(t.Context(), "SHOW search_path").Scan(&path))
	assert.Equal(t, path, "app, public")
}

func TestInvalidIndexIsNamed(t *testing.T) {
	_, conn := database(t)
	execute(t, conn, "CREATE TABLE t (a integer); INSERT INTO t VALUES (1), (1)")
	_, err := conn.Exec(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY ix_x ON t (a)")
	assert.ErrorContains(t, err, "23505")
	have := read(t, conn, schema.Options{})
	execute(t, conn, "DELETE FROM t; REINDEX INDEX ix_x")
	want := read(t, conn, schema.Options{})
	assert.DeepEqual(t, texts(schema.Diff(want, have)), []string{"index ix_x is INVALID"})
	assert.DeepEqual(t, texts(schema.Diff(have, want)), []string{"index ix_x is valid here, INVALID expected"})
	assert.Equal(t, len(want.Unfinished()), 0)
	assert.Equal(t, len(have.Unfinished()), 1)
	assert.Equal(t, have.Unfinished()[0].Name, "public.ix_x")
}

// TestLockedTable covers D8: a look at the schema must not wait for a
// migration without an end. The server shows who holds the lock.
func TestLockedTable(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, "CREATE TABLE t (a integer DEFAULT 1)")
	holder := d.Connect(t)
	execute(t, holder, "SET application_name = 'alembic'; BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")

	_, err := schema.Read(t.Context(), conn, schema.Options{LockTimeout: 50 * time.Millisecond})
	locked, ok := errors.AsType[*schema.LockedError](err)
	assert.Assert(t, ok, "%v", err)
	assert.Equal(t, len(locked.Holders), 1)
	assert.ErrorContains(t, err, "table public.t is locked by process ")
	assert.ErrorContains(t, err, "(alembic)")

	execute(t, holder, "ROLLBACK")
	_, err = schema.Read(t.Context(), conn, schema.Options{})
	assert.NilError(t, err)
}

// TestChangedMeanwhile drops an index that the transaction still sees, but
// PostgreSQL can no longer spell.
func TestChangedMeanwhile(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, "CREATE TABLE t (a integer); CREATE INDEX ix_x ON t (a)")
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	assert.NilError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT 1")
	assert.NilError(t, err)
	execute(t, d.Connect(t), "DROP INDEX ix_x")
	_, err = schema.Read(t.Context(), tx, schema.Options{})
	assert.ErrorIs(t, err, schema.ErrChanged)
	assert.NilError(t, tx.Rollback(t.Context()))
	_, found := read(t, conn, schema.Options{}).Object(schema.KindIndex, "public.ix_x")
	assert.Assert(t, !found)
}

func TestContextEndsRead(t *testing.T) {
	_, conn := database(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := schema.Read(ctx, conn, schema.Options{})
	assert.ErrorIs(t, err, context.Canceled)
}

// TestPowerlessRole shows that nothing is left out in silence: the catalogue
// shows everything to everybody, and where it does not, there is an error.
func TestPowerlessRole(t *testing.T) {
	d, admin := database(t)
	stranger := shared.Server(t).Database(t)
	execute(t, admin, strings.ReplaceAll(sample, "ROLE", d.User))
	execute(t, admin, "CREATE SCHEMA secret; CREATE TABLE secret.t (id serial PRIMARY KEY); REVOKE ALL ON SCHEMA public FROM PUBLIC")
	conn := connectAs(t, d, stranger)
	_, err := conn.Exec(t.Context(), "SELECT FROM secret.t")
	assert.ErrorContains(t, err, "42501")

	want, have := read(t, admin, schema.Options{}), read(t, conn, schema.Options{})
	assert.DeepEqual(t, texts(schema.Diff(want, have)), []string{})
	assert.Equal(t, digest(t, want), digest(t, have))

	execute(t, admin, "REVOKE SELECT ON pg_catalog.pg_policy FROM PUBLIC")
	_, err = schema.Read(t.Context(), conn, schema.Options{})
	assert.ErrorContains(t, err, "schema: policies: ERROR: permission denied for table pg_policy")
	assert.ErrorContains(t, err, "grant the role SELECT on that catalogue")
}

func TestTransactionOfTheCaller(t *testing.T) {
	_, conn := database(t)
	t.Run("one that is not of one time is refused", func(t *testing.T) {
		tx, err := conn.Begin(t.Context())
		assert.NilError(t, err)
		_, err = schema.Read(t.Context(), tx, schema.Options{})
		assert.ErrorContains(t, err, "isolation read committed: begin it with REPEATABLE READ")
		assert.NilError(t, tx.Rollback(t.Context()))
	})
	t.Run("its settings stay, and it goes on", func(t *testing.T) {
		tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		assert.NilError(t, err)
		_ = read(t, tx, schema.Options{})
		var timeout string
		assert.NilError(t, tx.QueryRow(t.Context(), "SHOW lock_timeout").Scan(&timeout))
		assert.Equal(t, timeout, "0")
		_, err = tx.Exec(t.Context(), "CREATE TABLE t (a integer)")
		assert.NilError(t, err)
		assert.NilError(t, tx.Commit(t.Context()))
		_, found := read(t, conn, schema.Options{}).Object(schema.KindTable, "public.t")
		assert.Assert(t, found)
	})
}

func TestOptions(t *testing.T) {
	_, conn := database(t)
	execute(t, conn, `CREATE TABLE t (a integer);
		CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);
		CREATE TABLE goose_db_version (id serial PRIMARY KEY); CREATE INDEX goose_x ON goose_db_version (id);
		CREATE SCHEMA atlas_schema_revisions; CREATE TABLE atlas_schema_revisions.atlas_schema_revisions (version text PRIMARY KEY);
		CREATE FUNCTION schema_migrations() RETURNS integer LANGUAGE sql AS 'SELECT 1'; COMMENT ON TABLE t IS 'x'`)
	tests := map[string]struct {
		options schema.Options
		want    []string
	}{
		"everything": {schema.Options{}, []string{
			"column atlas_schema_revisions.atlas_schema_revisions.version", "column public.goose_db_version.id",
			"column public.schema_migrations.dirty", "column public.schema_migrations.version", "column public.t.a",
			"constraint atlas_schema_revisions.atlas_schema_revisions.atlas_schema_revisions_pkey",
			"constraint public.goose_db_version.goose_db_version_pkey", "constraint public.schema_migrations.schema_migrations_pkey",
			"extension plpgsql", "function public.schema_migrations()", "index public.goose_x", "schema atlas_schema_revisions", "schema public",
			"sequence public.goose_db_version_id_seq", "table atlas_schema_revisions.atlas_schema_revisions",
			"table public.goose_db_version", "table public.schema_migrations", "table public.t",
		}},
		"without tracking tables": {schema.Options{Ignore: []string{"schema_migrations", "public.goose_db_version", "atlas_schema_revisions.*"}}, []string{
			"column public.t.a", "extension plpgsql", "function public.schema_migrations()", "schema public", "table public.t",
		}},
		"one schema": {schema.Options{Schemas: []string{"atlas_schema_revisions"}}, []string{
			"column atlas_schema_revisions.atlas_schema_revisions.version",
			"constraint atlas_schema_revisions.atlas_schema_revisions.atlas_schema_revisions_pkey",
			"extension plpgsql", "schema atlas_schema_revisions", "table atlas_schema_revisions.atlas_schema_revisions",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			names := []string{}
			for _, object := range read(t, conn, test.options).Objects {
				names = append(names, string(object.Kind)+" "+object.Name)
				assert.Equal(t, object.Fields[schema.FieldComment], "")
			}
			assert.DeepEqual(t, names, test.want)
		})
	}
}

func TestWithout(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, "CREATE TABLE t (a integer, b integer)")
	before := read(t, conn, schema.Options{Comments: true})
	execute(t, conn, "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a integer; COMMENT ON TABLE t IS 'x'; GRANT SELECT ON t TO "+d.User+
		"; ALTER TABLE t OWNER TO "+d.User+"; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "+d.User)
	after := read(t, conn, schema.Options{Comments: true})
	all := []schema.Aspect{schema.Owners, schema.Grants, schema.ColumnOrder, schema.Comments}
	assert.Equal(t, schema.Distance(before, after), 4, "%q", texts(schema.Diff(before, after)))
	for i := range all {
		some := append(append([]schema.Aspect{}, all[:i]...), all[i+1:]...)
		if all[i] == schema.Grants {
			continue
		}
		assert.Equal(t, schema.Distance(before.Without(some...), after.Without(some...)), 1, "%s", all[i])
		assert.Assert(t, digest(t, before.Without(some...)) != digest(t, after.Without(some...)), "%s", all[i])
	}
	assert.Equal(t, digest(t, before.Without(all...)), digest(t, after.Without(all...)))
	_, found := after.Object(schema.KindDefaultPrivileges, "of postgres for tables")
	assert.Assert(t, found)
}

func TestSnapshotSurvivesJSON(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, strings.ReplaceAll(sample, "ROLE", d.User))
	before := read(t, conn, schema.Options{})
	content, err := json.Marshal(before)
	assert.NilError(t, err)
	var after schema.Snapshot
	assert.NilError(t, json.Unmarshal(content, &after))
	assert.DeepEqual(t, before, after)
	assert.Equal(t, digest(t, before), digest(t, after))
	odd, found := after.Object(schema.KindColumn, `public.plain."Odd name"`)
	assert.Assert(t, found)
	assert.DeepEqual(t, odd, schema.Object{
		Kind: schema.KindColumn, Name: `public.plain."Odd name"`, Table: "public.plain",
		Fields: map[schema.Field]string{schema.FieldType: "text", schema.FieldNullability: "NULL"},
	})
}

// TestIntegerTenants is the database of the first deployment: an old table of
// tenants whose ids are integers, where text is expected.
func TestIntegerTenants(t *testing.T) {
	_, old := database(t)
	_, expected := database(t)
	execute(t, old, "CREATE TABLE tenants (id integer PRIMARY KEY); CREATE TABLE users (id integer, tenant_id integer)")
	execute(t, expected, "CREATE TABLE tenants (id varchar(255) PRIMARY KEY); CREATE TABLE users (id integer, tenant_id varchar(255))")
	assert.DeepEqual(t, texts(schema.Diff(read(t, expected, schema.Options{}), read(t, old, schema.Options{}))), []string{
		"column tenants.id: type integer here, character varying(255) expected",
		"column users.tenant_id: type integer here, character varying(255) expected",
	})
}

func program(t *testing.T, path string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), path, arguments...)
	command.Env = append(os.Environ(), "LC_ALL=C")
	output, err := command.CombinedOutput()
	assert.NilError(t, err, "%s", output)
}

// connectAs opens a connection to a database as the role of another one.
func connectAs(t *testing.T, d, role postgres.Database) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig("sslmode=disable")
	assert.NilError(t, err)
	config.Host, config.Port, config.Database, config.User, config.Password = d.Host, d.Port, d.Name, role.User, role.Password
	conn, err := pgx.ConnectConfig(t.Context(), config)
	assert.NilError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
