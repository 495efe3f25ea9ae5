package lint

// changeType looks at ALTER COLUMN … TYPE.
func (a alteration) changeType(c *alterTableCmd) {
	if c.Def == nil || c.Def.ColumnDef == nil {
		return
	}
	def := c.Def.ColumnDef
	known := a.table.column(c.Name)
	from, to := known.typ, typeOf(def.Type)
	known.typ = to
	if from.keeps(to) && trivial(def.Default, c.Name) {
		f := a.report(ruleAlterType, AccessExclusive, "Column %s of %s goes from %s to %s; no row is touched.", quote(c.Name), a.name(), from.text(), to.text())
		if from.name != to.name && !from.textual() {
			f.breaks("the old type of column %s of %s", quote(c.Name), a.name())
		}
		return
	}
	f := a.report(ruleAlterTypeRewrite, AccessExclusive,
		"Column %s goes from %s to %s, so all of %s and the indexes on the column are written anew while nobody may read or write it%s.",
		quote(c.Name), from.text(), to.text(), a.name(), unless(from, to)).work(RewriteTable)
	f.breaks("the old type of column %s of %s", quote(c.Name), a.name())
	a.typeSteps(f, c.Name, to)
}

// unless is the condition under which a table is not rewritten after all.
func unless(from, to *sqlType) string {
	switch {
	case from == nil:
		return ", unless the old type, which is not known here, holds the same bytes"
	case from.becomesZoned(to):
		return ", unless the session's time zone is UTC"
	default:
		return ""
	}
}

// trivial tells whether the USING of a change of type is the column itself.
func trivial(using *node, name string) bool {
	if using != nil && using.TypeCast != nil {
		using = using.TypeCast.Arg
	}
	return using == nil || columnName(using) == name
}

func (a alteration) typeSteps(f *found, name string, to *sqlType) {
	if to == nil {
		return
	}
	next := quote(name + "_next")
	f.instead(
		"ALTER TABLE "+a.name()+" ADD COLUMN "+next+" "+to.text(),
		"-- a trigger that copies "+quote(name)+" to "+next+" on insert and update",
		"-- fill old rows in batches, each in a transaction of its own",
		"-- build its indexes CONCURRENTLY; move the code to "+next+" in one release",
		"-- drop the trigger and "+quote(name)+" in a later one")
}

// setNotNull looks at ALTER COLUMN … SET NOT NULL.
func (a alteration) setNotNull(name string) {
	proven := a.table.provenNotNull(name)
	already := a.table.columns[name] != nil && a.table.columns[name].notNull
	known := a.table.column(name)
	known.notNull = true
	if proven {
		f := a.report(ruleSetNotNull, AccessExclusive, "A validated check proves that column %s of %s is never null, so no row is read.", quote(name), a.name())
		if already {
			f.Message = "Column " + quote(name) + " of " + a.name() + " is NOT NULL already."
		}
		f.harmless = "no row is read"
		return
	}
	f := a.report(ruleSetNotNull, AccessExclusive, "All rows of %s are read to see that %s is never null, while nobody may read or write it.", a.name(), quote(name)).work(Scan)
	if !known.fresh || !known.defaulted {
		f.breaks("nulls in column %s of %s, and rows added without it where it has no default", quote(name), a.name())
	}
	check := quote(a.named.Name + "_" + name + "_not_null")
	f.instead(
		"ALTER TABLE "+a.name()+" ADD CONSTRAINT "+check+" CHECK ("+quote(name)+" IS NOT NULL) NOT VALID",
		"ALTER TABLE "+a.name()+" VALIDATE CONSTRAINT "+check,
		"ALTER TABLE "+a.name()+" ALTER COLUMN "+quote(name)+" SET NOT NULL",
		"ALTER TABLE "+a.name()+" DROP CONSTRAINT "+check)
}
