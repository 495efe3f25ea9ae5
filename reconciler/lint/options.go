package lint

// File is a migration. Files are given in the order in which they run.
type File struct {
	// Name is how findings call the file.
	Name string `json:"name"`
	SQL  string `json:"sql"`
	// Applied tells that the file has run before. It is read for the tables,
	// types and constraints it made, and nothing is found in it.
	Applied bool `json:"applied,omitempty"`
}

// Options are facts about where the files will run, and what is tolerated
// there. The zero value knows nothing and tolerates nothing.
type Options struct {
	// Tables are the tables that exist, by schema and name with a point
	// between. What is not here is either not known or not there: its size
	// counts as large.
	Tables map[string]Table `json:"tables,omitempty"`
	// SearchPath are the schemas in which a name without one is looked for;
	// public when empty. The first one is where tables are created.
	SearchPath []string `json:"searchPath,omitempty"`
	// Major is the server's major version; 0 is not known, and taken for 15.
	Major int `json:"major,omitempty"`
	// SmallRows and SmallBytes are up to which size a table is small: both
	// must hold. 0 means 10,000 rows and 8 MiB.
	SmallRows  int64 `json:"smallRows,omitempty"`
	SmallBytes int64 `json:"smallBytes,omitempty"`
	// Separate tells that each statement of a file is its own transaction
	// unless the file says BEGIN, as with psql. Otherwise a file is one
	// transaction, unless it has only one statement.
	Separate bool `json:"separate,omitempty"`
	// Tolerated are reasons by rule: findings of these rules become notes
	// that keep the reason.
	Tolerated map[string]string `json:"tolerated,omitempty"`
}

// Table is what is known of a table from the catalogue.
type Table struct {
	// Rows is the estimate of pg_class.reltuples; below 0 is not known.
	Rows int64 `json:"rows"`
	// Bytes is pg_relation_size: 0 proves that the table is empty.
	Bytes       int64 `json:"bytes"`
	Partitioned bool  `json:"partitioned,omitempty"`
	// Columns are by name.
	Columns map[string]Column `json:"columns,omitempty"`
	// Constraints are by name.
	Constraints map[string]Constraint `json:"constraints,omitempty"`
	// Indexes are the names of its indexes, without a schema.
	Indexes []string `json:"indexes,omitempty"`
}

// Column is what is known of a column.
type Column struct {
	// Type is the type as format_type writes it.
	Type    string `json:"type"`
	NotNull bool   `json:"notNull,omitempty"`
	Default bool   `json:"default,omitempty"`
}

// Constraint is what is known of a constraint.
type Constraint struct {
	// Kind is pg_constraint.contype: c, f, p, u or x.
	Kind string `json:"kind"`
	// Valid is false for a constraint added NOT VALID and not validated since.
	Valid bool `json:"valid"`
	// Parent is the table a foreign key refers to, as a key of Options.Tables.
	Parent string `json:"parent,omitempty"`
	// Expression is that of a check, as SQL: with it, a validated check that
	// columns are not null makes SET NOT NULL safe.
	Expression string `json:"expression,omitempty"`
}

const (
	defaultSmallRows  = 10_000
	defaultSmallBytes = 8 << 20
	defaultMajor      = 15
)

func (o Options) withDefaults() Options {
	if len(o.SearchPath) == 0 {
		o.SearchPath = []string{"public"}
	}
	if o.Major == 0 {
		o.Major = defaultMajor
	}
	if o.SmallRows == 0 {
		o.SmallRows = defaultSmallRows
	}
	if o.SmallBytes == 0 {
		o.SmallBytes = defaultSmallBytes
	}
	return o
}
