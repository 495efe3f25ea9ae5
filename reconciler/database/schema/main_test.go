package schema_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/database/schema"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

var shared postgres.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

func database(t testing.TB) (postgres.Database, *pgx.Conn) {
	t.Helper()
	d := shared.Server(t).Database(t)
	return d, d.Connect(t)
}

func execute(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	assert.NilError(t, err)
}

func read(t testing.TB, q schema.Querier, options schema.Options) schema.Snapshot {
	t.Helper()
	snapshot, err := schema.Read(t.Context(), q, options)
	assert.NilError(t, err)
	return snapshot
}

func digest(t testing.TB, snapshot schema.Snapshot) string {
	t.Helper()
	sum, err := snapshot.Digest()
	assert.NilError(t, err)
	assert.Equal(t, len(sum), 64)
	return sum
}

// texts are the differences as sentences.
func texts(differences []schema.Difference) []string {
	out := []string{}
	for _, difference := range differences {
		out = append(out, difference.String())
	}
	return out
}
