package lint

import (
	"cmp"
	"strings"
)

// learnConstraint records a constraint of a table; column is that in whose
// definition it stands, if it does.
func (r *run) learnConstraint(t *table, c *constraintNode, column string) *constraint {
	made := &constraint{kind: c.Type, valid: !c.SkipValidation, made: r.tx.number}
	switch c.Type {
	case constraintCheck:
		made.columns = columnsOf(c.Expr)
		made.notNull = notNullColumns(c.Expr)
	case constraintForeign:
		made.columns = texts(c.ForeignKeys)
		made.parent = r.world.table(c.Parent).key
	case constraintPrimary:
		made.columns = texts(c.Keys)
		for _, name := range made.columns {
			t.column(name).notNull = true
		}
	default:
		made.columns = texts(c.Keys)
	}
	if column != "" && len(made.columns) == 0 {
		made.columns = []string{column}
	}
	name := cmp.Or(c.Name, c.Index, generatedName(t, c.Type, made.columns))
	t.constraints[name] = made
	if c.Type == constraintPrimary || c.Type == constraintUnique || c.Type == constraintExclusion {
		r.world.addIndex(t, name)
	}
	return made
}

// generatedName is what PostgreSQL calls a constraint that has no name.
func generatedName(t *table, kind constraintType, columns []string) string {
	_, name, _ := strings.Cut(t.key, ".")
	parts := append([]string{name}, columns...)
	switch kind {
	case constraintPrimary:
		return name + "_pkey"
	case constraintForeign:
		parts = append(parts, "fkey")
	case constraintCheck:
		parts = append(parts, "check")
	case constraintExclusion:
		parts = append(parts, "excl")
	default:
		parts = append(parts, "key")
	}
	return strings.Join(parts, "_")
}

func (a alteration) constraintCommand(c *alterTableCmd) bool {
	switch c.Type {
	case alterAddConstraint:
		if c.Def != nil && c.Def.Constraint != nil {
			a.addConstraint(c.Def.Constraint)
		}
	case alterValidateConstraint:
		a.validate(c.Name)
	case alterDropConstraint:
		a.dropConstraint(c)
	default:
		return false
	}
	return true
}

func (a alteration) addConstraint(c *constraintNode) {
	var proven []string
	for _, name := range texts(c.Keys) {
		if a.table.provenNotNull(name) {
			proven = append(proven, name)
		}
	}
	made := a.learnConstraint(a.table, c, "")
	switch {
	case c.Type == constraintForeign:
		a.addForeignKey(c, made)
	case c.Type == constraintCheck:
		a.addCheck(c, made)
	case c.Index != "":
		a.usingIndex(c)
	case c.Type == constraintPrimary:
		f := a.addIndexed(ruleAddPrimaryKey, "primary key", made)
		f.instead(a.uniqueLater(cmp.Or(c.Name, a.named.Name+"_pkey"), made.columns, true)...)
		if len(proven) < len(made.columns) {
			f.instead("-- before that, make the columns NOT NULL: see rule " + ruleSetNotNull)
		}
	case c.Type == constraintUnique:
		a.addIndexed(ruleAddUnique, "unique constraint", made).
			instead(a.uniqueLater(cmp.Or(c.Name, generatedName(a.table, c.Type, made.columns)), made.columns, false)...)
	case c.Type == constraintExclusion:
		a.addIndexed(ruleAddExclusion, "exclusion constraint", made).instead("-- there is no way to build it beside reads and writes: do it while nobody needs the table")
	default:
		a.brief(a.table, a.named, AccessExclusive)
	}
}

// addIndexed reports a constraint whose index is built under the lock.
func (a alteration) addIndexed(rule, what string, made *constraint) *found {
	f := a.report(rule, AccessExclusive, "The index of the %s on %s is built while nobody may read or write %s.", what, cmp.Or(quoteAll(made.columns), "its columns"), a.name()).
		work(BuildIndex)
	a.tightens(f, made)
	return f
}

// tightens marks what refuses rows that code of before may write. A column
// that is new is one that such code does not write.
func (a alteration) tightens(f *found, made *constraint) {
	if !a.table.allFresh(made.columns) {
		f.breaks("rows of %s that the new constraint refuses", a.name())
	}
}

func (a alteration) addForeignKey(c *constraintNode, made *constraint) {
	parent := a.world.table(c.Parent)
	shown := c.Parent.text()
	var f *found
	if c.SkipValidation {
		f = a.report(ruleNotValid, ShareRowExclusive, "Rows of %s that are written from now on are checked against %s; old rows are not.", a.name(), shown)
	} else {
		f = a.report(ruleAddForeignKey, ShareRowExclusive, "All rows of %s are checked against %s while nobody may write to either.", a.name(), shown).work(Scan)
		name := cmp.Or(c.Name, generatedName(a.table, c.Type, made.columns))
		if a.table.facts != nil && a.table.facts.Partitioned && a.options.Major < 18 {
			f.instead("-- a partitioned table takes no NOT VALID: add the constraint to each partition first, NOT VALID, and validate it there")
		} else {
			f.instead(a.notValid(name, "FOREIGN KEY ("+quoteAll(made.columns)+") REFERENCES "+shown)...)
		}
	}
	if parent != a.table {
		f.also(parent, shown, ShareRowExclusive)
	}
	a.tightens(f, made)
}

func (a alteration) addCheck(c *constraintNode, made *constraint) {
	if c.SkipValidation {
		f := a.report(ruleNotValid, AccessExclusive, "Rows of %s that are written from now on are checked; old rows are not.", a.name())
		a.tightens(f, made)
		return
	}
	f := a.report(ruleAddCheck, AccessExclusive, "All rows of %s are checked while nobody may read or write it.", a.name()).work(Scan)
	name := quote(cmp.Or(c.Name, generatedName(a.table, c.Type, made.columns)))
	f.instead(
		"-- ALTER TABLE "+a.name()+" ADD CONSTRAINT "+name+" CHECK (as above) NOT VALID",
		"ALTER TABLE "+a.name()+" VALIDATE CONSTRAINT "+name)
	a.tightens(f, made)
}

// usingIndex looks at a constraint that is made of an index.
func (a alteration) usingIndex(c *constraintNode) {
	f := a.report(ruleUsingIndex, AccessExclusive, "The index %s becomes a constraint of %s; no row is read.", quote(c.Index), a.name())
	if c.Type == constraintPrimary {
		f.Message = "The index " + quote(c.Index) + " becomes the primary key of " + a.name() +
			"; columns that are not NOT NULL become so, for which all rows are read under the lock."
	}
}

// notValid are the steps of a constraint that is checked beside reads and writes.
func (a alteration) notValid(name, definition string) []string {
	return []string{
		"ALTER TABLE " + a.name() + " ADD CONSTRAINT " + quote(name) + " " + definition + " NOT VALID",
		"ALTER TABLE " + a.name() + " VALIDATE CONSTRAINT " + quote(name),
	}
}

// uniqueLater are the steps of a constraint whose index is built beside reads and writes.
func (a alteration) uniqueLater(name string, columns []string, primary bool) []string {
	kind := "UNIQUE"
	if primary {
		kind = "PRIMARY KEY"
	}
	if len(columns) == 0 {
		return []string{"-- CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … " + kind + " USING INDEX"}
	}
	return []string{
		"CREATE UNIQUE INDEX CONCURRENTLY " + quote(name) + " ON " + a.name() + " (" + quoteAll(columns) + ")",
		"ALTER TABLE " + a.name() + " ADD CONSTRAINT " + quote(name) + " " + kind + " USING INDEX " + quote(name),
	}
}

func (a alteration) validate(name string) {
	c := a.table.constraints[name]
	same := c != nil && c.made == a.tx.number
	var f *found
	if same {
		f = a.report(ruleValidateSame, ShareUpdateExclusive,
			"The transaction that added %s holds its lock on %s while all rows are checked.", quote(name), a.name()).
			instead("-- put VALIDATE CONSTRAINT into a file of its own, after this one")
	} else {
		f = a.report(ruleValidate, ShareUpdateExclusive, "All rows of %s are checked against %s beside reads and writes.", a.name(), quote(name))
	}
	f.work(Scan)
	if c == nil {
		return
	}
	c.valid = true
	if c.kind == constraintForeign && c.parent != "" && c.parent != a.table.key {
		a.alsoParent(f, c.parent, RowShare)
	}
}

// alsoParent adds the lock on the table that a foreign key refers to.
func (r *run) alsoParent(f *found, at string, mode Mode) {
	parent := r.world.tables[at]
	if parent == nil {
		parent = newTable(at)
		r.world.tables[at] = parent
	}
	f.also(parent, parent.named().text(), mode)
}

func (a alteration) dropConstraint(c *alterTableCmd) {
	known := a.table.constraints[c.Name]
	delete(a.table.constraints, c.Name)
	f := a.report(ruleDropConstraint, AccessExclusive, "The constraint %s of %s goes.", quote(c.Name), a.name())
	if known != nil && known.kind == constraintForeign && known.parent != "" && known.parent != a.table.key {
		a.alsoParent(f, known.parent, AccessExclusive)
	}
	if needed(known, c.Name) {
		f.breaks("the constraint %s of %s, if code names its columns in ON CONFLICT", quote(c.Name), a.name())
	}
	if c.Behavior == dropCascade {
		a.cascades("constraint " + quote(c.Name) + " of " + a.name())
	}
}

// needed tells whether running code may need a constraint: ON CONFLICT does,
// where it is one with an index. What kind it is may only be in its name.
func needed(c *constraint, name string) bool {
	if c != nil {
		return c.kind == constraintUnique || c.kind == constraintPrimary || c.kind == constraintExclusion
	}
	for _, end := range []string{"_fkey", "_check", "_not_null", "_fk", "_chk"} {
		if strings.HasSuffix(name, end) {
			return false
		}
	}
	return true
}

// cascades reports a CASCADE.
func (r *run) cascades(what string) {
	r.report(ruleDropCascade, "CASCADE drops whatever depends on the %s, named nowhere.", what).
		breaks("what CASCADE drops with the %s", what).
		instead("-- drop what depends on it by name, so that a reader sees it")
}
