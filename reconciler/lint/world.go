package lint

import (
	"maps"
	"slices"
	"strings"
)

// world is what is known of the schema at a statement: the facts that the
// caller gave, and what the statements before have made of them.
type world struct {
	options Options
	path    []string
	tables  map[string]*table
	// indexes are the tables of indexes, by schema and name of the index.
	indexes map[string]*table
	// enums are values added by the transaction at hand.
	enums map[string]string
}

// table is what is known of a table.
type table struct {
	key string
	// fresh tells that pending files create it, so that nothing running
	// knows it and it has no rows but theirs.
	fresh bool
	// applied tells that a file that has run creates it.
	applied     bool
	facts       *Table
	columns     map[string]*column
	constraints map[string]*constraint
}

type column struct {
	// typ is nil when it is not known.
	typ     *sqlType
	notNull bool
	// defaulted tells that it has a default, identity or expression.
	defaulted bool
	// fresh tells that a pending file adds it.
	fresh bool
	// known is false when only a part of it has been seen.
	known bool
}

type constraint struct {
	kind  constraintType
	valid bool
	// columns are those that it is about; empty when they are not known.
	columns []string
	// notNull are columns of which a check says that they are not null.
	notNull []string
	parent  string
	// made is the transaction that added it; 0 is one of before.
	made int
}

func newWorld(options Options) *world {
	w := &world{
		options: options, path: options.SearchPath,
		tables: map[string]*table{}, indexes: map[string]*table{}, enums: map[string]string{},
	}
	for key, facts := range options.Tables {
		w.tables[key] = tableOf(key, facts)
		schema, _, _ := strings.Cut(key, ".")
		for _, index := range facts.Indexes {
			w.indexes[schema+"."+index] = w.tables[key]
		}
	}
	return w
}

func tableOf(key string, facts Table) *table {
	t := newTable(key)
	t.facts = &facts
	for name, c := range facts.Columns {
		t.columns[name] = &column{typ: parseType(c.Type), notNull: c.NotNull, defaulted: c.Default, known: true}
	}
	for name, c := range facts.Constraints {
		made := &constraint{kind: kindOf(c.Kind), valid: c.Valid, parent: c.Parent}
		if made.kind == constraintCheck {
			made.notNull = notNullColumns(parseExpression(c.Expression))
		}
		t.constraints[name] = made
	}
	return t
}

func newTable(key string) *table {
	return &table{key: key, columns: map[string]*column{}, constraints: map[string]*constraint{}}
}

func kindOf(contype string) constraintType {
	switch contype {
	case "c":
		return constraintCheck
	case "f":
		return constraintForeign
	case "p":
		return constraintPrimary
	case "u":
		return constraintUnique
	case "x":
		return constraintExclusion
	default:
		return 0
	}
}

// key is how a name without a schema is looked up, by the search path.
func key[T any](w *world, known map[string]T, schema, name string) string {
	if schema != "" {
		return schema + "." + name
	}
	for _, folder := range w.path {
		if _, ok := known[folder+"."+name]; ok {
			return folder + "." + name
		}
	}
	if len(w.path) == 0 {
		return "public." + name
	}
	return w.path[0] + "." + name
}

// table returns what is known of a table; one that nobody told of is made up.
func (w *world) table(named *rangeVar) *table {
	if named == nil {
		return newTable("")
	}
	at := key(w, w.tables, named.Schema, named.Name)
	if w.tables[at] == nil {
		w.tables[at] = newTable(at)
	}
	return w.tables[at]
}

// index returns the table of an index, or nil.
func (w *world) index(schema, name string) *table {
	return w.indexes[key(w, w.indexes, schema, name)]
}

// addIndex records an index, which is in the schema of its table.
func (w *world) addIndex(t *table, name string) {
	if name != "" {
		schema, _, _ := strings.Cut(t.key, ".")
		w.indexes[schema+"."+name] = t
	}
}

// create records a table that a statement creates.
func (w *world) create(named *rangeVar, applied bool) *table {
	at := key(w, map[string]bool{}, named.Schema, named.Name)
	t := newTable(at)
	t.fresh, t.applied = !applied, applied
	if known := w.tables[at]; known != nil && known.facts != nil && applied {
		// What the catalogue says of an applied file's table is newer.
		return known
	}
	w.tables[at] = t
	return t
}

// exists tells whether a table is known to be there.
func (w *world) exists(named *rangeVar) bool {
	t := w.tables[key(w, w.tables, named.Schema, named.Name)]
	return t != nil && (t.facts != nil || t.fresh || t.applied)
}

// drop forgets a table.
func (w *world) drop(t *table) {
	delete(w.tables, t.key)
	maps.DeleteFunc(w.indexes, func(_ string, of *table) bool { return of == t })
}

// rename gives a table another key.
func (w *world) rename(t *table, to string) {
	delete(w.tables, t.key)
	t.key = to
	w.tables[to] = t
}

// named is how a statement would write the name of a table.
func (t *table) named() *rangeVar {
	schema, name, _ := strings.Cut(t.key, ".")
	if schema == "public" {
		schema = ""
	}
	return &rangeVar{Schema: schema, Name: name}
}

func (t *table) schema() string {
	schema, _, _ := strings.Cut(t.key, ".")
	return schema
}

// column returns what is known of a column.
func (t *table) column(name string) *column {
	if t.columns[name] == nil {
		t.columns[name] = &column{}
	}
	return t.columns[name]
}

// provenNotNull tells whether a validated check of an earlier transaction, or
// the column itself, proves that a column is never null.
func (t *table) provenNotNull(name string) bool {
	if c := t.columns[name]; c != nil && c.notNull {
		return true
	}
	for _, c := range t.constraints {
		if c.valid && slices.Contains(c.notNull, name) {
			return true
		}
	}
	return false
}

// allFresh tells whether pending files add all of these columns, so that no
// running code writes to any.
func (t *table) allFresh(names []string) bool {
	for _, name := range names {
		if c := t.columns[name]; c == nil || !c.fresh {
			return false
		}
	}
	return len(names) > 0
}

// parents are the tables that the table's foreign keys refer to.
func (t *table) parents() []string {
	var parents []string
	for _, c := range t.constraints {
		if c.kind == constraintForeign && c.parent != "" && c.parent != t.key {
			parents = append(parents, c.parent)
		}
	}
	slices.Sort(parents)
	return slices.Compact(parents)
}

// size is what is known of the size of a table.
func (t *table) size() *Size {
	if t.facts == nil || t.facts.Rows < 0 {
		return nil
	}
	return &Size{Rows: t.facts.Rows, Bytes: t.facts.Bytes}
}

// empty tells whether a table is known to have no rows.
func (t *table) empty() bool {
	return t.fresh || t.facts != nil && t.facts.Bytes == 0 && t.facts.Rows <= 0 && !t.facts.Partitioned
}
