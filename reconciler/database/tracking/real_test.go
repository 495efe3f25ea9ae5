package tracking_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/database/tracking"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

func TestRealGolangMigrate(t *testing.T) {
	d, conn := database(t)
	up := func(content string) error {
		t.Helper()
		files := fstest.MapFS{"1_a.up.sql": {Data: []byte("CREATE TABLE a (id bigint)")}, "2_b.up.sql": {Data: []byte(content)}}
		source, err := iofs.New(files, ".")
		assert.NilError(t, err)
		m, err := migrate.NewWithSourceInstance("iofs", source, address(d, "pgx5"))
		assert.NilError(t, err)
		defer func() {
			sourceErr, databaseErr := m.Close()
			assert.NilError(t, sourceErr)
			assert.NilError(t, databaseErr)
		}()
		return m.Up()
	}
	place := tracking.State{Tool: tracking.GolangMigrate, Schema: "public", Table: "schema_migrations"}
	assert.DeepEqual(t, read(t, conn, tracking.Options{Tool: tracking.GolangMigrate}), tracking.State{Status: tracking.Absent, Tool: tracking.GolangMigrate})

	assert.ErrorContains(t, up("SELECT nothing"), "nothing")
	dirty := place
	dirty.Status, dirty.Versions, dirty.Unfinished = tracking.Dirty, []string{"2"}, "2"
	dirty.Detail = "version 2 began and did not end: it is running, or it was killed; look at the schema before you force a version"
	assert.DeepEqual(t, read(t, conn, tracking.Options{Tool: tracking.GolangMigrate}), dirty)

	execute(t, conn, "UPDATE schema_migrations SET version = 1, dirty = false")
	assert.NilError(t, up("CREATE TABLE b (id bigint)"))
	done := place
	done.Status, done.Versions = tracking.At, []string{"2"}
	assert.DeepEqual(t, read(t, conn, tracking.Options{Tool: tracking.GolangMigrate}), done)
}

// python is the interpreter that Debian's packages are for.
const python = "/usr/bin/python3"

// alembic runs the real Alembic and returns whether it was content.
func alembic(t *testing.T, d postgres.Database, arguments ...string) error {
	t.Helper()
	script, err := filepath.Abs("testdata/alembic")
	assert.NilError(t, err)
	config := filepath.Join(t.TempDir(), "alembic.ini")
	assert.NilError(t, os.WriteFile(config, []byte("[alembic]\nscript_location = "+script+"\nsqlalchemy.url = "+address(d, "postgresql+psycopg2")+"\n"), 0o600))
	command := exec.CommandContext(t.Context(), python, append([]string{"-B", "-m", "alembic", "-c", config}, arguments...)...)
	output, err := command.CombinedOutput()
	t.Logf("%s", output)
	return err
}

func TestRealAlembic(t *testing.T) {
	if err := exec.CommandContext(t.Context(), python, "-c", "import alembic, psycopg2").Run(); err != nil {
		t.Skip("reason: no Alembic: apt-get install python3-alembic python3-psycopg2")
	}
	d, conn := database(t)
	look := func() tracking.State { return read(t, conn, tracking.Options{Tool: tracking.Alembic}) }
	assert.Equal(t, look().Status, tracking.Absent)

	assert.NilError(t, alembic(t, d, "upgrade", "tenant_support_001"))
	assert.DeepEqual(t, look(), tracking.State{
		Status: tracking.At, Tool: tracking.Alembic, Schema: "public", Table: "alembic_version", Versions: []string{"tenant_support_001"},
	})
	// A failed revision goes, and its row with it.
	assert.Assert(t, alembic(t, d, "upgrade", "broken") != nil)
	assert.Equal(t, look().Version(), "tenant_support_001")

	assert.NilError(t, alembic(t, d, "upgrade", "other_branch"))
	heads := look()
	assert.Equal(t, heads.Status, tracking.SeveralHeads)
	assert.DeepEqual(t, heads.Versions, []string{"other_branch", "tenant_support_001"})

	assert.NilError(t, alembic(t, d, "downgrade", "base"))
	assert.Equal(t, look().Status, tracking.Empty)
	// A stamp looks at nothing: the claim is there, the tables are not.
	assert.NilError(t, alembic(t, d, "stamp", "tenant_support_001"))
	assert.Equal(t, look().Version(), "tenant_support_001")
}
