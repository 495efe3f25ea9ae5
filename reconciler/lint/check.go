package lint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Check holds files, in the order in which they run, against the rules.
// Findings are in the order of the statements. What a file makes of the schema
// counts for those after it. An error is one of the options or a failure of
// the parser, and says nothing about the files: what is wrong in them is a
// finding. Calls at the same time wait for one another's turn at the parser.
func Check(files []File, o Options) ([]Finding, error) {
	o = o.withDefaults()
	c := &checker{options: o, rules: rulesByID()}
	if err := c.checkTolerated(); err != nil {
		return nil, err
	}
	c.world = newWorld(o)
	var out []Finding
	for _, file := range files {
		found, err := c.file(file)
		if err != nil {
			return nil, fmt.Errorf("lint %s: %w", file.Name, err)
		}
		if !file.Applied {
			out = append(out, found...)
		}
	}
	return out, nil
}

// checkTolerated refuses what would tolerate nothing, or for no reason.
func (c *checker) checkTolerated() error {
	for _, rule := range slices.Sorted(maps.Keys(c.options.Tolerated)) {
		if _, ok := c.rules[rule]; !ok {
			return fmt.Errorf("tolerated rule %q: there is no such rule; they are listed by lint.Rules", rule)
		}
		if strings.TrimSpace(c.options.Tolerated[rule]) == "" {
			return fmt.Errorf("tolerated rule %s: give a reason", rule)
		}
	}
	return nil
}

// checker goes through files.
type checker struct {
	options Options
	world   *world
	rules   map[string]Rule
	// transactions counts them, over all files.
	transactions int
}

// file checks one file.
func (c *checker) file(file File) ([]Finding, error) {
	source, refused, err := readSource(file)
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return []Finding{c.refused(file, refused)}, nil
	}
	r := &run{checker: c, source: source}
	r.begin()
	for i := range source.statements {
		r.statement(i)
	}
	r.end()
	r.settleAll()
	r.allow(directives(source))
	slices.SortStableFunc(r.found, func(a, b *found) int { return cmp.Compare(a.Line, b.Line) })
	out := make([]Finding, len(r.found))
	for i, f := range r.found {
		out[i] = f.Finding
	}
	return out, nil
}

// refused is the finding about a file that cannot be looked at.
func (c *checker) refused(file File, why *refusal) Finding {
	f := Finding{
		Rule: why.rule, Level: c.rules[why.rule].Level, File: file.Name, Line: why.line, Message: why.message, Rewrite: why.rewrite,
	}
	if f.Rule == ruleSyntax && c.options.Major > parserMajor {
		f.Level = Warn
		f.Because = fmt.Sprintf("the parser is that of PostgreSQL %d and the server is a newer one, which may know what this means", parserMajor)
	}
	return f
}

// run goes through the statements of one file.
type run struct {
	*checker
	source *source
	// at is the statement at hand.
	at int
	tx *transaction
	// explicit tells that the file said BEGIN.
	explicit bool
	found    []*found
}

// transaction is what has happened in a transaction so far.
type transaction struct {
	number int
	// together tells that statements share it.
	together bool
	held     []held
}

// held is a lock that is kept until the transaction ends.
type held struct {
	table *table
	shown string
	mode  Mode
	// at is the statement that took it.
	at int
}

// found is a finding in the making.
type found struct {
	Finding
	// at is the statement, or -1 for none.
	at int
	// main is the table whose size counts; without one, all of locked count.
	main   *table
	locked []held
	// harmless is why the level is lowered, when the rule cannot tell by size.
	harmless string
}

func (r *run) begin() {
	r.transactions++
	r.tx = &transaction{number: r.transactions, together: r.explicit || !r.options.Separate && len(r.source.statements) > 1}
	clear(r.world.enums)
}

// end reports what can only be said of a whole transaction.
func (r *run) end() { r.severalTables() }

// statement looks at one statement.
func (r *run) statement(at int) {
	if r.options.Separate && !r.explicit && at > 0 {
		r.end()
		r.begin()
	}
	r.at = at
	before := len(r.found)
	s := &r.source.statements[at]
	r.needsNoTransaction(s)
	r.usesNewEnumValue(s)
	r.judge(s)
	own := r.found[before:]
	r.underLock(own)
	for _, f := range own {
		r.tx.held = append(r.tx.held, f.locked...)
	}
}

// judge hands a statement to what knows its kind.
func (r *run) judge(s *statement) {
	for _, look := range []func(*node) bool{
		r.tableStatement, r.indexStatement, r.dataStatement, r.objectStatement, r.sessionStatement,
	} {
		if look(s.node) {
			return
		}
	}
}

// report adds a finding about the statement at hand.
func (r *run) report(rule, message string, arguments ...any) *found {
	s := &r.source.statements[r.at]
	f := &found{at: r.at, Finding: Finding{
		Rule: rule, File: r.source.file.Name, Line: s.line, Statement: s.text, Message: fmt.Sprintf(message, arguments...),
	}}
	r.found = append(r.found, f)
	return f
}

// on names the table that a finding is about, and the lock on it.
func (f *found) on(t *table, named *rangeVar, mode Mode) *found {
	f.main, f.Table = t, named.text()
	return f.also(t, f.Table, mode)
}

// also adds a lock on another table.
func (f *found) also(t *table, shown string, mode Mode) *found {
	f.Locks = append(f.Locks, Lock{Table: shown, Mode: mode})
	f.locked = append(f.locked, held{table: t, shown: shown, mode: mode, at: f.at})
	return f
}

func (f *found) work(work Work) *found {
	f.Work = work
	return f
}

// breaks says what code of before cannot live with; not of a table that such
// code does not know.
func (f *found) breaks(what string, arguments ...any) *found {
	if f.main == nil || !f.main.fresh {
		f.Breaks = fmt.Sprintf(what, arguments...)
	}
	return f
}

// instead gives the safe way.
func (f *found) instead(steps ...string) *found {
	f.Rewrite = append(f.Rewrite, steps...)
	return f
}

// settleAll decides the levels.
func (r *run) settleAll() {
	for _, f := range r.found {
		r.settle(f)
	}
}

func (r *run) settle(f *found) {
	rule := r.rules[f.Rule]
	f.Level = rule.Level
	if f.Level != Note {
		because := f.harmless
		if because == "" {
			because = r.harmless(f, rule)
		}
		if because != "" {
			f.Level, f.Because = Note, because
		}
	}
	if f.main != nil {
		f.Size = f.main.size()
	}
	f.Breaking = f.Breaks != ""
	if f.Breaking && rule.breaking.rank() > f.Level.rank() && rule.breaking != "" {
		f.Level = rule.breaking
	}
	if reason, ok := r.options.Tolerated[f.Rule]; ok {
		f.Level, f.Allowed = Note, reason
	}
}

// harmless says why a statement hurts nobody, or nothing.
func (r *run) harmless(f *found, rule Rule) string {
	tables := []*table{f.main}
	if f.main == nil {
		tables = tables[:0]
		for _, lock := range f.locked {
			tables = append(tables, lock.table)
		}
	}
	if len(tables) == 0 {
		return ""
	}
	because := ""
	for _, t := range tables {
		why := r.small(t, rule.bySize)
		if why == "" {
			return ""
		}
		because = cmp.Or(because, why)
	}
	if len(tables) > 1 {
		return "the tables are new, empty or small"
	}
	return because
}

// small says why a table is none to worry about, or nothing.
func (r *run) small(t *table, bySize bool) string {
	switch {
	case t.fresh:
		return "the table is new"
	case !bySize || t.facts == nil || t.facts.Partitioned:
		return ""
	case t.empty():
		return "the table is empty"
	case t.facts.Rows >= 0 && t.facts.Rows <= r.options.SmallRows && t.facts.Bytes <= r.options.SmallBytes:
		return fmt.Sprintf("the table has about %d rows in %d kB", t.facts.Rows, (t.facts.Bytes+1023)/1024)
	default:
		return ""
	}
}
