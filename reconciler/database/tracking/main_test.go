package tracking_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/database/tracking"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

var shared postgres.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

func database(t *testing.T) (postgres.Database, *pgx.Conn) {
	t.Helper()
	d := shared.Server(t).Database(t)
	return d, d.Connect(t)
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	assert.NilError(t, err)
}

func read(t *testing.T, q tracking.Querier, options tracking.Options) tracking.State {
	t.Helper()
	state, err := tracking.Read(t.Context(), q, options)
	assert.NilError(t, err)
	return state
}

func address(d postgres.Database, scheme string) string {
	return scheme + "://" + d.User + ":" + d.Password + "@" + d.Host + ":" + strconv.Itoa(int(d.Port)) + "/" + d.Name + "?sslmode=disable"
}
