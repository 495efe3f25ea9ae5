package lint

// Level is how bad a finding is.
type Level string

// Levels, from harmless to refused.
const (
	// Note is worth knowing and needs no action.
	Note Level = "note"
	// Warn is a risk that somebody should have thought of.
	Warn Level = "warn"
	// Block should not run like this.
	Block Level = "block"
)

// rank orders levels.
func (l Level) rank() int {
	switch l {
	case Note:
		return 0
	case Warn:
		return 1
	default:
		return 2
	}
}

// Mode is a lock mode of PostgreSQL, as LOCK TABLE names it.
type Mode string

// Lock modes, from the weakest to the strongest.
const (
	AccessShare          Mode = "ACCESS SHARE"
	RowShare             Mode = "ROW SHARE"
	RowExclusive         Mode = "ROW EXCLUSIVE"
	ShareUpdateExclusive Mode = "SHARE UPDATE EXCLUSIVE"
	Share                Mode = "SHARE"
	ShareRowExclusive    Mode = "SHARE ROW EXCLUSIVE"
	Exclusive            Mode = "EXCLUSIVE"
	AccessExclusive      Mode = "ACCESS EXCLUSIVE"
)

// Modes returns all lock modes, the weakest first.
func Modes() []Mode {
	return []Mode{
		AccessShare, RowShare, RowExclusive, ShareUpdateExclusive,
		Share, ShareRowExclusive, Exclusive, AccessExclusive,
	}
}

// Blocks says whom a lock in this mode keeps waiting.
func (m Mode) Blocks() string {
	switch m {
	case AccessExclusive:
		return "reads and writes"
	case Exclusive, ShareRowExclusive, Share:
		return "writes"
	default:
		return "neither reads nor writes"
	}
}

// Lock is a lock on a table.
type Lock struct {
	// Table is the name as the statement writes it.
	Table string `json:"table"`
	Mode  Mode   `json:"mode"`
}

// Work is what a statement does to the rows of a table while it holds its lock.
type Work string

// Kinds of work, from none to the most.
const (
	// NoWork is a change of the catalogue only.
	NoWork Work = ""
	// Scan reads the whole table.
	Scan Work = "scan"
	// BuildIndex reads the whole table and writes an index.
	BuildIndex Work = "index"
	// RewriteRows changes many rows in place, and doubles them on disk.
	RewriteRows Work = "rows"
	// RewriteTable writes the whole table and its indexes anew.
	RewriteTable Work = "rewrite"
)

// Size is what is known of the size of a table.
type Size struct {
	// Rows is an estimate.
	Rows int64 `json:"rows"`
	// Bytes are those of the table without indexes.
	Bytes int64 `json:"bytes"`
}

// Finding is something to know about one statement of a file.
type Finding struct {
	// Rule is the rule's name; Rules lists them.
	Rule  string `json:"rule"`
	Level Level  `json:"level"`
	File  string `json:"file"`
	// Line is where the statement begins, counted from 1.
	Line int `json:"line"`
	// Statement is the statement on one line, cut to 200 characters.
	Statement string `json:"statement,omitempty"`

	// Table is the table that the finding is about, as the statement writes it.
	Table string `json:"table,omitempty"`
	// Locks are the locks on tables that are taken, Table's first. They are
	// held until the transaction ends.
	Locks []Lock `json:"locks,omitempty"`
	Work  Work   `json:"work,omitempty"`
	// Size is that of Table, when it is known.
	Size *Size `json:"size,omitempty"`

	// Message is one sentence on what happens.
	Message string `json:"message"`
	// Because says why the level is lower than the rule's own.
	Because string `json:"because,omitempty"`
	// Rewrite is SQL that does the same safely, a step each. Steps that begin
	// with a comment are not SQL. Each step is a transaction of its own.
	Rewrite []string `json:"rewrite,omitempty"`

	// Breaking tells that code written for the schema of before may fail
	// after the statement.
	Breaking bool `json:"breaking,omitempty"`
	// Breaks is what that code cannot live with.
	Breaks string `json:"breaks,omitempty"`

	// Allowed is the reason that somebody gave for allowing the finding.
	Allowed string `json:"allowed,omitempty"`
}
