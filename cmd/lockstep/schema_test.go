package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"

	"github.com/lockstep-gitops/lockstep/test/postgres"
)

// folderOf writes the data of a Secret into files.
func folderOf(t *testing.T, secret map[string][]byte) string {
	t.Helper()
	folder := t.TempDir()
	for name, value := range secret {
		assert.NilError(t, os.WriteFile(filepath.Join(folder, name), value, 0o600))
	}
	return folder
}

// TestSchema reads a real database: what it claims, what is there, what was not
// finished, and what has changed since.
func TestSchema(t *testing.T) {
	db := postgres.Start(t).Database(t)
	code, _, stderr := migrate(t, db.Secret(), "CREATE TABLE users (id int PRIMARY KEY, name text); CREATE INDEX users_name ON users (name);")
	assert.Equal(t, code, 0, stderr)
	folder := folderOf(t, db.Secret())

	code, stdout, stderr := run(t, "schema", "--credentials", folder)
	assert.Equal(t, code, 0, stderr)
	assert.Check(t, cmp.Contains(stdout, "golang-migrate, table public.schema_migrations: at 1\n"))
	assert.Check(t, cmp.Contains(stdout, "     1  table\n"), stdout)

	code, before, stderr := run(t, "schema", "--credentials", folder, "-o", "json")
	assert.Equal(t, code, 0, stderr)
	expected := filepath.Join(t.TempDir(), "before.json")
	assert.NilError(t, os.WriteFile(expected, []byte(before), 0o600))
	code, stdout, stderr = run(t, "schema", "--credentials", folder, "--expect", expected)
	assert.Equal(t, code, 0, stderr)
	assert.Equal(t, stdout, "0 differences.\n")

	_, err := db.Connect(t).Exec(t.Context(), "ALTER TABLE users ADD COLUMN tenant_id text")
	assert.NilError(t, err)
	code, stdout, _ = run(t, "schema", "--credentials", folder, "--expect", expected)
	assert.Equal(t, code, 2)
	assert.Check(t, cmp.Contains(stdout, "column users.tenant_id is here, but not expected\n"))
	assert.Check(t, strings.HasSuffix(stdout, "1 differences.\n"), stdout)
}

func TestSchemaSaysWhatIsWrong(t *testing.T) {
	wrong := map[string][]byte{"host": []byte("127.0.0.1"), "port": []byte("1"), "user": []byte("u"), "password": []byte("canary-hunter2"), "dbname": []byte("d"), "sslmode": []byte("disable")}
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"nothing named":        {nil, "name a Release with --release, or a folder with --credentials"},
		"both named":           {[]string{"--release", "r", "--credentials", "f"}, "name a Release with --release, or a folder"},
		"no such folder":       {[]string{"--credentials", "/nonexistent"}, "--credentials /nonexistent: "},
		"a server that is not": {[]string{"--credentials", folderOf(t, wrong)}, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, append([]string{"schema"}, test.args...)...)
			assert.Equal(t, code, 1)
			assert.Equal(t, stdout, "")
			assert.Check(t, cmp.Contains(stderr, test.says))
			assert.Check(t, !strings.Contains(stderr, "canary"))
		})
	}
}
