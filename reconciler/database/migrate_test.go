package database_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
)

func TestMigrateGoesToTheNewestVersion(t *testing.T) {
	r := newRunner(t)
	f := files{"1_users.up.sql": "CREATE TABLE users (id int);", "1_users.down.sql": "DROP TABLE users;"}
	report := r.migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
	assert.Equal(t, report.VersionBefore, "")
	assert.Equal(t, report.VersionAfter, "1")

	f["20_tenants.up.sql"] = "CREATE TABLE tenants (id text PRIMARY KEY);\nINSERT INTO tenants VALUES ('default');"
	f["3_keys.up.sql"] = "CREATE INDEX CONCURRENTLY users_id ON users (id)"
	f["21_empty.up.sql"] = "-- nothing to do\n"
	report = r.migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
	assert.Equal(t, database.ExitCode(report), database.ExitOK)
	assert.Equal(t, report.VersionBefore, "1")
	assert.Equal(t, report.VersionAfter, "21")
	var applied []string
	for _, a := range report.Applied {
		applied = append(applied, a.Title)
	}
	assert.DeepEqual(t, applied, []string{"keys", "tenants", "empty"})
	assert.Equal(t, r.state(t), clean(21))
	assert.Assert(t, strings.Contains(r.log.String(), "msg=applied file=20_tenants.up.sql"))

	report = r.migrate(t, f)
	assert.DeepEqual(t, report, reconciler.MigrationReport{Outcome: database.OutcomeNothing, VersionBefore: "21", VersionAfter: "21"})
	assert.Equal(t, database.ExitCode(report), database.ExitOK)
}

func TestAFailedFileLeavesNothing(t *testing.T) {
	// D1, D12, and the file and line that the status shows.
	const canary = "canary-3141592"
	for name, test := range map[string]struct {
		sql     string
		line    int32
		state   string
		message string
	}{
		"a syntax error has a line": {
			"CREATE TABLE a (id int);\n-- äöü\n  CREATE TABEL b;", 3, "42601", `syntax error at or near "TABEL"`,
		},
		"a duplicate row is not shown (D12)": {
			"CREATE TABLE a (v text UNIQUE);\nINSERT INTO a VALUES ('" + canary + "');\n\nINSERT INTO a VALUES ('" + canary + "');", 4, "23505",
			`duplicate key value violates unique constraint "a_v_key"`,
		},
		"a value that cannot be cast is not shown (D12)": {
			"CREATE TABLE a (v text);\nINSERT INTO a VALUES ('" + canary + "');\nALTER TABLE a ALTER v TYPE int USING v::int;", 3, "22P02",
			"invalid input syntax for type integer: [withheld]",
		},
		"a literal in the wrong place is not shown (D12)": {
			"CREATE TABLE a (id int);\nSELECT 1 '" + canary + "';", 2, "42601", "syntax error at or near [withheld]",
		},
		"an error at commit has no line": {
			"CREATE TABLE a (id int PRIMARY KEY, b int REFERENCES a DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO a VALUES (1, 2);", 1, "23503",
			`insert or update on table "a" violates foreign key constraint "a_b_fkey"`,
		},
		"an error in a block has the line of the block": {
			"CREATE TABLE a (id int);\n\nDO $$ BEGIN\nRAISE EXCEPTION 'not today';\nEND $$;", 3, "P0001", "not today",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t)
			report := r.migrate(t, files{"1_first.up.sql": "CREATE TABLE first (id int)", "2_bad.up.sql": test.sql, "3_later.up.sql": "SELECT 1"})
			applied := report.Applied
			report.Applied = nil
			assert.DeepEqual(t, report, reconciler.MigrationReport{
				Outcome: database.OutcomeFailed, VersionAfter: "1",
				File: "2_bad.up.sql", Line: test.line, SQLState: test.state, Message: test.message,
			})
			assert.Equal(t, database.ExitCode(report), database.ExitTerminal)
			assert.Equal(t, len(applied), 1)
			assert.Equal(t, r.state(t), clean(1))
			conn := r.Connect(t)
			assert.Assert(t, has(t, conn, "first"))
			assert.Assert(t, !has(t, conn, "a"))
			assert.Assert(t, !strings.Contains(r.log.String()+report.Message, canary))

			fixed := r.migrate(t, files{"1_first.up.sql": "CREATE TABLE first (id int)", "2_bad.up.sql": "CREATE TABLE a ()"})
			assert.Equal(t, fixed.Outcome, database.OutcomeSucceeded, fixed.Message)
		})
	}
}

func TestALockThatIsHeldIsTransient(t *testing.T) {
	// D8: the wait is bounded, and nothing is left behind.
	r := newRunner(t)
	assert.Equal(t, r.migrate(t, files{"1_a.up.sql": "CREATE TABLE a (id int)"}).Outcome, database.OutcomeSucceeded)
	reader := r.Connect(t)
	tx, err := reader.Begin(t.Context())
	assert.NilError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT * FROM a")
	assert.NilError(t, err)

	f := files{"1_a.up.sql": "CREATE TABLE a (id int)", "2_b.up.sql": "CREATE TABLE b ();\nALTER TABLE a ADD COLUMN v int;"}
	start := time.Now()
	report := r.migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeInterrupted)
	assert.Equal(t, database.ExitCode(report), reconciler.ExitTemporary)
	assert.Equal(t, report.SQLState, "55P03")
	assert.Equal(t, report.Line, int32(2))
	assert.Equal(t, report.Message, "canceling statement due to lock timeout: a lock was not free within 300ms; find the long transaction in pg_stat_activity, or raise guard.lockTimeout")
	assert.Assert(t, time.Since(start) < 5*time.Second)
	assert.Equal(t, r.state(t), clean(1))
	assert.Assert(t, !has(t, r.Connect(t), "b"))

	assert.NilError(t, tx.Rollback(t.Context()))
	assert.Equal(t, r.migrate(t, f).Outcome, database.OutcomeSucceeded)
}

func TestAStatementThatRunsTooLongIsTerminal(t *testing.T) {
	r := newRunner(t)
	r.options.StatementTimeout = 200 * time.Millisecond
	report := r.migrate(t, files{"1_a.up.sql": "CREATE TABLE a ();\nSELECT pg_sleep(60);"})
	assert.Equal(t, report.Outcome, database.OutcomeFailed)
	assert.Equal(t, report.Line, int32(2))
	assert.Equal(t, report.Message, "canceling statement due to statement timeout: a statement ran longer than 200ms; raise guard.statementTimeout or do less in one statement")
	assert.Equal(t, r.state(t), reconciler.SchemaState{})
}

func TestACancelledOrTerminatedBackendIsTransient(t *testing.T) {
	for name, function := range map[string]string{
		"somebody cancels the statement":  "pg_cancel_backend",
		"somebody terminates the backend": "pg_terminate_backend",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t)
			conn := r.Connect(t)
			done := make(chan reconciler.MigrationReport)
			go func() {
				done <- r.migrateContext(t.Context(), t, files{"1_a.up.sql": "CREATE TABLE a ();SELECT pg_sleep(60)"})
			}()
			awaitSleeper(t, conn)
			exec(t, conn, "SELECT "+function+"(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lockstep-migrate'")
			report := <-done
			assert.Equal(t, report.Outcome, database.OutcomeInterrupted, report.Message)
			assert.Equal(t, r.state(t), reconciler.SchemaState{})
			assert.Assert(t, !has(t, conn, "a"))
		})
	}
}

// awaitSleeper waits until a migration of the database is asleep in its file.
func awaitSleeper(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if scalar[int](t, conn, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lockstep-migrate' AND wait_event = 'PgSleep'") == 1 {
			return poll.Success()
		}
		return poll.Continue("no migration sleeps yet")
	}, poll.WithDelay(10*time.Millisecond), poll.WithTimeout(10*time.Second))
}

func TestTheEndOfTheContextCancelsTheStatement(t *testing.T) {
	// J12: a Pod that is told to go leaves nothing half done, and soon.
	for name, sql := range map[string]string{
		"in a transaction":      "CREATE TABLE a (); SELECT pg_sleep(60)",
		"outside a transaction": "CREATE INDEX CONCURRENTLY i ON slow (nap(id))",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t)
			conn := r.Connect(t)
			before := files{"1_slow.up.sql": `CREATE TABLE slow AS SELECT 1 AS id;
				CREATE FUNCTION nap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN $1; END $$`}
			assert.Equal(t, r.migrate(t, before).Outcome, database.OutcomeSucceeded)
			before["2_a.up.sql"] = sql
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan reconciler.MigrationReport)
			go func() { done <- r.migrateContext(ctx, t, before) }()
			awaitSleeper(t, conn)
			cancel()
			start := time.Now()
			report := <-done
			assert.Assert(t, time.Since(start) < 5*time.Second)
			if name == "in a transaction" {
				assert.Equal(t, report.Outcome, database.OutcomeInterrupted)
				assert.Assert(t, strings.HasPrefix(report.Message, "stopped while the file ran: "), report.Message)
				assert.Equal(t, r.state(t), clean(1))
				return
			}
			assert.Equal(t, report.Outcome, database.OutcomeFailed)
			assert.Assert(t, report.Dirty)
			assert.Assert(t, strings.HasSuffix(report.Message, "not valid, to be dropped first: index public.i"), report.Message)
			assert.Equal(t, r.state(t), dirty(2))
		})
	}
}

func TestAContextThatHasEndedStartsNothing(t *testing.T) {
	r := newRunner(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report := r.migrateContext(ctx, t, files{"1_a.up.sql": "CREATE TABLE a ()"})
	assert.Equal(t, report.Outcome, database.OutcomeInterrupted, report.Message)
	assert.Assert(t, !has(t, r.Connect(t), "a"))
}

// stopper ends a context with the first file that was applied.
type stopper struct {
	slog.Handler
	stop func()
}

func (s stopper) Handle(ctx context.Context, record slog.Record) error {
	if record.Message == "applied" {
		s.stop()
	}
	return s.Handler.Handle(ctx, record)
}

func TestTheEndOfTheContextStopsBetweenFiles(t *testing.T) {
	r := newRunner(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.options.Log = slog.New(stopper{slog.NewTextHandler(r.log, nil), cancel})
	report := r.migrateContext(ctx, t, files{"1_a.up.sql": "CREATE TABLE a ()", "2_b.up.sql": "CREATE TABLE b ()"})
	assert.Equal(t, report.Outcome, database.OutcomeInterrupted)
	assert.Equal(t, report.VersionAfter, "1")
	assert.Equal(t, len(report.Applied), 1)
	assert.Equal(t, r.state(t), clean(1))
	assert.Assert(t, !has(t, r.Connect(t), "b"))
}

func TestWhatCannotRunInATransaction(t *testing.T) {
	// D10.
	r := newRunner(t)
	f := files{
		"1_a.up.sql": "CREATE TABLE a (id int); INSERT INTO a VALUES (1), (1);",
		"2_p.up.sql": "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO a VALUES (2); COMMIT; INSERT INTO a VALUES (3); COMMIT; END $$",
		"3_c.up.sql": "CALL p()",
		"4_v.up.sql": "VACUUM a",
	}
	report := r.migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
	conn := r.Connect(t)
	assert.Equal(t, scalar[int](t, conn, "SELECT count(*) FROM a"), 4)

	t.Run("an index that failed and left itself behind is dirty", func(t *testing.T) {
		f["5_i.up.sql"] = "CREATE UNIQUE INDEX CONCURRENTLY a_id ON a (id)"
		report := r.migrate(t, f)
		assert.Equal(t, report.Outcome, database.OutcomeFailed)
		assert.Assert(t, report.Dirty)
		assert.Equal(t, report.VersionAfter, "5")
		assert.Equal(t, report.Message, `could not create unique index "a_id"; not valid, to be dropped first: index public.a_id`)

		again := r.migrate(t, f)
		assert.Equal(t, again.Outcome, database.OutcomeFailed)
		assert.Assert(t, again.Dirty)
		assert.Assert(t, strings.HasSuffix(again.Message, "version 5 is marked dirty: a migration stopped half-way; compare the schema with 5_i.up.sql, then either finish it by hand and run `migrate force 5`, or undo it by hand and force the version before; not valid, to be dropped first: index public.a_id"), again.Message)
		exec(t, conn, "DROP INDEX a_id; UPDATE schema_migrations SET version = 4, dirty = false")
	})
	t.Run("an index that failed without a trace is not dirty", func(t *testing.T) {
		f["5_i.up.sql"] = "\nCREATE INDEX CONCURRENTLY a_id ON a (nothing)"
		report := r.migrate(t, f)
		assert.Equal(t, report.Outcome, database.OutcomeFailed)
		assert.Equal(t, report.SQLState, "42703")
		assert.Equal(t, report.Line, int32(2))
		assert.Assert(t, !report.Dirty)
		assert.Equal(t, r.state(t), clean(4))
	})
	t.Run("a procedure that commits on its own and fails is dirty", func(t *testing.T) {
		f["5_i.up.sql"] = "DO $$ BEGIN INSERT INTO a VALUES (9); COMMIT; RAISE 'no'; END $$"
		report := r.migrate(t, f)
		assert.Equal(t, report.Outcome, database.OutcomeFailed)
		assert.Equal(t, report.Message, "no; what it did before is not undone")
		assert.Equal(t, r.state(t), dirty(5))
	})
	t.Run("a commit in a block beside another statement leaves nothing", func(t *testing.T) {
		exec(t, conn, "UPDATE schema_migrations SET version = 4, dirty = false")
		f["5_i.up.sql"] = "CREATE TABLE b ();DO $$ BEGIN COMMIT; END $$"
		report := r.migrate(t, f)
		assert.Equal(t, report.Outcome, database.OutcomeFailed)
		assert.Equal(t, report.SQLState, "2D000")
		assert.Equal(t, r.state(t), clean(4))
		assert.Assert(t, !has(t, conn, "b"))
	})
}

func TestAConcurrentIndexIsPatient(t *testing.T) {
	// It waits for an older transaction for longer than the lock timeout.
	r := newRunner(t)
	f := files{"1_a.up.sql": "CREATE TABLE a (id int)"}
	assert.Equal(t, r.migrate(t, f).Outcome, database.OutcomeSucceeded)
	writer := r.Connect(t)
	tx, err := writer.Begin(t.Context())
	assert.NilError(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO a VALUES (1)")
	assert.NilError(t, err)
	f["2_i.up.sql"] = "CREATE INDEX CONCURRENTLY a_id ON a (id)"
	done := make(chan reconciler.MigrationReport)
	go func() { done <- r.migrateContext(t.Context(), t, f) }()
	watcher := r.Connect(t)
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if scalar[bool](t, watcher, "SELECT coalesce(max(now() - query_start) > '600 ms', false) FROM pg_stat_activity WHERE application_name = 'lockstep-migrate' AND datname = current_database() AND wait_event_type = 'Lock'") {
			return poll.Success()
		}
		return poll.Continue("it has not waited long enough")
	}, poll.WithDelay(20*time.Millisecond), poll.WithTimeout(10*time.Second))
	assert.NilError(t, tx.Commit(t.Context()))
	report := <-done
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
}

func TestAFileDoesNotChangeTheSessionOfTheNext(t *testing.T) {
	r := newRunner(t)
	admin := r.Connect(t)
	exec(t, admin, "CREATE ROLE other_"+r.User+"; GRANT other_"+r.User+" TO "+r.User)
	report := r.migrate(t, files{
		"1_set.up.sql":  "CREATE SCHEMA aside; SET search_path = aside; SET lock_timeout = 0; SET client_connection_check_interval = 0; CREATE TEMP TABLE t ()",
		"2_role.up.sql": "SET ROLE other_" + r.User,
		"3_seen.up.sql": `CREATE TABLE seen AS SELECT current_setting('search_path') AS path, current_setting('lock_timeout') AS wait,
			current_setting('client_connection_check_interval') AS watch, current_user::text AS role, to_regclass('pg_temp.t') IS NULL AS gone, current_setting('application_name') AS name`,
	})
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
	var path, wait, watch, role, name string
	var gone bool
	assert.NilError(t, admin.QueryRow(t.Context(), "SELECT path, wait, watch, role, gone, name FROM public.seen").Scan(&path, &wait, &watch, &role, &gone, &name))
	assert.DeepEqual(t, []any{path, wait, watch, role, gone, name}, []any{`"$user", public`, "300ms", "2s", r.User, true, "lockstep-migrate"})
}
