package lint

import "strings"

// drop looks at DROP of anything but indexes.
func (r *run) drop(s *dropStmt) {
	switch s.Type {
	case objectTable, objectForeignTable:
		r.dropTables(s)
		return
	case objectTrigger, objectPolicy, objectRule:
		r.dropPart(s)
		return
	default:
	}
	for _, object := range s.Objects {
		name := objectName(object)
		f := r.report(ruleDropObject, "The %s %s goes.", s.Type.noun(), name)
		if s.Type == objectMatView && object.List != nil {
			named := rangeOf(texts(object.List.Items))
			t := r.world.table(named)
			f.on(t, named, AccessExclusive)
			r.world.drop(t)
		}
		f.breaks("the %s %s", s.Type.noun(), name)
		f.instead("-- drop it in a release after the last one whose code names it")
		if s.Behavior == dropCascade {
			r.cascades(s.Type.noun() + " " + name)
		}
	}
}

func (r *run) dropTables(s *dropStmt) {
	for _, object := range s.Objects {
		if object.List == nil {
			continue
		}
		named := rangeOf(texts(object.List.Items))
		t := r.world.table(named)
		f := r.report(ruleDropTable, "The table %s goes with all of its rows, and only a backup brings them back.", named.text()).on(t, named, AccessExclusive)
		for _, parent := range t.parents() {
			r.alsoParent(f, parent, AccessExclusive)
		}
		f.breaks("the table %s", named.text())
		f.instead("-- drop it in a release after the last one whose code names it")
		if len(f.Locks) > 1 {
			f.instead("-- drop its foreign keys first, each in a file of its own: they lock the tables they refer to")
		}
		if s.Behavior == dropCascade {
			r.cascades("table " + named.text())
		}
		r.world.drop(t)
	}
}

// dropPart looks at DROP of what belongs to a table: its name is the last of
// several.
func (r *run) dropPart(s *dropStmt) {
	for _, object := range s.Objects {
		if object.List == nil {
			continue
		}
		names := texts(object.List.Items)
		if len(names) < 2 {
			continue
		}
		part, named := names[len(names)-1], rangeOf(names[:len(names)-1])
		t := r.world.table(named)
		switch s.Type {
		case objectTrigger:
			r.report(ruleTrigger, "The trigger %s of %s goes; reads and writes wait for a moment.", quote(part), named.text()).on(t, named, AccessExclusive)
		case objectPolicy:
			r.report(rulePolicy, "The policy %s of %s goes, which changes what rows roles see.", quote(part), named.text()).on(t, named, AccessExclusive).
				breaks("the policy %s of %s, without which roles may see fewer rows", quote(part), named.text())
		default:
			r.report(ruleRewriteRule, "The rule %s of %s goes, which changes what statements on it do.", quote(part), named.text()).on(t, named, AccessExclusive).
				breaks("the rule %s of %s", quote(part), named.text())
		}
	}
}

// objectName is the name of an object in a DROP or RENAME.
func objectName(n *node) string {
	switch {
	case n == nil:
		return "of no name"
	case n.List != nil:
		return rangeOf(texts(n.List.Items)).text()
	case n.ObjectWithArgs != nil:
		return rangeOf(texts(n.ObjectWithArgs.Name)).text()
	case n.TypeName != nil:
		return rangeOf(texts(n.TypeName.Names)).text()
	case n.String != nil:
		return quote(n.String.Value)
	default:
		return "of no name"
	}
}

// rename looks at RENAME.
func (r *run) rename(s *renameStmt) {
	switch s.Type {
	case objectTable, objectForeignTable, objectMatView, objectView:
		r.renameTable(s)
	case objectColumn, objectAttribute:
		r.renameColumn(s)
	case objectTableConstraint:
		t := r.world.table(s.Relation)
		if c := t.constraints[s.Subname]; c != nil {
			delete(t.constraints, s.Subname)
			t.constraints[s.NewName] = c
		}
		r.brief(t, s.Relation, AccessExclusive)
	case objectIndex:
		if t := r.world.index(s.Relation.Schema, s.Relation.Name); t != nil {
			r.world.addIndex(t, s.NewName)
		}
	case objectTrigger, objectPolicy, objectRule:
		r.brief(r.world.table(s.Relation), s.Relation, AccessExclusive)
	case objectRole, objectDatabase, objectDomainConstraint:
	default:
		name := objectName(s.Object)
		if s.Relation != nil {
			name = s.Relation.text()
		}
		if s.Subname != "" {
			name = quote(s.Subname)
		}
		r.report(ruleRename, "The %s %s is called %s from now on.", s.Type.noun(), name, quote(s.NewName)).
			breaks("the %s %s under its old name", s.Type.noun(), name)
	}
}

func (r *run) renameTable(s *renameStmt) {
	t := r.world.table(s.Relation)
	name := s.Relation.text()
	f := r.report(ruleRename, "%s is called %s from now on, and there is no moment at which both the code of before and of after can run.", name, quote(s.NewName)).
		on(t, s.Relation, AccessExclusive)
	f.breaks("the %s %s under its old name", s.Type.noun(), name)
	f.instead(
		"-- in one transaction with the rename, for the code of before; dropped in a later release:",
		"CREATE VIEW "+name+" AS SELECT * FROM "+(&rangeVar{Schema: s.Relation.Schema, Name: s.NewName}).text())
	r.world.rename(t, t.schema()+"."+s.NewName)
}

func (r *run) renameColumn(s *renameStmt) {
	if s.Relation == nil {
		return
	}
	t := r.world.table(s.Relation)
	f := r.report(ruleRename, "Column %s of %s is called %s from now on, and there is no moment at which both the code of before and of after can run.",
		quote(s.Subname), s.Relation.text(), quote(s.NewName)).on(t, s.Relation, AccessExclusive)
	c := t.columns[s.Subname]
	if c == nil || !c.fresh {
		f.breaks("column %s of %s under its old name", quote(s.Subname), s.Relation.text())
	} else {
		f.harmless = "the column is new"
	}
	f.instead(
		"-- add the new column, write both, copy old rows in batches, read the new one, and drop the old one in a later release")
	if c != nil {
		delete(t.columns, s.Subname)
		t.columns[s.NewName] = c
	}
}

// moveSchema looks at SET SCHEMA, which is a rename too.
func (r *run) moveSchema(s *alterObjectSchema) {
	if s.Relation == nil {
		r.report(ruleRename, "The %s %s moves to the schema %s.", s.Type.noun(), objectName(s.Object), quote(s.NewSchema)).
			breaks("the %s %s in its old schema", s.Type.noun(), objectName(s.Object))
		return
	}
	t := r.world.table(s.Relation)
	r.report(ruleRename, "%s moves to the schema %s.", s.Relation.text(), quote(s.NewSchema)).on(t, s.Relation, AccessExclusive).
		breaks("%s in its old schema", s.Relation.text())
	r.world.rename(t, s.NewSchema+"."+strings.TrimPrefix(t.key, t.schema()+"."))
}
