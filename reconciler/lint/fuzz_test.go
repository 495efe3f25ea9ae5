package lint_test

import (
	"testing"

	"github.com/lockstep-gitops/lockstep/reconciler/lint"
)

// FuzzCheck holds that no text makes the parser or a rule crash: a crash of
// the parser is an error that every later call repeats, so one call after the
// text tells.
func FuzzCheck(f *testing.F) {
	content, err := examplesOf("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range content {
		f.Add(e.SQL)
		for _, file := range e.Files {
			f.Add(file.SQL)
		}
	}
	for _, statement := range statements() {
		f.Add(statement)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		found, err := lint.Check([]lint.File{{Name: "1.sql", SQL: sql}, {Name: "2.sql", SQL: "DROP TABLE t"}}, lint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		last := false
		for _, finding := range found {
			if finding.Line < 1 || finding.Message == "" || finding.Level == "" {
				t.Fatalf("finding is not whole: %+v", finding)
			}
			last = last || finding.File == "2.sql" && finding.Rule == "drop-table"
		}
		if !last {
			t.Fatal("the file after it was not checked")
		}
	})
}
