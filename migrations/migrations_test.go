package migrations_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"

	"github.com/lockstep-gitops/lockstep/migrations"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

var shared postgres.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

// The tables as the deployment report lists them, word for word.
const reported = `
- alerts, application_blueprints, certificates, credential_audit_logs
- deployment_intents, knowledge, notification_logs, plugin_api_keys
- plugin_executions, plugin_metrics, push_subscriptions, reports
- resource_reconciliations, server_credentials, server_snapshots
- settings, ssh_keys, step_ca_config, users, alert_channels
- kubernetes_clusters, kubernetes_resources, plugins, server_profiles
- tenant_memberships, threshold_rules
`

// reportedTables are the 26 of the report.
func reportedTables() []string {
	return strings.FieldsFunc(reported, func(r rune) bool { return strings.ContainsRune("-, \n", r) })
}

// tablesBefore are those that were there before tenants.
func tablesBefore() []string {
	var tables []string
	for _, table := range reportedTables() {
		if table != "tenant_memberships" {
			tables = append(tables, table)
		}
	}
	return tables
}

// database is one of the shared server's, and a connection of its owner.
type database struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn
}

func newDatabase(t *testing.T) database {
	t.Helper()
	created := shared.Server(t).Database(t)
	config, err := pgx.ParseConfig("sslmode=disable")
	assert.NilError(t, err)
	config.Host, config.Port, config.Database = created.Host, created.Port, created.Name
	config.User, config.Password = created.User, created.Password
	d := database{config: config}
	d.conn = d.connect(t)
	return d
}

func (d database) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), d.config)
	assert.NilError(t, err)
	t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
	return conn
}

// migrator is golang-migrate as its own program uses it.
func (d database) migrator(t *testing.T) *migrate.Migrate {
	t.Helper()
	source, err := iofs.New(migrations.FS, ".")
	assert.NilError(t, err)
	driver, err := migratepgx.WithInstance(stdlib.OpenDB(*d.config), &migratepgx.Config{})
	assert.NilError(t, err)
	m, err := migrate.NewWithInstance("iofs", source, "pgx5", driver)
	assert.NilError(t, err)
	t.Cleanup(func() { _, _ = m.Close() })
	return m
}

// run sends one file as one string, as golang-migrate does.
func (d database) run(t *testing.T, file string) error {
	t.Helper()
	text, err := migrations.FS.ReadFile(file)
	assert.NilError(t, err)
	_, err = d.conn.PgConn().Exec(t.Context(), string(text)).ReadAll()
	return err
}

func (d database) mustRun(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range files {
		assert.NilError(t, d.run(t, file), file)
	}
}

func (d database) exec(t *testing.T, statement string) {
	t.Helper()
	_, err := d.conn.Exec(t.Context(), statement)
	assert.NilError(t, err, statement)
}

// column collects the values of a query of one column.
func column[T any](t *testing.T, d database, query string) []T {
	t.Helper()
	rows, err := d.conn.Query(t.Context(), query)
	assert.NilError(t, err, query)
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	assert.NilError(t, err, query)
	return values
}

func (d database) count(t *testing.T, table string) int64 {
	t.Helper()
	return column[int64](t, d, "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize())[0]
}

func (d database) counts(t *testing.T) map[string]int64 {
	t.Helper()
	counts := map[string]int64{}
	for _, table := range append(tablesBefore(), "tenants") {
		counts[table] = d.count(t, table)
	}
	return counts
}

const (
	tables = `SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations' ORDER BY 1`
	scoped = `SELECT table_name::text FROM information_schema.columns
		WHERE table_schema = 'public' AND column_name = 'tenant_id' AND data_type = 'text' AND is_nullable = 'NO' ORDER BY 1`
	columns = `SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns
		WHERE table_schema = 'public' ORDER BY 1`
	indexes = `SELECT indrelid::regclass::text FROM pg_index
		JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
		WHERE attname = 'tenant_id' AND indisvalid ORDER BY 1`
)

func assertSame(t *testing.T, got, want []string) {
	t.Helper()
	assert.DeepEqual(t, slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}

func sqlState(err error) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refused.Code
	}
	return ""
}

func TestTheReportNames26Tables(t *testing.T) {
	assert.Equal(t, len(reportedTables()), 26)
	assert.Equal(t, len(tablesBefore()), 25)
}

// The report: tenant_id on 26 tables, 19 indexes, all data of tenant default.
func TestTheDatabaseIsAsTheReportSays(t *testing.T) {
	d := newDatabase(t)
	m := d.migrator(t)
	assert.NilError(t, m.Migrate(1))
	assertSame(t, column[string](t, d, tables), append(tablesBefore(), "tenants"))
	assert.DeepEqual(t, column[string](t, d, scoped), []string{})
	before := d.counts(t)
	for table, rows := range before {
		assert.Assert(t, rows > 0, "%s is empty, so nothing is seen to move", table)
	}

	assert.NilError(t, m.Up())
	version, dirty, err := m.Version()
	assert.NilError(t, err)
	assert.Equal(t, version, uint(2))
	assert.Assert(t, !dirty)

	assertSame(t, column[string](t, d, tables), append(reportedTables(), "tenants"))
	assertSame(t, column[string](t, d, scoped), reportedTables())
	assert.Equal(t, len(column[string](t, d, indexes)), 19)
	assert.DeepEqual(t, d.counts(t), before)
	for _, table := range reportedTables() {
		others := column[int64](t, d, "SELECT count(*) FROM "+table+" WHERE tenant_id IS DISTINCT FROM 'default'")
		assert.Equal(t, others[0], int64(0), table)
	}
	assert.Equal(t, d.count(t, "tenant_memberships"), before["users"])
}

// Known issue 1 of the report: the ids of tenants are integers, and stay so.
func TestTheOldTenantsAreNotTouched(t *testing.T) {
	const shape = `SELECT column_name || ' ' || data_type || ' ' || coalesce(column_default, '') FROM information_schema.columns
		WHERE table_name = 'tenants' ORDER BY ordinal_position`
	d := newDatabase(t)
	d.mustRun(t, "000001_baseline.up.sql")
	before := column[string](t, d, shape)
	assert.Equal(t, before[0], "id integer nextval('tenants_id_seq'::regclass)")
	d.mustRun(t, "000002_tenant_support.up.sql")
	assert.DeepEqual(t, column[string](t, d, shape), before)
	assert.DeepEqual(t, column[int64](t, d, "SELECT id::bigint FROM tenants ORDER BY id"), []int64{1, 2})
}

// D5: during the rollout, and after a rollback, old code meets the new schema.
func TestCodeOfBeforeInsertsWithoutATenant(t *testing.T) {
	d := newDatabase(t)
	d.mustRun(t, "000001_baseline.up.sql", "000002_tenant_support.up.sql")
	d.exec(t, "INSERT INTO alerts (title) VALUES ('from old code')")
	assert.DeepEqual(t, column[string](t, d, "SELECT tenant_id FROM alerts WHERE title = 'from old code'"), []string{"default"})
}

// D10: the whole file is one transaction, what fails at its end undoes its beginning.
func TestHalfAMigrationLeavesNothing(t *testing.T) {
	d := newDatabase(t)
	d.mustRun(t, "000001_baseline.up.sql")
	d.exec(t, "CREATE TABLE tenant_memberships (in_the_way int)")
	assert.Equal(t, sqlState(d.run(t, "000002_tenant_support.up.sql")), "42P07")
	assert.DeepEqual(t, column[string](t, d, scoped), []string{})
	assert.DeepEqual(t, column[string](t, d, indexes), []string{})
}

// D8: one idle reader is in the way, and everybody waits behind the migration.
func TestAWaitForALockIsBounded(t *testing.T) {
	for name, lockTimeout := range map[string]string{
		"by the one who runs the file":          "200ms",
		"by the file where nobody set anything": "0",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t)
			d.mustRun(t, "000001_baseline.up.sql")
			reader, err := d.connect(t).Begin(t.Context())
			assert.NilError(t, err)
			_, err = reader.Exec(t.Context(), "SELECT FROM settings")
			assert.NilError(t, err)

			d.exec(t, "SET lock_timeout = '"+lockTimeout+"'")
			assert.Equal(t, sqlState(d.run(t, "000002_tenant_support.up.sql")), "55P03")
			assert.DeepEqual(t, column[string](t, d, scoped), []string{})

			assert.NilError(t, reader.Rollback(t.Context()))
			d.mustRun(t, "000002_tenant_support.up.sql")
			assert.DeepEqual(t, column[string](t, d, "SHOW lock_timeout"), []string{lockTimeout})
		})
	}
}

func TestTheWayBackLeadsToTheTablesOfBefore(t *testing.T) {
	d := newDatabase(t)
	m := d.migrator(t)
	assert.NilError(t, m.Migrate(1))
	before := d.counts(t)
	shape := column[string](t, d, columns)
	assert.NilError(t, m.Migrate(2))
	assert.NilError(t, m.Migrate(1))
	assertSame(t, column[string](t, d, tables), append(tablesBefore(), "tenants"))
	assert.DeepEqual(t, column[string](t, d, columns), shape)
	assert.DeepEqual(t, d.counts(t), before)

	assert.NilError(t, m.Up())
	assertSame(t, column[string](t, d, scoped), reportedTables())
}

func TestTheWayBackIsClosedByRowsOfOtherTenants(t *testing.T) {
	for _, table := range []string{"settings", "tenant_memberships"} {
		t.Run(table, func(t *testing.T) {
			d := newDatabase(t)
			d.mustRun(t, "000001_baseline.up.sql", "000002_tenant_support.up.sql")
			d.exec(t, "UPDATE "+table+" SET tenant_id = 'guests' WHERE id = 1")
			err := d.run(t, "000002_tenant_support.down.sql")
			assert.ErrorContains(t, err, "table "+table+" has 1 rows of tenants other than default")
			assertSame(t, column[string](t, d, scoped), reportedTables())
		})
	}
}

func TestNothingLeadsBehindTheBaseline(t *testing.T) {
	d := newDatabase(t)
	m := d.migrator(t)
	assert.NilError(t, m.Up())
	rows := d.counts(t)
	err := m.Down()
	assert.Assert(t, cmp.ErrorContains(err, "nothing comes before the baseline"))
	assert.DeepEqual(t, d.counts(t), rows)
}
