package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
)

func migrationsOf(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, sql := range files {
		assert.NilError(t, os.WriteFile(filepath.Join(folder, name), []byte(sql), 0o600))
	}
	return folder
}

func TestLintOfMigrations(t *testing.T) {
	folder := migrationsOf(t, map[string]string{
		"000001_first.up.sql":  "CREATE TABLE users (id int PRIMARY KEY, name text);\n",
		"000002_second.up.sql": "\nCREATE INDEX users_name ON users (name);\n",
		"000003_third.up.sql":  "ALTER TABLE users DROP COLUMN name;\n",
	})
	code, stdout, stderr := run(t, "lint", folder)
	assert.Equal(t, code, 0, stderr)
	assert.Check(t, strings.Contains(stdout, "0 block"), stdout)

	code, stdout, stderr = run(t, "lint", folder, "--applied", "1")
	assert.Equal(t, code, 2, stderr)
	assert.Equal(t, stderr, "")
	assert.Check(t, cmp.Contains(stdout, "000002_second.up.sql:2: block create-index: "))
	assert.Check(t, cmp.Contains(stdout, "CONCURRENTLY"))
	assert.Check(t, cmp.Contains(stdout, "breaks running code: "))

	code, stdout, _ = run(t, "lint", folder, "--applied", "1", "-o", "json")
	assert.Equal(t, code, 2)
	assert.Check(t, cmp.Contains(stdout, `"rule": "create-index"`))
}

func TestLintSaysWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct{ folder, says string }{
		"no such folder": {"/nonexistent", "no such file"},
		"a file":         {filepath.Join(migrationsOf(t, map[string]string{"000001_a.up.sql": "SELECT 1;"}), "000001_a.up.sql"), "is a file: name the folder"},
		"no migrations":  {migrationsOf(t, map[string]string{"notes.sql": "SELECT 1;"}), "notes.sql"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, "lint", test.folder)
			assert.Equal(t, code, 1)
			assert.Equal(t, stdout, "")
			assert.Check(t, cmp.Contains(stderr, test.says))
		})
	}
}
