package database

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

func TestWhatMayPass(t *testing.T) {
	for code, want := range map[string]bool{
		"40001": true, "40P01": true, "55P03": true, "55006": true, "57014": true, "57P01": true, "57P02": true, "57P03": true, "57P05": true,
		"53200": true, "53300": true, "08006": true, "08003": true, "25006": true,
		"57P04": false, "08P01": false, "28P01": false, "28000": false, "3D000": false, "42601": false, "42P07": false, "42501": false,
		"23505": false, "22P02": false, "25001": false, "53100": false, "P0001": false, "XX000": false, "0A000": false,
	} {
		assert.Equal(t, mayPass(&fileError{err: &pgconn.PgError{Code: code}}), want, code)
	}
	assert.Assert(t, mayPass(errors.New("connection reset by peer")))
	assert.Assert(t, !mayPass(&fs.PathError{Err: fs.ErrNotExist}))
	assert.Assert(t, !mayPass(reconciler.Terminalf("R", "%w", &pgconn.PgError{Code: "57P01"})), "a verdict outweighs a code")
}

func TestSafeMessage(t *testing.T) {
	for name, test := range map[string]struct{ code, message, want string }{
		"a keyword":                  {"42601", `syntax error at or near "TABEL"`, `syntax error at or near "TABEL"`},
		"a sign":                     {"42601", `syntax error at or near ")"`, `syntax error at or near ")"`},
		"a string":                   {"42601", `syntax error at or near "'hunter2'"`, `syntax error at or near [withheld]`},
		"a number":                   {"42601", `syntax error at or near "4111"`, `syntax error at or near [withheld]`},
		"the rest of a file":         {"42601", "unterminated quoted string at or near \"'hunter2;\nSELECT \"a\"\"", `unterminated quoted string at or near [withheld]`},
		"a dollar quote":             {"42601", `unterminated dollar-quoted string at or near "$$ hunter2"`, `unterminated dollar-quoted string at or near [withheld]`},
		"a name":                     {"42703", `column "nothing" does not exist`, `column "nothing" does not exist`},
		"a value":                    {"22P02", `invalid input syntax for type uuid: "hunter "2" x"`, "invalid input syntax for type uuid: [withheld]"},
		"a value in the middle":      {"22003", `value "4111" is out of range for type integer`, "value [withheld] is out of range for type integer"},
		"a value in French":          {"22P02", "syntaxe en entrée invalide pour le type integer : « hunter2 »", "syntaxe en entrée invalide pour le type integer : [withheld]"},
		"a string in German":         {"42601", "Syntaxfehler bei »'hunter2'«", "Syntaxfehler bei [withheld]"},
		"a keyword in German":        {"42601", "Syntaxfehler bei »TABEL«", "Syntaxfehler bei »TABEL«"},
		"a data error without value": {"22012", "division by zero", "division by zero"},
		"line breaks":                {"P0001", "a\nb\tc\x1b[0m", "a b c [0m"},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, safeMessage(&pgconn.PgError{Code: test.code, Message: test.message, Detail: "hunter2", Hint: "hunter2", Where: "hunter2"}), test.want)
		})
	}
}

func TestLineOf(t *testing.T) {
	text := "äö\nb\r\nc"
	for position, want := range map[int32]int32{1: 1, 3: 1, 4: 2, 6: 2, 7: 3, 99: 3} {
		assert.Equal(t, lineOf(text, position), want, position)
	}
}

func TestMajor(t *testing.T) {
	for version, want := range map[string]int{"15.18 (Debian 15.18-0+deb12u1)": 15, "17beta1": 17, "9.6.24": 9, "": 0} {
		assert.Equal(t, major(version), want)
	}
}

func TestTheDriverRefusesWhatItIsNotFor(t *testing.T) {
	d := &driver{ctx: t.Context(), session: &session{}}
	assert.ErrorIs(t, d.Drop(), errNotHere)
	_, err := d.Open("pgx5://localhost/db")
	assert.ErrorIs(t, err, errNotHere)
	assert.ErrorContains(t, d.Lock(), "not currently locked")
	assert.ErrorContains(t, d.SetVersion(1, false), "without running its file")
}
