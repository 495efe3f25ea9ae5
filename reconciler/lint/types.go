package lint

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sqlType is a type of a column.
type sqlType struct {
	// name is PostgreSQL's own, such as int4 or varchar.
	name string
	// mods are what stands in parentheses: a length, or precision and scale.
	mods  []int
	array bool
}

// typeText matches a type as format_type writes it: words, perhaps numbers in
// parentheses, perhaps more words, perhaps the mark of an array.
var typeText = regexp.MustCompile(`^([^(\[]+)(?:\(([-0-9, ]+)\))?([^\[]*)(\[\])*$`)

// parseType reads a type as format_type writes it. It is nil when it cannot.
func parseType(text string) *sqlType {
	parts := typeText.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil {
		return nil
	}
	t := &sqlType{name: ownName(strings.TrimSpace(parts[1]) + parts[3]), array: parts[4] != ""}
	if parts[2] != "" {
		for mod := range strings.SplitSeq(parts[2], ",") {
			number, err := strconv.Atoi(strings.TrimSpace(mod))
			if err != nil {
				return nil
			}
			t.mods = append(t.mods, number)
		}
	}
	return t.normal()
}

// ownName is PostgreSQL's own name of a type that SQL calls otherwise.
func ownName(name string) string {
	switch name {
	case "character varying":
		return "varchar"
	case "character", "char":
		return "bpchar"
	case "smallint":
		return "int2"
	case "integer", "int":
		return "int4"
	case "bigint":
		return "int8"
	case "boolean":
		return "bool"
	case "real":
		return "float4"
	case "double precision":
		return "float8"
	case "decimal":
		return "numeric"
	case "bit varying":
		return "varbit"
	case "timestamp without time zone":
		return "timestamp"
	case "timestamp with time zone":
		return "timestamptz"
	case "time without time zone":
		return "time"
	case "time with time zone":
		return "timetz"
	default:
		return name
	}
}

// normal writes what means the same in one way.
func (t *sqlType) normal() *sqlType {
	if t.name == "numeric" && len(t.mods) == 1 {
		t.mods = append(t.mods, 0)
	}
	if t.name == "bpchar" && len(t.mods) == 0 {
		t.mods = []int{1}
	}
	return t
}

// typeOf reads a type from the parse tree. It is nil when it cannot.
func typeOf(named *typeName) *sqlType {
	if named == nil || len(named.Names) == 0 {
		return nil
	}
	names := texts(named.Names)
	name := names[len(names)-1]
	if len(names) == 2 && names[0] != "pg_catalog" {
		name = names[0] + "." + name
	}
	t := &sqlType{name: ownName(name), array: len(named.ArrayBounds) > 0}
	for _, mod := range named.Mods {
		if mod.Const == nil || mod.Const.Int == nil && mod.Const.String != nil {
			return nil
		}
		number := 0
		if mod.Const.Int != nil {
			number = mod.Const.Int.Value
		}
		t.mods = append(t.mods, number)
	}
	return t.normal()
}

// serial tells whether a type stands for a sequence and a default.
func (t *sqlType) serial() bool {
	return t != nil && slices.Contains([]string{"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"}, t.name)
}

// keeps tells whether a change of type leaves the rows of a table as they
// are. Measured on PostgreSQL 15 by a test, for each kind of change.
func (t *sqlType) keeps(to *sqlType) bool {
	if t == nil || to == nil || t.array != to.array {
		return false
	}
	if t.name == to.name && slices.Equal(t.mods, to.mods) {
		return true
	}
	if t.array {
		return false
	}
	switch {
	case t.textual() && to.textual():
		return len(to.mods) == 0 || t.name == "varchar" && len(t.mods) == 1 && to.mods[0] >= t.mods[0]
	case t.name == "cidr" && to.name == "inet":
		return true
	case t.name != to.name:
		return false
	}
	return t.widens(to)
}

// textual tells whether code takes a type for text of any length.
func (t *sqlType) textual() bool { return t.name == "varchar" || t.name == "text" }

// widens tells whether the same type with other modifiers takes all values as they are.
func (t *sqlType) widens(to *sqlType) bool {
	switch t.name {
	case "numeric":
		return len(to.mods) == 0 || len(t.mods) == 2 && to.mods[0] >= t.mods[0] && to.mods[1] == t.mods[1]
	case "varbit":
		return len(to.mods) == 0 || len(t.mods) == 1 && to.mods[0] >= t.mods[0]
	case "time", "timetz", "timestamp", "timestamptz":
		return len(to.mods) == 0 || len(t.mods) == 1 && to.mods[0] >= t.mods[0]
	default:
		return false
	}
}

// becomesZoned tells whether a change is kept as it is only where the
// session's time zone is UTC.
func (t *sqlType) becomesZoned(to *sqlType) bool {
	if t == nil || to == nil || t.array || to.array {
		return false
	}
	return t.name == "timestamp" && to.name == "timestamptz" || t.name == "timestamptz" && to.name == "timestamp"
}

// text writes a type for people.
func (t *sqlType) text() string {
	if t == nil {
		return "a type that is not known"
	}
	out := t.name
	if len(t.mods) > 0 {
		mods := make([]string, len(t.mods))
		for i, mod := range t.mods {
			mods[i] = strconv.Itoa(mod)
		}
		out += "(" + strings.Join(mods, ",") + ")"
	}
	if t.array {
		out += "[]"
	}
	return out
}
