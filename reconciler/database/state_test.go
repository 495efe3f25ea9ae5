package database_test

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
)

func TestStateReadsWhatTheTableClaims(t *testing.T) {
	const table = "CREATE TABLE public.schema_migrations (version bigint not null primary key, dirty boolean not null); "
	for name, test := range map[string]struct {
		setup string
		want  reconciler.SchemaState
		err   string
	}{
		"no table":                           {"SELECT 1", reconciler.SchemaState{}, ""},
		"an empty table":                     {table, reconciler.SchemaState{}, ""},
		"a version":                          {table + "INSERT INTO schema_migrations VALUES (20261125120000, false)", clean(20261125120000), ""},
		"a dirty version":                    {table + "INSERT INTO schema_migrations VALUES (7, true)", dirty(7), ""},
		"a way down that stopped at nothing": {table + "INSERT INTO schema_migrations VALUES (-1, true)", dirty(0), ""},
		"a version in four bytes":            {"CREATE TABLE schema_migrations (version int, dirty bool); INSERT INTO schema_migrations VALUES (7, false)", clean(7), ""},
		"a table of another schema":          {"CREATE SCHEMA other; CREATE TABLE other.schema_migrations (id int)", reconciler.SchemaState{}, ""},
		"the table of Rails":                 {"CREATE TABLE schema_migrations (version varchar PRIMARY KEY)", reconciler.SchemaState{}, "public.schema_migrations is the version table of Rails, not of golang-migrate"},
		"no schema at all":                   {"ALTER ROLE CURRENT_USER SET search_path = nowhere; DROP SCHEMA public", reconciler.SchemaState{}, "the search_path of the role names no schema that exists"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t)
			conn := r.Connect(t)
			exec(t, conn, "GRANT ALL ON DATABASE "+r.Name+" TO "+r.User+"; ALTER SCHEMA public OWNER TO "+r.User+"; SET SESSION AUTHORIZATION "+r.User)
			exec(t, conn, test.setup)
			state, err := database.State(t.Context(), r.Secret(), "")
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				assert.Assert(t, reconciler.IsTerminal(err))
				return
			}
			assert.NilError(t, err)
			assert.Equal(t, state, test.want)
		})
	}
}
