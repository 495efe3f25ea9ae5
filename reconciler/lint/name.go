package lint

import (
	"regexp"
	"slices"
	"strings"
)

// text is a name as SQL.
func (v *rangeVar) text() string {
	if v == nil {
		return ""
	}
	if v.Schema == "" {
		return quote(v.Name)
	}
	return quote(v.Schema) + "." + quote(v.Name)
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quote writes a name as SQL.
func quote(name string) string {
	if plainName.MatchString(name) && !reserved(name) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func quoteAll(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = quote(name)
	}
	return strings.Join(out, ", ")
}

// reserved tells whether a word cannot be a name without quotes.
func reserved(word string) bool {
	return slices.Contains([]string{
		"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "binary", "both",
		"case", "cast", "check", "collate", "collation", "column", "concurrently", "constraint", "create", "cross",
		"current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp", "current_user",
		"default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "freeze",
		"from", "full", "grant", "group", "having", "ilike", "in", "initially", "inner", "intersect", "into", "is", "isnull",
		"join", "lateral", "leading", "left", "like", "limit", "localtime", "localtimestamp", "natural", "not", "notnull", "null",
		"offset", "on", "only", "or", "order", "outer", "overlaps", "placing", "primary", "references", "returning", "right",
		"select", "session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample", "then", "to", "trailing",
		"true", "union", "unique", "user", "using", "variadic", "verbose", "when", "where", "window", "with",
	}, word)
}
