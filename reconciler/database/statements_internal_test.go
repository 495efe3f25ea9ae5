package database

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

func TestSplitStatements(t *testing.T) {
	for name, test := range map[string]struct {
		sql  string
		want []string
	}{
		"nothing":                            {"", nil},
		"only comments":                      {"-- a;\n/* b; */\n;;\n", nil},
		"the last needs no semicolon":        {"SELECT 1; select 2", []string{"1 SELECT", "1 SELECT"}},
		"lines are counted":                  {"\n\nSELECT\n'a\nb';\nDROP x", []string{"3 SELECT", "6 DROP X"}},
		"a semicolon in a string":            {"SELECT ';''; COMMIT;'; DROP x", []string{"1 SELECT", "1 DROP X"}},
		"a backslash in a string is nothing": {`SELECT '\'; COMMIT; --'`, []string{"1 SELECT", "1 COMMIT"}},
		"a backslash after an E escapes":     {`SELECT E'\'; COMMIT; --'; DROP x`, []string{"1 SELECT", "1 DROP X"}},
		"an E string goes on":                {"SELECT e'a'\n'\\'; COMMIT; '; DROP x", []string{"1 SELECT", "2 DROP X"}},
		"an E at the end of a name is none":  {`SELECT type'\'; COMMIT`, []string{"1 SELECT TYPE", "1 COMMIT"}},
		"a quoted name":                      {`SELECT "a;""b;"; DROP x`, []string{"1 SELECT", "1 DROP X"}},
		"dollar quotes":                      {"DO $$ BEGIN; END; $$; DROP x", []string{"1 DO", "1 DROP X"}},
		"dollar quotes with a tag":           {"DO $a1$ $$;\n$a1 $b$;$a1$; DROP x", []string{"1 DO", "2 DROP X"}},
		"a dollar in a name is no quote":     {"SELECT a$b$; DROP x; SELECT c$b$", []string{"1 SELECT A$B$", "1 DROP X", "1 SELECT C$B$"}},
		"a parameter is no quote":            {"SELECT $1; DROP x", []string{"1 SELECT", "1 DROP X"}},
		"comments nest":                      {"/* /* ; */ ; */ SELECT 1 -- ;\n; DROP x", []string{"1 SELECT", "2 DROP X"}},
		"a rule has two commands":            {"CREATE RULE r AS ON INSERT TO a DO ALSO (SELECT 1; SELECT 2); DROP x", []string{"1 CREATE RULE R AS ON INSERT TO A DO ALSO SELECT SELECT", "1 DROP X"}},
		"a body in standard SQL":             {"CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; COMMIT", []string{"1 CREATE OR REPLACE FUNCTION F RETURNS INT BEGIN ATOMIC SELECT CASE WHEN TRUE THEN END SELECT", "1 COMMIT"}},
		"a table with a column called begin": {"CREATE TABLE a (begin int, \"end\" int); COMMIT", []string{"1 CREATE TABLE A BEGIN INT INT", "1 COMMIT"}},
		"numbers are no words":               {"SELECT 1e5, 0x1F, 12abc; DROP x", []string{"1 SELECT", "1 DROP X"}},
		"letters beyond ASCII":               {"SELECT ärger; DROP x", []string{"1 SELECT ÄRGER", "1 DROP X"}},
	} {
		t.Run(name, func(t *testing.T) {
			statements, err := splitStatements(test.sql)
			assert.NilError(t, err)
			var got []string
			for _, s := range statements {
				got = append(got, strings.TrimSpace(string('0'+s.line)+" "+strings.Join(s.words, " ")))
			}
			assert.DeepEqual(t, got, test.want)
		})
	}
}

func TestSplitStatementsRefusesWhatIsNotClosed(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT 'a":          "line 1: a quote is not closed",
		"SELECT E'a\\'":      "line 1: a quote is not closed",
		"\nSELECT \"a":       "line 2: a quote is not closed",
		"SELECT 1;\n/* /**/": "line 2: a comment is not closed",
		"DO $x$ BEGIN $$":    "line 1: the quote $x$ is not closed",
	} {
		_, err := splitStatements(sql)
		assert.Error(t, err, want)
	}
}

func TestStatementsThatEndATransaction(t *testing.T) {
	for sql, want := range map[string]bool{
		"begin": true, "BEGIN ISOLATION LEVEL SERIALIZABLE": true, "START TRANSACTION": true, "COMMIT AND CHAIN": true, "END": true, "ABORT": true,
		"ROLLBACK": true, "ROLLBACK WORK": true, "PREPARE TRANSACTION 'a'": true, "/* a */ commit": true,
		"ROLLBACK TO SAVEPOINT a": false, "ROLLBACK WORK TO a": false, "SAVEPOINT a": false, "RELEASE a": false, "PREPARE p AS SELECT 1": false,
		"COMMENT ON TABLE a IS 'begin'": false, "SET TRANSACTION READ ONLY": false, `SELECT "commit"`: false,
	} {
		statements, err := splitStatements(sql)
		assert.NilError(t, err)
		assert.Equal(t, len(statements), 1)
		assert.Equal(t, statements[0].controlsTransaction(), want, sql)
	}
}

func TestStatementsThatNeedAFileOfTheirOwn(t *testing.T) {
	for sql, want := range map[string]bool{
		"CREATE INDEX CONCURRENTLY i ON a (b)": true, "create unique index concurrently if not exists i on a (b)": true, "DROP INDEX CONCURRENTLY i": true,
		"REINDEX (CONCURRENTLY) INDEX i": true, "REINDEX INDEX CONCURRENTLY i": true, "ALTER TABLE a DETACH PARTITION b CONCURRENTLY": true,
		"VACUUM": true, "CREATE DATABASE a": true, "DROP TABLESPACE a": true, "ALTER SYSTEM SET a = 1": true,
		"CREATE INDEX i ON a (b)": false, "REFRESH MATERIALIZED VIEW CONCURRENTLY v": false, "ALTER DATABASE a SET b = 1": false, "CREATE TABLE vacuum ()": false,
	} {
		statements, err := splitStatements(sql)
		assert.NilError(t, err)
		assert.Equal(t, statements[0].needsOwnFile(), want, sql)
	}
}

func FuzzSplitStatements(f *testing.F) {
	for _, seed := range []string{"SELECT 1; DROP x", "DO $a$ ; $a$", `E'\'';`, "/* /* */", "CREATE FUNCTION f() BEGIN ATOMIC END;", "$", "e'", "$é$"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		statements, err := splitStatements(sql)
		if err != nil {
			return
		}
		lines := int32(strings.Count(sql, "\n") + 1)
		for _, s := range statements {
			assert.Assert(t, s.line >= 1 && s.line <= lines)
			assert.Assert(t, len(s.words) <= maxWords)
		}
	})
}
