package lint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/reconciler/lint"
)

// example is a case of testdata.
type example struct {
	Name string `json:"name"`
	// SQL is short for a single file.
	SQL     string       `json:"sql"`
	Files   []lint.File  `json:"files"`
	Options lint.Options `json:"options"`
	// Want are the rule and level of each finding, and `breaks` if it does.
	Want []string `json:"want"`
	// Locks are those of all findings, when given.
	Locks []string `json:"locks"`
	// Line, Message, Because, Allowed and Rewrite are those of the first
	// finding, when given; of Message a part, of Rewrite one of its steps.
	Line    int    `json:"line"`
	Message string `json:"message"`
	Because string `json:"because"`
	Allowed string `json:"allowed"`
	Rewrite string `json:"rewrite"`
}

func examples(t *testing.T) []example {
	t.Helper()
	out, err := examplesOf("testdata/*.yaml")
	assert.NilError(t, err)
	assert.Assert(t, len(out) > 100, "examples were not found")
	return out
}

func examplesOf(pattern string) ([]example, error) {
	files, err := filepath.Glob(pattern)
	var out []example
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var some []example
		if err := yaml.UnmarshalStrict(content, &some); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, some...)
	}
	return out, err
}

func (e example) check(t *testing.T) []lint.Finding {
	t.Helper()
	files := e.Files
	if e.SQL != "" {
		files = []lint.File{{Name: "1.sql", SQL: e.SQL}}
	}
	found, err := lint.Check(files, e.Options)
	assert.NilError(t, err)
	return found
}

func TestRules(t *testing.T) {
	for _, e := range examples(t) {
		t.Run(e.Name, func(t *testing.T) {
			found := e.check(t)
			got, locks := []string{}, []string{}
			for _, f := range found {
				line := f.Rule + " " + string(f.Level)
				if f.Breaking {
					line += " breaks"
				}
				got = append(got, line)
				for _, lock := range f.Locks {
					locks = append(locks, lock.Table+" "+string(lock.Mode))
				}
			}
			assert.DeepEqual(t, got, e.Want)
			if e.Locks != nil {
				assert.DeepEqual(t, locks, e.Locks)
			}
			e.checkFirst(t, found)
		})
	}
}

func (e example) checkFirst(t *testing.T, found []lint.Finding) {
	t.Helper()
	if len(found) == 0 {
		return
	}
	first := found[0]
	if e.Line != 0 {
		assert.Equal(t, first.Line, e.Line)
	}
	assert.Assert(t, cmp.Contains(first.Message, e.Message))
	if e.Because != "" {
		assert.Equal(t, first.Because, e.Because)
	}
	if e.Allowed != "" {
		assert.Equal(t, first.Allowed, e.Allowed)
	}
	if e.Rewrite != "" {
		assert.Assert(t, cmp.Contains(first.Rewrite, e.Rewrite))
	}
}

func TestFindingsAreWhole(t *testing.T) {
	levels := map[string]lint.Rule{}
	for _, rule := range lint.Rules() {
		assert.Assert(t, levels[rule.ID].ID == "", "rule %s is there twice", rule.ID)
		assert.Assert(t, strings.HasSuffix(rule.Summary, "."), rule.ID)
		levels[rule.ID] = rule
	}
	seen := map[string]bool{}
	for _, e := range examples(t) {
		for _, f := range e.check(t) {
			context := fmt.Sprintf("%s: %+v", e.Name, f)
			seen[f.Rule] = true
			assert.Assert(t, levels[f.Rule].ID != "", context)
			assert.Assert(t, f.Message != "" && strings.HasSuffix(f.Message, ".") && !strings.Contains(f.Message, "%!"), context)
			assert.Assert(t, f.File != "" && f.Line > 0, context)
			assert.Equal(t, f.Breaking, f.Breaks != "", context)
			assert.Assert(t, !strings.Contains(f.Breaks, "%!"), context)
			steps(t, f, context)
		}
	}
	// Two rules are about files that are not in testdata: see TestLimits.
	seen["too-deep"], seen["too-large"] = true, true
	for id := range levels {
		assert.Assert(t, seen[id], "no example finds %s", id)
	}
}

// steps checks that what is proposed is SQL.
func steps(t *testing.T, f lint.Finding, context string) {
	t.Helper()
	for _, step := range f.Rewrite {
		if strings.HasPrefix(step, "--") {
			continue
		}
		found, err := lint.Check([]lint.File{{Name: "step", SQL: step}}, lint.Options{})
		assert.NilError(t, err)
		for _, wrong := range found {
			assert.Assert(t, wrong.Rule != "syntax", "%s: %s: %s", context, step, wrong.Message)
		}
	}
}

func TestTolerated(t *testing.T) {
	_, err := lint.Check(nil, lint.Options{Tolerated: map[string]string{"drop-tabel": "x"}})
	assert.ErrorContains(t, err, `tolerated rule "drop-tabel": there is no such rule`)
	_, err = lint.Check(nil, lint.Options{Tolerated: map[string]string{"drop-table": " "}})
	assert.ErrorContains(t, err, "tolerated rule drop-table: give a reason")
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct{ sql, rule string }{
		"a deep expression is not given to the parser": {"SELECT 1" + strings.Repeat("+1", 3000), "too-deep"},
		"nor are deep parentheses":                     {"SELECT " + strings.Repeat("f(", 1001) + strings.Repeat(")", 1001), "too-deep"},
		"nor a file that is too large":                 {"SELECT 1;" + strings.Repeat(" ", 4<<20), "too-large"},
		"long lists are not deep":                      {"INSERT INTO t VALUES (1, 2)" + strings.Repeat(", (3, 4)", 5000), ""},
		"many statements are not deep":                 {strings.Repeat("INSERT INTO t VALUES (1, 2);\n", 5000), ""},
		"a large file may be below the limit":          {"SELECT '" + strings.Repeat("x", 1<<20) + "'", ""},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := lint.Check([]lint.File{{Name: "1.sql", SQL: c.sql}}, lint.Options{})
			assert.NilError(t, err)
			if c.rule == "" {
				assert.Equal(t, len(found), 0)
				return
			}
			assert.Equal(t, len(found), 1)
			assert.Equal(t, found[0].Rule, c.rule)
			assert.Equal(t, found[0].Level, lint.Warn)
		})
	}
}

// The parser crashes on what is deep enough. What the limit lets through is
// not, whatever it is made of.
func TestTheParserStandsWhatTheLimitAllows(t *testing.T) {
	wrap := func(open, middle, end string, tokens int) string {
		n := 990 / tokens
		return "SELECT " + strings.Repeat(open, n) + middle + strings.Repeat(end, n)
	}
	for name, sql := range map[string]string{
		"operators":   wrap("", "1", "+1", 2),
		"not":         wrap("NOT ", "true", "", 1),
		"calls":       wrap("f(", "1", ")", 2),
		"subqueries":  wrap("(SELECT ", "1", ")", 2),
		"exists":      wrap("EXISTS (SELECT ", "1", ")", 3),
		"arrays":      wrap("ARRAY[", "1", "]", 2),
		"rows":        wrap("ROW(", "1", ")", 2),
		"casts":       wrap("", "1", "::int", 2),
		"collations":  wrap("", "a", ` COLLATE "C"`, 2),
		"null tests":  wrap("", "a", " IS NULL", 2),
		"cases":       wrap("CASE WHEN ", "a", " THEN 1 END", 5),
		"case values": wrap("CASE a WHEN 1 THEN ", "a", " END", 6),
		"in":          wrap("a IN (", "1", ")", 3),
		"joins":       "SELECT 1 FROM a" + strings.Repeat(" JOIN a USING (b)", 190),
		"from":        strings.Repeat("SELECT 1 FROM (", 240) + "SELECT 1" + strings.Repeat(")", 240),
		"with":        strings.Repeat("WITH a AS (", 240) + "SELECT 1" + strings.Repeat(") SELECT 1", 240),
		"unions":      "SELECT 1, 2" + strings.Repeat(" UNION ALL SELECT 1, 2", 3000),
		"a default":   "ALTER TABLE t ADD a int DEFAULT " + strings.Repeat("f(", 480) + "1" + strings.Repeat(")", 480),
	} {
		t.Run(name, func(t *testing.T) {
			found, err := lint.Check([]lint.File{{Name: "1.sql", SQL: sql}, {Name: "2.sql", SQL: "DROP TABLE t"}}, lint.Options{})
			assert.NilError(t, err)
			for _, f := range found {
				assert.Assert(t, f.Rule != "syntax" && f.Rule != "too-deep", f.Message)
			}
			assert.Equal(t, found[len(found)-1].Rule, "drop-table")
		})
	}
}

// The migrations of the reference backend are real input. Nothing in them is
// refused where the sizes of the tables are known.
func TestMigrationsOfTheReferenceBackend(t *testing.T) {
	read := func(name string) lint.File {
		content, err := os.ReadFile("../../migrations/" + name)
		assert.NilError(t, err)
		return lint.File{Name: name, SQL: string(content)}
	}
	blocked := func(found []lint.Finding) []string {
		out := []string{}
		for _, f := range found {
			if f.Level == lint.Block {
				out = append(out, fmt.Sprintf("%s:%d %s", f.File, f.Line, f.Rule))
			}
		}
		return out
	}
	baseline, tenants := read("000001_baseline.up.sql"), read("000002_tenant_support.up.sql")

	t.Run("into an empty database", func(t *testing.T) {
		found, err := lint.Check([]lint.File{baseline, tenants}, lint.Options{})
		assert.NilError(t, err)
		assert.DeepEqual(t, blocked(found), []string{})
	})
	t.Run("on tables of tens of rows", func(t *testing.T) {
		sizes := map[string]lint.Table{}
		for _, table := range tablesOf(baseline.SQL) {
			sizes["public."+table] = lint.Table{Rows: 30, Bytes: 8192}
		}
		found, err := lint.Check([]lint.File{tenants}, lint.Options{Tables: sizes})
		assert.NilError(t, err)
		assert.DeepEqual(t, blocked(found), []string{})
	})
	t.Run("on tables of sizes that are not known, the plain indexes are refused", func(t *testing.T) {
		baseline := baseline
		baseline.Applied = true
		found, err := lint.Check([]lint.File{baseline, tenants}, lint.Options{})
		assert.NilError(t, err)
		assert.Equal(t, len(blocked(found)), 19)
		for _, f := range found {
			assert.Assert(t, f.Level != lint.Block || f.Rule == "create-index", "%+v", f)
		}
	})
}

func tablesOf(sql string) []string {
	var out []string
	for line := range strings.Lines(sql) {
		if rest, ok := strings.CutPrefix(line, "CREATE TABLE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			out = append(out, name)
		}
	}
	return out
}
