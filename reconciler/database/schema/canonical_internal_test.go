package schema

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestCanonical(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"no array":                      {"(a > 1)", "(a > 1)"},
		"a cast on the array":           {"(ARRAY['a'::character varying, 'b'::character varying])::text[]", "ARRAY[('a'::character varying)::text, ('b'::character varying)::text]"},
		"a cast on each element stays":  {"ARRAY[('a'::character varying)::text]", "ARRAY[('a'::character varying)::text]"},
		"a type with a length":          {"(ARRAY[1, 2])::numeric(10,2)[]", "ARRAY[(1)::numeric(10,2), (2)::numeric(10,2)]"},
		"commas inside of an element":   {"(ARRAY[f(a, b), c[1]])::text[]", "ARRAY[(f(a, b))::text, (c[1])::text]"},
		"the form inside of a literal":  {"'(ARRAY[1])::text[]'", "'(ARRAY[1])::text[]'"},
		"quotes and brackets in values": {"(ARRAY['a'']), b'::character varying])::text[]", "ARRAY[('a'']), b'::character varying)::text]"},
		"a quoted name":                 {`("x(ARRAY[" = 1)`, `("x(ARRAY[" = 1)`},
		"an array of arrays":            {"(ARRAY[(ARRAY[1])::text[]])::text[]", "ARRAY[(ARRAY[(1)::text])::text]"},
		"an array without a cast":       {"(ARRAY[1, 2])", "(ARRAY[1, 2])"},
		"a literal without an end":      {"'abc", "'abc"},
		"an array without an end":       {"(ARRAY[1, 2", "(ARRAY[1, 2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, canonical(test.text), test.want)
			assert.Equal(t, canonical(canonical(test.text)), test.want)
		})
	}
}

func TestQuote(t *testing.T) {
	for name, want := range map[string]string{"a_1$": "a_1$", "Odd": `"Odd"`, "1a": `"1a"`, `a"b`: `"a""b"`, "user": "user", "": `""`, "ä": `"ä"`} {
		assert.Equal(t, quote(name), want)
	}
}
