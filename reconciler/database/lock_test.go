package database_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-migrate/migrate/v4"
	migratedb "github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

// commandDriver is what golang-migrate's own command would use for a database.
func commandDriver(t *testing.T, d postgres.Database) migratedb.Driver {
	t.Helper()
	address := url.URL{
		Scheme: "pgx5", User: url.UserPassword(d.User, d.Password), Host: fmt.Sprintf("%s:%d", d.Host, d.Port), Path: "/" + d.Name,
		RawQuery: "sslmode=disable&application_name=migrate-command",
	}
	driver, err := (&migratepgx.Postgres{}).Open(address.String())
	assert.NilError(t, err)
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

func command(t *testing.T, d postgres.Database, f files) *migrate.Migrate {
	t.Helper()
	source, err := iofs.New(f.tree(), "migrations")
	assert.NilError(t, err)
	migrator, err := migrate.NewWithInstance("test", source, "test", commandDriver(t, d))
	assert.NilError(t, err)
	return migrator
}

func TestTheCommandAndWeExcludeEachOther(t *testing.T) {
	t.Run("we wait for the command, and say who it is", func(t *testing.T) {
		r := newRunner(t)
		driver := commandDriver(t, r.Database)
		assert.NilError(t, driver.Lock())
		f := files{"1_a.up.sql": "CREATE TABLE a ()"}
		report := r.migrate(t, f)
		assert.Equal(t, report.Outcome, database.OutcomeInterrupted)
		assert.Equal(t, database.ExitCode(report), database.ExitTemporary)
		assert.Assert(t, cmp.Regexp(`^another migration of this database has held the lock for longer than 200ms: server process \d+, application migrate-command, role `+
			r.User+`, from 127.0.0.1, last statement at 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, report.Message))
		assert.Assert(t, !has(t, r.Connect(t), "a"))

		r.options.LockWait = 20 * time.Second
		done := make(chan reconciler.MigrationReport)
		go func() { done <- r.migrateContext(t.Context(), t, f) }()
		conn := r.Connect(t)
		poll.WaitOn(t, func(poll.LogT) poll.Result {
			if scalar[int](t, conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockstep-migrate' AND datname = current_database() AND state = 'idle'") > 0 {
				return poll.Success()
			}
			return poll.Continue("it does not wait yet")
		}, poll.WithDelay(10*time.Millisecond))
		assert.NilError(t, driver.Unlock())
		assert.Equal(t, (<-done).Outcome, database.OutcomeSucceeded)
	})
	t.Run("the command waits for us", func(t *testing.T) {
		r := newRunner(t)
		conn := r.Connect(t)
		driver := commandDriver(t, r.Database)
		done := make(chan reconciler.MigrationReport)
		go func() { done <- r.migrateContext(t.Context(), t, files{"1_a.up.sql": "SELECT pg_sleep(60)"}) }()
		awaitSleeper(t, conn)
		locked := make(chan error)
		go func() { locked <- driver.Lock() }()
		poll.WaitOn(t, func(poll.LogT) poll.Result {
			if scalar[int](t, conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migrate-command' AND datname = current_database() AND wait_event = 'advisory'") == 1 {
				return poll.Success()
			}
			return poll.Continue("the command does not wait")
		}, poll.WithDelay(10*time.Millisecond))
		exec(t, conn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'lockstep-migrate' AND datname = current_database()")
		assert.Equal(t, (<-done).Outcome, database.OutcomeInterrupted)
		assert.NilError(t, <-locked)
		assert.NilError(t, driver.Unlock())
	})
}

func TestTheCommandAndWeTakeOverFromEachOther(t *testing.T) {
	r := newRunner(t)
	f := files{"1_a.up.sql": "CREATE TABLE a ()"}
	assert.NilError(t, command(t, r.Database, f).Up())
	assert.Equal(t, r.state(t), clean(1))

	f["2_b.up.sql"] = "CREATE TABLE b ()"
	report := r.migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
	assert.Equal(t, report.VersionBefore, "1")

	f["3_c.up.sql"], f["3_c.down.sql"] = "CREATE TABLE c ()", "DROP TABLE c"
	migrator := command(t, r.Database, f)
	version, isDirty, err := migrator.Version()
	assert.NilError(t, err)
	assert.Equal(t, version, uint(2))
	assert.Assert(t, !isDirty)
	assert.NilError(t, migrator.Up())
	assert.NilError(t, migrator.Steps(-1))
	assert.Equal(t, r.state(t), clean(2))

	t.Run("a dirty row of the command is seen", func(t *testing.T) {
		f["3_c.up.sql"] = "CREATE TABEL c"
		assert.ErrorContains(t, command(t, r.Database, f).Up(), "syntax error")
		assert.Equal(t, r.state(t), dirty(3))
		assert.Assert(t, r.migrate(t, f).Dirty)
		assert.NilError(t, command(t, r.Database, f).Force(2))
		assert.Equal(t, r.state(t), clean(2))
	})
	t.Run("a database that the command emptied starts anew", func(t *testing.T) {
		assert.NilError(t, command(t, r.Database, f).Force(-1))
		assert.Equal(t, r.state(t), reconciler.SchemaState{})
	})
	t.Run("the table that we make is the one that it makes", func(t *testing.T) {
		other := newRunner(t)
		commandDriver(t, other.Database)
		ours := newRunner(t)
		assert.Equal(t, ours.migrate(t, files{"1_a.up.sql": "SELECT 1"}).Outcome, database.OutcomeSucceeded)
		const columns = `SELECT string_agg(format('%s %s %s %s', attname, atttypid::regtype, attnotnull, coalesce(pg_get_indexdef(indexrelid), '')), E'\n' ORDER BY attnum)
			FROM pg_attribute LEFT JOIN pg_index ON indrelid = attrelid AND indisprimary WHERE attrelid = 'public.schema_migrations'::regclass AND attnum > 0`
		assert.Equal(t, scalar[string](t, ours.Connect(t), columns), scalar[string](t, other.Connect(t), columns))
	})
}

func TestThreeMigrationsAtOnce(t *testing.T) {
	// D3, D6: an index built concurrently, and two who wait for the lock.
	r := newRunner(t)
	f := files{"1_a.up.sql": "CREATE TABLE a AS SELECT generate_series(1, 20000) AS id"}
	for i := 2; i < 8; i++ {
		f[fmt.Sprintf("%d_i.up.sql", i)] = fmt.Sprintf("CREATE INDEX CONCURRENTLY i%d ON a (id)", i)
	}
	archive := f.archive(t)
	var group sync.WaitGroup
	reports := make([]reconciler.MigrationReport, 3)
	for i := range reports {
		group.Go(func() {
			reports[i] = database.Migrate(t.Context(), database.Options{Archive: archive, Secret: r.Secret(), LockWait: 30 * time.Second})
		})
	}
	group.Wait()
	outcomes := map[string]int{}
	for _, report := range reports {
		outcomes[report.Outcome]++
		assert.Equal(t, database.ExitCode(report), database.ExitOK, report.Message)
	}
	assert.DeepEqual(t, outcomes, map[string]int{database.OutcomeSucceeded: 1, database.OutcomeNothing: 2})
	conn := r.Connect(t)
	assert.Equal(t, scalar[int](t, conn, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), 0)
	assert.Equal(t, r.state(t), clean(7))
	assert.Equal(t, scalar[int](t, conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"), 0)
}

func TestStateDoesNotWaitForAMigration(t *testing.T) {
	// D7.
	r := newRunner(t)
	f := files{"1_a.up.sql": "CREATE TABLE a ()"}
	assert.Equal(t, r.migrate(t, f).Outcome, database.OutcomeSucceeded)
	f["2_b.up.sql"] = "ALTER TABLE a ADD COLUMN v int; SELECT pg_sleep(60)"
	done := make(chan reconciler.MigrationReport)
	go func() { done <- r.migrateContext(t.Context(), t, f) }()
	conn := r.Connect(t)
	awaitSleeper(t, conn)
	start := time.Now()
	assert.Equal(t, r.state(t), clean(1))
	assert.Assert(t, time.Since(start) < time.Second)
	exec(t, conn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'lockstep-migrate' AND datname = current_database()")
	<-done

	t.Run("a table that is locked is no verdict", func(t *testing.T) {
		tx, err := conn.Begin(t.Context())
		assert.NilError(t, err)
		_, err = tx.Exec(t.Context(), "LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE")
		assert.NilError(t, err)
		_, err = database.State(t.Context(), r.Secret(), "")
		assert.ErrorContains(t, err, "version table: canceling statement due to lock timeout (SQLSTATE 55P03)")
		assert.Assert(t, !reconciler.IsTerminal(err))
		assert.NilError(t, tx.Rollback(t.Context()))
	})
	t.Run("a role that may not read the table is told so", func(t *testing.T) {
		exec(t, conn, "ALTER TABLE schema_migrations OWNER TO postgres")
		_, err := database.State(t.Context(), r.Secret(), "")
		assert.ErrorContains(t, err, "permission denied for table schema_migrations (SQLSTATE 42501): let role "+r.User+" own the database, or GRANT it what is missing")
		assert.Assert(t, reconciler.IsTerminal(err))
	})
}

func TestAReaderDoesNotHoldUpTheVersion(t *testing.T) {
	// A dump keeps its snapshot and its lock on the version table.
	r := newRunner(t)
	f := files{"1_a.up.sql": "CREATE TABLE a ()"}
	assert.Equal(t, r.migrate(t, f).Outcome, database.OutcomeSucceeded)
	dump := r.Connect(t)
	exec(t, dump, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	assert.Equal(t, scalar[int](t, dump, "SELECT version FROM schema_migrations"), 1)
	f["2_b.up.sql"] = "CREATE TABLE b ()"
	report := r.migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
	assert.Equal(t, scalar[int](t, dump, "SELECT version FROM schema_migrations"), 1)
}

func TestAKilledProcessLeavesAllOrNothing(t *testing.T) {
	// D2, J12: SIGKILL in the middle of a file.
	r := newRunner(t)
	conn := r.Connect(t)
	f := files{"1_a.up.sql": "CREATE TABLE a (); SELECT pg_sleep(60); CREATE TABLE b ()"}
	process := osexec.Command(os.Args[0])
	process.Env = append(os.Environ(), writeOrder(t, order{Secret: r.Secret(), Archive: f.archive(t)}))
	assert.NilError(t, process.Start())
	awaitSleeper(t, conn)
	assert.NilError(t, process.Process.Kill())
	assert.ErrorContains(t, process.Wait(), "killed")

	start := time.Now()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if n := scalar[int](t, conn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lockstep-migrate'"); n > 0 {
			return poll.Continue("the server still runs it")
		}
		return poll.Success()
	}, poll.WithDelay(50*time.Millisecond), poll.WithTimeout(5*time.Second))
	t.Logf("the server ended it after %s", time.Since(start).Round(time.Millisecond))
	assert.Assert(t, !has(t, conn, "a") && !has(t, conn, "b"))
	assert.Equal(t, r.state(t), reconciler.SchemaState{})

	f["1_a.up.sql"] = "CREATE TABLE a (); CREATE TABLE b ()"
	assert.Equal(t, r.migrate(t, f).Outcome, database.OutcomeSucceeded)
}

func TestTheProgramStartedTwice(t *testing.T) {
	// J1: the second waits, and gives up when it has waited long enough.
	r := newRunner(t)
	conn := r.Connect(t)
	f := files{"1_a.up.sql": "CREATE TABLE a (); SELECT pg_sleep(60)"}
	first := osexec.Command(os.Args[0])
	first.Env = append(os.Environ(), writeOrder(t, order{Secret: r.Secret(), Archive: f.archive(t)}))
	assert.NilError(t, first.Start())
	awaitSleeper(t, conn)

	second := osexec.Command(os.Args[0])
	second.Env = append(os.Environ(), writeOrder(t, order{Secret: r.Secret(), Archive: f.archive(t), LockWait: 100 * time.Millisecond}))
	content, err := second.Output()
	assert.ErrorContains(t, err, fmt.Sprintf("exit status %d", database.ExitTemporary))
	var report reconciler.MigrationReport
	assert.NilError(t, json.Unmarshal(content, &report))
	assert.Assert(t, cmp.Contains(report.Message, "application lockstep-migrate"))

	assert.NilError(t, first.Process.Kill())
	assert.ErrorContains(t, first.Wait(), "killed")
}

func TestAProcessThatIsToldToGoSaysWhy(t *testing.T) {
	// SIGTERM, as a kubelet sends it.
	r := newRunner(t)
	conn := r.Connect(t)
	f := files{"1_a.up.sql": "CREATE TABLE a (); SELECT pg_sleep(60)"}
	process := osexec.Command(os.Args[0])
	process.Env = append(os.Environ(), writeOrder(t, order{Secret: r.Secret(), Archive: f.archive(t)}))
	var output strings.Builder
	process.Stdout = &output
	assert.NilError(t, process.Start())
	awaitSleeper(t, conn)
	assert.NilError(t, process.Process.Signal(sigterm))
	assert.ErrorContains(t, process.Wait(), fmt.Sprintf("exit status %d", database.ExitTemporary))
	var report reconciler.MigrationReport
	assert.NilError(t, json.Unmarshal([]byte(output.String()), &report))
	assert.DeepEqual(t, report, reconciler.MigrationReport{
		Outcome: database.OutcomeInterrupted, File: "1_a.up.sql", Line: 1, SQLState: "57014",
		Message: "stopped while the file ran: canceling statement due to user request",
	})
	assert.Assert(t, !has(t, conn, "a"))
}

func TestAPoolerIsRefused(t *testing.T) {
	// D4.
	r := newRunner(t)
	for name, quiet := range map[string]bool{"one that refuses what it does not know": false, "one that ignores it": true} {
		t.Run(name, func(t *testing.T) {
			pooled := *r
			pooled.Database = r.Pooled(t, quiet)
			report := pooled.migrate(t, files{"1_a.up.sql": "CREATE TABLE a ()"})
			assert.Equal(t, report.Outcome, database.OutcomeFailed)
			assert.Assert(t, cmp.Contains(report.Message, "the connection goes through a pooler, where a migration lock does not hold: name the server itself in the Secret"))
			assert.Assert(t, !has(t, r.Connect(t), "a"))
			assert.Equal(t, pooled.state(t), reconciler.SchemaState{}, "a look may go through a pooler")
		})
	}
}
