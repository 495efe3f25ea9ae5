package schema_test

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/database/schema"
)

// TestOlderServers sends what version 13 is sent to the server that is there:
// the columns that version 13 lacks are not named, and all queries are sound.
func TestOlderServers(t *testing.T) {
	d, conn := database(t)
	execute(t, conn, strings.ReplaceAll(sample, "ROLE", d.User)+"; SET search_path = pg_catalog")
	for what, sql := range schema.QueriesFor(130000) {
		t.Run(what, func(t *testing.T) {
			for _, newer := range []string{"attcompression", "inhdetachpending"} {
				assert.Assert(t, !strings.Contains(sql, newer))
			}
			rows, err := conn.Query(t.Context(), sql, []string{})
			assert.NilError(t, err)
			rows.Close()
			assert.NilError(t, rows.Err())
		})
	}
	assert.Assert(t, strings.Contains(schema.QueriesFor(140000)["columns"], "attcompression"))
	assert.Assert(t, strings.Contains(schema.QueriesFor(140000)["tables"], "inhdetachpending"))
}
