package schema

import (
	"encoding/json"
	"slices"
	"strings"
)

// Values of a Difference about whether an object is there at all.
const (
	// Present means that the object is there.
	Present = "present"
	// Absent means that it is not.
	Absent = "absent"
)

// maxText bounds a value in the text of a difference, in bytes. The
// difference itself holds all of it.
const maxText = 300

// Difference is one thing that is not as expected.
type Difference struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	// Field is empty when the object as a whole is missing or too much.
	Field Field  `json:"field,omitempty"`
	Want  string `json:"want,omitempty"`
	Have  string `json:"have,omitempty"`
}

// Diff lists what differs between an expected schema and a real one, sorted by
// kind, name and field. A table that is missing or too much is one difference,
// not one for each of its columns, constraints and indexes. Renames are not
// guessed: a renamed object is one that is missing and one that is too much.
func Diff(want, have Snapshot) []Difference {
	var out []Difference
	lonely := map[string]bool{}
	walk(want.Objects, have.Objects, func(w, h *Object) {
		if w == nil || h == nil {
			alone := one(w, h)
			lonely[side(w)+alone.Name] = isParent(alone.Kind)
		}
	})
	walk(want.Objects, have.Objects, func(w, h *Object) {
		switch {
		case w != nil && h != nil:
			out = append(out, compareFields(*w, *h)...)
		case !lonely[side(w)+one(w, h).Table]:
			out = append(out, existence(w, h))
		}
	})
	return out
}

// Distance is how many differences there are: of several known versions, a
// database is nearest to the one with the smallest.
func Distance(want, have Snapshot) int { return len(Diff(want, have)) }

// walk goes through two sorted lists at once. An object that only one of them
// has comes with nil for the other.
func walk(want, have []Object, visit func(w, h *Object)) {
	for len(want) > 0 || len(have) > 0 {
		order := 0
		switch {
		case len(want) == 0:
			order = 1
		case len(have) == 0:
			order = -1
		default:
			order = want[0].compare(have[0])
		}
		var w, h *Object
		if order <= 0 {
			w, want = &want[0], want[1:]
		}
		if order >= 0 {
			h, have = &have[0], have[1:]
		}
		visit(w, h)
	}
}

// one is the object of which there is only one.
func one(w, h *Object) *Object {
	if w != nil {
		return w
	}
	return h
}

// side keeps apart what is missing and what is too much.
func side(w *Object) string {
	if w != nil {
		return "-"
	}
	return "+"
}

// isParent tells whether other objects name this kind as their table.
func isParent(kind Kind) bool {
	return slices.Contains([]Kind{KindTable, KindView, KindMaterializedView, KindDomain}, kind)
}

func existence(w, h *Object) Difference {
	alone := one(w, h)
	d := Difference{Kind: alone.Kind, Name: alone.Name, Want: Absent, Have: Present}
	if w != nil {
		d.Want, d.Have = Present, Absent
	}
	return d
}

func compareFields(w, h Object) []Difference {
	var names []Field
	for _, fields := range []map[Field]string{w.Fields, h.Fields} {
		for name := range fields {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []Difference
	for _, name := range slices.Compact(names) {
		want, have := w.Fields[name], h.Fields[name]
		if name == FieldOrder {
			want, have = commonOrder(want, have)
		}
		if want != have {
			out = append(out, Difference{Kind: w.Kind, Name: w.Name, Field: name, Want: want, Have: have})
		}
	}
	return out
}

// commonOrder keeps of two orders what both have, so that a column that is
// missing or too much, which is a difference of its own, is no other order.
func commonOrder(want, have string) (string, string) {
	wanted, had := columns(want), columns(have)
	keep := func(list, other []string) string {
		list = slices.DeleteFunc(slices.Clone(list), func(name string) bool { return !slices.Contains(other, name) })
		return strings.Join(list, ", ")
	}
	return keep(wanted, had), keep(had, wanted)
}

// columns reads the value of FieldOrder. Anything else, which only a damaged
// record holds, counts as one column of that name.
func columns(order string) []string {
	var out []string
	if err := json.Unmarshal([]byte(order), &out); err != nil {
		return []string{order}
	}
	for i, name := range out {
		out[i] = quote(name)
	}
	return out
}

// String is the difference as one line for people.
func (d Difference) String() string {
	name := string(d.Kind) + " " + strings.TrimPrefix(d.Name, "public.")
	if d.Kind == KindOther {
		name = d.Name
	}
	want, have := shorten(d.Want), shorten(d.Have)
	switch {
	case d.Field == "" && d.Have == Absent:
		return name + " is missing"
	case d.Field == "":
		return name + " is here, but not expected"
	case d.Field == FieldState && d.Want == "":
		return name + " is " + have
	case d.Field == FieldState && d.Have == "":
		return name + " is valid here, " + want + " expected"
	case d.Field == FieldNullability, d.Field == FieldState:
		return name + ": " + have + " here, " + want + " expected"
	case d.Field == FieldOrder:
		return name + ": columns in the order " + have + " here, " + want + " expected"
	}
	return name + ": " + string(d.Field) + " " + orNone(have) + " here, " + orNone(want) + " expected"
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// shorten puts a value on one line that people still read.
func shorten(value string) string {
	value = strings.Join(strings.Fields(value), " ")
	if len(value) <= maxText {
		return value
	}
	return strings.ToValidUTF8(value[:maxText], "") + "…"
}
