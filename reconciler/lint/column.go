package lint

import "slices"

// newColumn is the definition of a column.
type newColumn struct {
	*columnDef
	typ *sqlType
	// unstable is what gives each row a value of its own.
	unstable string
	// defaulted tells that rows have a value without one being given.
	defaulted bool
	notNull   bool
	primary   bool
	unique    bool
	checks    []*constraintNode
	foreign   []*constraintNode
}

// define reads the definition of a column.
func define(def *columnDef) newColumn {
	c := newColumn{columnDef: def, typ: typeOf(def.Type)}
	if c.typ.serial() {
		c.unstable, c.defaulted, c.notNull = "the sequence of "+c.typ.text(), true, true
	}
	for _, n := range def.Constraints {
		if n.Constraint != nil {
			c.constrain(n.Constraint)
		}
	}
	return c
}

func (c *newColumn) constrain(with *constraintNode) {
	switch with.Type {
	case constraintNotNull:
		c.notNull = true
	case constraintDefault:
		c.defaulted = with.Expr == nil || with.Expr.Const == nil || !with.Expr.Const.IsNull
		c.unstable = unstable(with.Expr)
	case constraintIdentity:
		c.unstable, c.defaulted, c.notNull = "an identity", true, true
	case constraintGenerated:
		c.unstable, c.defaulted = "a stored expression", true
	case constraintPrimary:
		c.primary, c.notNull = true, true
	case constraintUnique:
		c.unique = true
	case constraintCheck:
		c.checks = append(c.checks, with)
	case constraintForeign:
		c.foreign = append(c.foreign, with)
	case constraintNull, constraintExclusion:
	}
}

// learnColumn records the column of a new table, or a new column.
func (r *run) learnColumn(t *table, def *columnDef) newColumn {
	c := define(def)
	t.columns[def.Name] = &column{
		typ: c.typ, notNull: c.notNull, defaulted: c.defaulted, fresh: !r.source.file.Applied, known: true,
	}
	for _, n := range def.Constraints {
		if n.Constraint != nil && n.Constraint.Type >= constraintCheck {
			r.learnConstraint(t, n.Constraint, def.Name)
		}
	}
	return c
}

func (a alteration) columnCommand(c *alterTableCmd) bool {
	switch c.Type {
	case alterAddColumn:
		if c.Def != nil && c.Def.ColumnDef != nil {
			a.addColumn(c.Def.ColumnDef)
		}
	case alterDropColumn:
		a.dropColumn(c)
	case alterColumnType:
		a.changeType(c)
	case alterSetNotNull:
		a.setNotNull(c.Name)
	case alterDropNotNull:
		a.table.column(c.Name).notNull = false
		a.report(ruleDropNotNull, AccessExclusive, "Column %s of %s may be null from now on.", quote(c.Name), a.name())
	case alterColumnDefault:
		a.changeDefault(c)
	case alterSetExpression:
		a.report(ruleSetExpression, AccessExclusive, "The expression of column %s changes, so all of %s is written anew while nobody may read or write it.", quote(c.Name), a.name()).
			work(RewriteTable)
	case alterDropExpression, alterDropIdentity:
		a.table.column(c.Name).defaulted = false
		a.losesDefault(c.Name)
	case alterAddIdentity:
		a.table.column(c.Name).defaulted = true
		a.report(ruleSetDefault, AccessExclusive, "Column %s of %s gets an identity; no row is touched.", quote(c.Name), a.name())
	default:
		return false
	}
	return true
}

func (a alteration) addColumn(def *columnDef) {
	c := a.learnColumn(a.table, def)
	reported := false
	if c.unstable != "" {
		reported = true
		a.rewritingColumn(c)
	}
	if c.checked() {
		reported = true
		a.constrainedColumn(c)
	}
	if c.notNull && !c.defaulted {
		reported = true
		a.unfilledColumn(c)
	}
	if !reported {
		f := a.report(ruleAddColumn, AccessExclusive, "%s gets the column %s; no row is touched.", a.name(), quote(c.Name))
		a.alsoReferenced(f, c)
	}
}

// checked tells whether rows are read for the constraints of a column. A
// foreign key of a column that is null everywhere is taken for valid, while a
// check is not.
func (c newColumn) checked() bool {
	return len(c.checks) > 0 || c.unique || c.primary || len(c.foreign) > 0 && c.defaulted
}

// alsoReferenced adds the locks on the tables that a column refers to.
func (a alteration) alsoReferenced(f *found, c newColumn) {
	for _, foreign := range c.foreign {
		if parent := a.world.table(foreign.Parent); parent != a.table {
			f.also(parent, foreign.Parent.text(), ShareRowExclusive)
		}
	}
}

func (a alteration) rewritingColumn(c newColumn) {
	f := a.report(ruleAddColumnRewrite, AccessExclusive,
		"Each row gets a value of its own for %s (%s), so all of %s is written anew while nobody may read or write it.",
		quote(c.Name), c.unstable, a.name()).work(RewriteTable)
	if c.typ.serial() || c.typ == nil {
		f.instead("-- add the column as a plain nullable integer")
	} else {
		f.instead("ALTER TABLE " + a.name() + " ADD COLUMN " + quote(c.Name) + " " + c.typ.text())
	}
	f.instead(
		"-- set the default for new rows: ALTER COLUMN … SET DEFAULT, or a trigger where the value is generated",
		"-- fill old rows in batches, each in a transaction of its own",
		"-- then NOT NULL, if it is wanted, by a validated CHECK: see rule "+ruleSetNotNull)
}

func (a alteration) constrainedColumn(c newColumn) {
	f := a.report(ruleAddColumnConstraint, AccessExclusive,
		"The new column %s has a constraint, so nobody may read or write %s while its rows are read.", quote(c.Name), a.name()).work(Scan)
	if c.unique || c.primary {
		f.work(BuildIndex)
	}
	if c.typ != nil && !c.typ.serial() {
		f.instead("ALTER TABLE " + a.name() + " ADD COLUMN " + quote(c.Name) + " " + c.typ.text() + " -- with its default, without its constraints")
	}
	a.alsoReferenced(f, c)
	for _, foreign := range c.foreign {
		f.instead(a.notValid(c.Name+"_fkey", "FOREIGN KEY ("+quote(c.Name)+") REFERENCES "+foreign.Parent.text())...)
	}
	if len(c.checks) > 0 {
		f.instead("-- ADD CONSTRAINT … CHECK (…) NOT VALID, then VALIDATE CONSTRAINT in a transaction of its own")
	}
	if c.unique || c.primary {
		f.instead(a.uniqueLater(a.named.Name+"_"+c.Name+"_key", []string{c.Name}, c.primary)...)
	}
}

func (a alteration) unfilledColumn(c newColumn) {
	f := a.report(ruleAddColumnNotNull, AccessExclusive,
		"The column %s must not be null and has no default, so the statement fails if %s has a row.", quote(c.Name), a.name())
	if a.table.empty() {
		f.harmless = "the table is empty"
	}
	f.breaks("column %s of %s, which must be given and has no default", quote(c.Name), a.name())
	if c.typ != nil {
		f.instead("ALTER TABLE " + a.name() + " ADD COLUMN " + quote(c.Name) + " " + c.typ.text() + " -- NOT NULL DEFAULT with a constant value: no row is touched")
		f.instead("-- drop the default in a release after the one that writes the column")
	}
}

func (a alteration) dropColumn(c *alterTableCmd) {
	added := a.table.columns[c.Name]
	delete(a.table.columns, c.Name)
	for name, constraint := range a.table.constraints {
		if slices.Contains(constraint.columns, c.Name) {
			delete(a.table.constraints, name)
		}
	}
	f := a.report(ruleDropColumn, AccessExclusive, "Column %s of %s goes, with its values and indexes.", quote(c.Name), a.name())
	if added == nil || !added.fresh {
		f.breaks("column %s of %s", quote(c.Name), a.name())
		f.instead("-- drop it in a release after the last one whose code names it")
	}
	if c.Behavior == dropCascade {
		a.cascades("column " + quote(c.Name) + " of " + a.name())
	}
}

func (a alteration) changeDefault(c *alterTableCmd) {
	a.table.column(c.Name).defaulted = c.Def != nil
	if c.Def == nil {
		a.losesDefault(c.Name)
		return
	}
	a.report(ruleSetDefault, AccessExclusive, "Column %s of %s gets another default for new rows; no row is touched.", quote(c.Name), a.name())
}

func (a alteration) losesDefault(name string) {
	f := a.report(ruleDropDefault, AccessExclusive, "Column %s of %s loses its default.", quote(name), a.name())
	if c := a.table.columns[name]; c == nil || !c.fresh || c.notNull {
		f.breaks("the default of column %s of %s, for rows added without a value", quote(name), a.name())
	}
	f.instead("-- drop it in a release after the one whose code gives the value")
}
