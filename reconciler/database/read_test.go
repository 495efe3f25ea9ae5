package database_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
)

func TestReadTakesWhatGolangMigrateTakes(t *testing.T) {
	f := files{
		"000010_ten.up.sql": "SELECT 10", "9_nine.up.sql": "SELECT 9", "9_nine.down.sql": "COMMIT", "11_a.b_c.up.sql": "SELECT 11",
		"README.md": "not a migration", "embed.go": "package migrations",
	}
	tree := f.tree()
	tree["migrations/older/1_x.sql"] = &fstest.MapFile{Data: []byte("not looked at")}
	set, err := database.Adapter{}.Read(tree, "./migrations/")
	assert.NilError(t, err)
	assert.DeepEqual(t, set.Versions, []uint64{9, 10, 11})
	assert.Equal(t, set.Latest(), uint64(11))
	assert.Equal(t, len(set.Digest), 64)

	t.Run("the same files make the same bytes", func(t *testing.T) {
		again, err := database.Read(f.tree(), "migrations")
		assert.NilError(t, err)
		assert.DeepEqual(t, again, set)
	})
	t.Run("what is no migration does not count", func(t *testing.T) {
		f["README.md"] = "changed"
		again, err := database.Read(f.tree(), "migrations")
		assert.NilError(t, err)
		assert.Equal(t, again.Digest, set.Digest)
	})
	t.Run("a change, a new name and another split have another digest", func(t *testing.T) {
		seen := map[string]bool{set.Digest: true}
		for _, other := range []files{{"9_n.up.sql": "SELECT 9"}, {"9_n.up.sql": "SELECT 8"}, {"9_m.up.sql": "SELECT 9"}, {"9_n.up.sql": "SELECT 9", "10_m.up.sql": ""}} {
			again, err := database.Read(other.tree(), "migrations")
			assert.NilError(t, err)
			assert.Assert(t, !seen[again.Digest])
			seen[again.Digest] = true
		}
	})
}

func TestReadRefuses(t *testing.T) {
	good := "SELECT 1"
	for name, test := range map[string]struct {
		files   files
		message string
	}{
		"a file that golang-migrate passes over": {
			files{"1_a.up.sql": good, "seed.sql": good}, "migrations/seed.sql: golang-migrate would pass over it in silence: name it N_title.up.sql or N_title.down.sql, or move it elsewhere",
		},
		"a name of Flyway": {
			files{"1_a.up.sql": good, "V2__b.SQL": good}, "migrations/V2__b.SQL: golang-migrate would pass over it in silence: name it N_title.up.sql or N_title.down.sql, or move it elsewhere",
		},
		"a leftover of an editor that golang-migrate would run": {
			files{"1_a.up.sql": good, "2_b.up.sql.bak": good}, "migrations/2_b.up.sql.bak: golang-migrate would run it as a migration: let its name end in .sql, or move it elsewhere",
		},
		"a version twice": {
			files{"1_a.up.sql": good, "01_b.up.sql": good}, "migrations/1_a.up.sql: version 1 is already that of 01_b.up.sql: give one of them another number",
		},
		"a version that goes only down": {
			files{"1_a.up.sql": good, "2_b.down.sql": good}, "migrations/2_b.down.sql: version 2 has no file that goes up: add it, or remove this one",
		},
		"a version that the table cannot hold": {
			files{"9223372036854775808_a.up.sql": good}, "migrations/9223372036854775808_a.up.sql: version 9223372036854775808 is over 9223372036854775807, the largest that the version table can hold",
		},
		"a version that is no number of 64 bits": {
			files{"99999999999999999999_a.up.sql": good}, "migrations/99999999999999999999_a.up.sql: golang-migrate would pass over it in silence: name it N_title.up.sql or N_title.down.sql, or move it elsewhere",
		},
		"an empty folder":        {files{}, "folder migrations holds no migrations: add files named N_title.up.sql, or take migrations out of the Release"},
		"a pointer of git-lfs":   {files{"1_a.up.sql": "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"}, "migrations/1_a.up.sql: it is a pointer of git-lfs: take the folder out of git-lfs"},
		"a byte order mark":      {files{"1_a.up.sql": "\xef\xbb\xbfSELECT 1"}, "migrations/1_a.up.sql: it begins with a byte order mark, which PostgreSQL refuses: save it without"},
		"a file in UTF-16":       {files{"1_a.up.sql": "S\x00E\x00"}, "migrations/1_a.up.sql: it is no UTF-8 text: save it as such"},
		"a file in Latin-1":      {files{"1_a.up.sql": "-- \xe4"}, "migrations/1_a.up.sql: it is no UTF-8 text: save it as such"},
		"a file that is too big": {files{"1_a.up.sql": strings.Repeat("-", 4<<20+1)}, "migrations/1_a.up.sql: it is over 4 MiB: move data out of the migrations"},
		"a backslash in a name":  {files{`1_a\b.up.sql`: good}, `migrations/1_a\b.up.sql: its name holds a backslash or a control character: rename it`},
		"a transaction of its own": {
			files{"1_a.up.sql": "-- first\nBEGIN;\nSELECT 1;\nCOMMIT;"},
			"migrations/1_a.up.sql: line 2: BEGIN: a file runs in one transaction that is opened and closed for it: take the statement out\n" +
				"line 4: COMMIT: a file runs in one transaction that is opened and closed for it: take the statement out",
		},
		"a rollback": {files{"1_a.up.sql": "SELECT 1; rollback"}, "migrations/1_a.up.sql: line 1: ROLLBACK: a file runs in one transaction that is opened and closed for it: take the statement out"},
		"an index built concurrently beside another statement (D10)": {
			files{"1_a.up.sql": "SET lock_timeout = '1s';\nCREATE INDEX CONCURRENTLY i ON a (b);"},
			"migrations/1_a.up.sql: line 2: CREATE … CONCURRENTLY cannot run in a transaction, and beside other statements there always is one: put it into a file of its own",
		},
		"a vacuum beside another statement": {
			files{"1_a.up.sql": "SELECT 1; VACUUM a"},
			"migrations/1_a.up.sql: line 1: VACUUM A cannot run in a transaction, and beside other statements there always is one: put it into a file of its own",
		},
		"a command of psql": {files{"1_a.up.sql": "SELECT 1;\n\\restrict abc\n"}, "migrations/1_a.up.sql: line 2: commands of psql that begin with a backslash do not work in a migration: take them out"},
		"data for COPY":     {files{"1_a.up.sql": "COPY a (b) FROM stdin;\n1\n"}, "migrations/1_a.up.sql: line 1: COPY FROM STDIN has no input in a migration: use INSERT"},
		"an open quote":     {files{"1_a.up.sql": "SELECT\n'a;\n"}, "migrations/1_a.up.sql: line 2: a quote is not closed"},
		"everything at once": {
			files{"1_a.up.sql": "BEGIN", "seed.sql": ""},
			"migrations/1_a.up.sql: line 1: BEGIN: a file runs in one transaction that is opened and closed for it: take the statement out\n" +
				"migrations/seed.sql: golang-migrate would pass over it in silence: name it N_title.up.sql or N_title.down.sql, or move it elsewhere",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := database.Read(test.files.tree(), "migrations")
			assert.Error(t, err, test.message)
			assert.Assert(t, reconciler.IsTerminal(err))
			assert.Equal(t, reconciler.ReasonOf(err, ""), "MigrationsInvalid")
		})
	}
}

func TestReadRefusesWhatIsNoFolderOfFiles(t *testing.T) {
	tree := files{"1_a.up.sql": "SELECT 1"}.tree()
	tree["migrations/2_b.up.sql"] = &fstest.MapFile{Data: []byte("../../etc/passwd"), Mode: fs.ModeSymlink}
	for path, message := range map[string]string{
		"nowhere":               "folder nowhere is not in this commit: correct spec.databases[].migrations.path or add it",
		"migrations/1_a.up.sql": "migrations/1_a.up.sql is no folder: correct spec.databases[].migrations.path",
		"../migrations":         "folder ../migrations: stat ../migrations: invalid argument",
		"migrations":            "migrations/2_b.up.sql: it is a link or something else that is no file: put the file itself there",
	} {
		_, err := database.Read(tree, path)
		if path == "../migrations" && err != nil && strings.Contains(err.Error(), "is not in this commit") {
			message = "folder ../migrations is not in this commit: correct spec.databases[].migrations.path or add it"
		}
		assert.Error(t, err, message)
		assert.Assert(t, reconciler.IsTerminal(err))
	}
}

func TestReadRefusesAFolderThatIsTooBig(t *testing.T) {
	f := files{}
	for _, name := range []string{"1", "2", "3", "4", "5"} {
		f[name+"_a.up.sql"] = "-- " + strings.Repeat("x", 4<<20-10)
	}
	_, err := database.Read(f.tree(), "migrations")
	assert.Error(t, err, "folder migrations holds more than 16 MiB of SQL: move data out of the migrations")
}

// brokenTree cannot read its files.
type brokenTree struct{ fstest.MapFS }

func (t brokenTree) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".sql") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("object not found")}
	}
	return t.MapFS.Open(name)
}

func TestAStoreThatFailsIsNoVerdict(t *testing.T) {
	_, err := database.Read(brokenTree{files{"1_a.up.sql": "SELECT 1"}.tree()}, "migrations")
	assert.ErrorContains(t, err, "migrations/1_a.up.sql: open migrations/1_a.up.sql: object not found")
	assert.Assert(t, !reconciler.IsTerminal(err))
}

func TestTheMigrationsOfThisRepository(t *testing.T) {
	f := files{}
	entries, err := os.ReadDir("../../migrations")
	assert.NilError(t, err)
	for _, entry := range entries {
		content, err := os.ReadFile("../../migrations/" + entry.Name())
		assert.NilError(t, err)
		f[entry.Name()] = string(content)
	}
	report := newRunner(t).migrate(t, f)
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)
}

func TestAnArchiveIsPutTogether(t *testing.T) {
	archive := files{"1_a.up.sql": "SELECT 1"}.archive(t)
	mounted := fstest.MapFS{
		"..data/archive.000": {Data: archive[:10]}, "archive.000": {Data: archive[:10]}, "archive.001": {Data: archive[10:20]}, "archive.002": {Data: archive[20:]},
	}
	whole, err := database.ArchiveFromDir(mounted)
	assert.NilError(t, err)
	assert.DeepEqual(t, whole, archive)

	delete(mounted, "archive.001")
	_, err = database.ArchiveFromDir(mounted)
	assert.Error(t, err, "archive of the migrations: file archive.001 is missing")
	_, err = database.ArchiveFromDir(fstest.MapFS{})
	assert.Error(t, err, "archive of the migrations: no file archive.000")
	assert.Assert(t, reconciler.IsTerminal(err))
}

func TestASecretIsReadFromItsFolder(t *testing.T) {
	// As a kubelet mounts it: files are links to links.
	dir := t.TempDir()
	assert.NilError(t, os.Mkdir(dir+"/..2026", 0o755))
	assert.NilError(t, os.WriteFile(dir+"/..2026/password", []byte(" p%w\n"), 0o600))
	assert.NilError(t, os.WriteFile(dir+"/..2026/host", []byte("db\n"), 0o600))
	assert.NilError(t, os.Symlink("..2026", dir+"/..data"))
	assert.NilError(t, os.Symlink("..data/password", dir+"/password"))
	assert.NilError(t, os.Symlink("..data/host", dir+"/host"))
	secret, err := database.SecretFromDir(os.DirFS(dir))
	assert.NilError(t, err)
	assert.Equal(t, len(secret), 2)
	assert.Equal(t, string(secret["password"]), " p%w\n")
	assert.Equal(t, string(secret["host"]), "db\n")

	_, err = database.SecretFromDir(os.DirFS(dir + "/nowhere"))
	assert.ErrorContains(t, err, "folder of the credentials")
}
