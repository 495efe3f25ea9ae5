package database_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
)

func TestWhatIsRefusedBeforeAnythingRuns(t *testing.T) {
	one := files{"1_a.up.sql": "CREATE TABLE a ()", "3_c.up.sql": "CREATE TABLE c ()"}
	for name, test := range map[string]struct{ setup, message string }{
		"a database newer than the files (D5)": {
			"CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null); INSERT INTO schema_migrations VALUES (4, false)",
			"the database is at version 4, the newest file in this commit is 3: deliver a commit that has the file, the schema is never taken back by itself",
		},
		"a version that no file has": {
			"CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null); INSERT INTO schema_migrations VALUES (2, false)",
			"the database is at version 2, and this commit has newer files but not that one: deliver a commit that has it",
		},
		"a dirty database (D1)": {
			"CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null); INSERT INTO schema_migrations VALUES (1, true)",
			"version 1 is marked dirty: a migration stopped half-way; compare the schema with 1_a.up.sql, then either finish it by hand and run `migrate force 1`, or undo it by hand and force the version before",
		},
		"the version table of Rails": {
			"CREATE TABLE schema_migrations (version character varying NOT NULL PRIMARY KEY)",
			"public.schema_migrations is the version table of Rails, not of golang-migrate: give the migrations a schema of their own by the search_path of the role",
		},
		"a version table of nobody": {
			"CREATE TABLE schema_migrations (id int)",
			"public.schema_migrations has not the columns of golang-migrate, version bigint and dirty boolean: it belongs to something else; give the migrations a schema of their own by the search_path of the role",
		},
		"two rows": {
			"CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null); INSERT INTO schema_migrations VALUES (1, false), (2, false)",
			"public.schema_migrations has more than one row: golang-migrate keeps one; find out which is true and delete the others",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t)
			conn := r.Connect(t)
			exec(t, conn, test.setup+"; ALTER TABLE schema_migrations OWNER TO "+r.User)
			report := r.migrate(t, one)
			assert.Equal(t, report.Outcome, database.OutcomeFailed)
			assert.Assert(t, strings.HasSuffix(report.Message, test.message), report.Message)
			assert.Assert(t, !has(t, conn, "a"))
		})
	}
}

func TestAVersionTableInAnotherSchemaIsRefused(t *testing.T) {
	r := newRunner(t)
	f := files{"1_a.up.sql": "CREATE TABLE a ()"}
	assert.Equal(t, r.migrate(t, f).Outcome, database.OutcomeSucceeded)
	exec(t, r.Connect(t), "CREATE SCHEMA "+r.User+" AUTHORIZATION "+r.User)
	report := r.migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeFailed)
	assert.Assert(t, strings.HasSuffix(report.Message, "the version table is in schema public, but the current schema is "+r.User+
		", where everything would run again: set the search_path of the role so that public comes first"), report.Message)
	_, err := database.State(t.Context(), r.Secret(), "")
	assert.ErrorContains(t, err, "the version table is in schema public")
	assert.Assert(t, reconciler.IsTerminal(err))
}

func TestARoleThatMayNotMakeTables(t *testing.T) {
	r := newRunner(t)
	exec(t, r.Connect(t), "ALTER DATABASE "+r.Name+" OWNER TO postgres")
	report := r.migrate(t, files{"1_a.up.sql": "CREATE TABLE a ()"})
	assert.Equal(t, report.Outcome, database.OutcomeFailed)
	assert.Equal(t, report.SQLState, "42501")
	assert.Assert(t, strings.HasSuffix(report.Message, "permission denied for schema public (SQLSTATE 42501): let role "+r.User+" own the database, or GRANT it what is missing"), report.Message)
}

func TestAWrongArchiveIsTerminal(t *testing.T) {
	r := newRunner(t)
	report := database.Migrate(t.Context(), database.Options{Secret: r.Secret(), Archive: []byte("no archive")})
	assert.Equal(t, report.Outcome, database.OutcomeFailed)
	assert.Equal(t, report.Message, "archive of the migrations: zip: not a valid zip file")
}

func TestAReportFitsIntoATerminationMessage(t *testing.T) {
	f := files{}
	for i := range 150 {
		f[fmt.Sprintf("%06d_%s.up.sql", i, strings.Repeat("long", 10))] = "SELECT 1"
	}
	for name, test := range map[string]struct {
		letter string
		least  int
	}{"letters of two bytes": {"ü", 3000}, "signs that JSON escapes": {"<", 2000}} {
		t.Run(name, func(t *testing.T) {
			f["999_bad.up.sql"] = "DO $$ BEGIN RAISE '" + strings.Repeat(test.letter, 5000) + "'; END $$"
			report := newRunner(t).migrate(t, f)
			content, err := json.Marshal(report)
			assert.NilError(t, err)
			assert.Assert(t, len(content) > test.least && len(content) <= 4096, "%d bytes", len(content))
			assert.Assert(t, strings.HasSuffix(report.Message, test.letter+" …"))
			assert.Equal(t, report.VersionAfter, "149")
		})
	}
}
