package lint

// tableStatement looks at what makes, changes or drops tables.
func (r *run) tableStatement(n *node) bool {
	switch {
	case n.CreateStmt != nil:
		r.createTable(n.CreateStmt)
	case n.CreateTableAs != nil:
		r.createTableAs(n.CreateTableAs)
	case n.CreateSchemaStmt != nil:
		r.createSchema(n.CreateSchemaStmt)
	case n.AlterTableStmt != nil:
		r.alterTable(n.AlterTableStmt)
	case n.RenameStmt != nil:
		r.rename(n.RenameStmt)
	case n.AlterObjectSchema != nil:
		r.moveSchema(n.AlterObjectSchema)
	case n.TruncateStmt != nil:
		r.truncate(n.TruncateStmt)
	case n.LockStmt != nil:
		r.lockTables(n.LockStmt)
	case n.ClusterStmt != nil:
		r.cluster(n.ClusterStmt)
	case n.VacuumStmt != nil:
		r.vacuum(n.VacuumStmt)
	default:
		return false
	}
	return true
}

// brief reports a lock that is taken and nothing else. What is new is locked
// from nobody.
func (r *run) brief(t *table, named *rangeVar, mode Mode) {
	if t.fresh || named == nil {
		return
	}
	r.report(ruleBriefLock, "%s is locked in %s mode for a moment, which blocks %s; behind a long transaction it waits, and others wait behind it.",
		named.text(), mode, mode.Blocks()).on(t, named, mode)
}

func (r *run) createTable(s *createStmt) {
	if s.IfNotExists && r.world.exists(s.Relation) {
		return
	}
	t := r.world.create(s.Relation, r.source.file.Applied)
	for _, parent := range s.Parents {
		if parent.RangeVar != nil {
			mode := ShareUpdateExclusive
			if s.PartitionOf != nil {
				mode = AccessExclusive
			}
			r.brief(r.world.table(parent.RangeVar), parent.RangeVar, mode)
		}
	}
	for _, element := range append(s.Elements, s.Constraints...) {
		switch {
		case element.ColumnDef != nil:
			made := r.learnColumn(t, element.ColumnDef)
			for _, c := range made.foreign {
				r.createdReference(c.Parent)
			}
		case element.Constraint != nil:
			r.learnConstraint(t, element.Constraint, "")
			if element.Constraint.Type == constraintForeign {
				r.createdReference(element.Constraint.Parent)
			}
		}
	}
}

// createdReference reports the lock on the table that a new one refers to.
func (r *run) createdReference(parent *rangeVar) {
	r.brief(r.world.table(parent), parent, ShareRowExclusive)
}

// createSchema looks at what is created in the same statement.
func (r *run) createSchema(s *createSchemaStmt) {
	for _, element := range s.Elements {
		if table := element.CreateStmt; table != nil && table.Relation.Schema == "" {
			table.Relation.Schema = s.Name
		}
		r.judge(&statement{node: element})
	}
}

func (r *run) createTableAs(s *createTableAs) {
	if s.Into != nil && s.Into.Relation != nil {
		r.world.create(s.Into.Relation, r.source.file.Applied)
	}
}

// alterTable looks at each command of ALTER TABLE.
func (r *run) alterTable(s *alterTableStmt) {
	switch s.Type {
	case objectTable, objectForeignTable, objectMatView:
	default:
		r.alterOther(s)
		return
	}
	t := r.world.table(s.Relation)
	if s.Relation != nil && s.Relation.Persistence == "t" {
		t.fresh = true
	}
	a := alteration{run: r, table: t, named: s.Relation}
	for _, n := range s.Commands {
		if c := n.AlterTableCmd; c != nil {
			a.command(c)
		}
	}
}

// alteration is an ALTER TABLE.
type alteration struct {
	*run
	table *table
	named *rangeVar
}

func (a alteration) name() string { return a.named.text() }

// report adds a finding with a lock on the altered table.
func (a alteration) report(rule string, mode Mode, message string, arguments ...any) *found {
	return a.run.report(rule, message, arguments...).on(a.table, a.named, mode)
}

func (a alteration) command(c *alterTableCmd) {
	for _, look := range []func(*alterTableCmd) bool{a.columnCommand, a.constraintCommand, a.storageCommand, a.otherCommand} {
		if look(c) {
			return
		}
	}
	a.brief(a.table, a.named, AccessExclusive)
}

// storageCommand looks at what moves or writes anew the rows of a table.
func (a alteration) storageCommand(c *alterTableCmd) bool {
	rewrite := func(rule, what string) {
		a.report(rule, AccessExclusive, "%s writes all of %s anew while nobody may read or write it.", what, a.name()).work(RewriteTable)
	}
	switch c.Type {
	case alterSetLogged:
		rewrite(ruleSetLogged, "SET LOGGED")
	case alterSetUnlogged:
		rewrite(ruleSetLogged, "SET UNLOGGED")
	case alterSetTablespace:
		rewrite(ruleSetTablespace, "SET TABLESPACE")
	case alterSetAccessMethod:
		rewrite(ruleSetAccessMethod, "SET ACCESS METHOD")
	default:
		return false
	}
	return true
}

func (a alteration) otherCommand(c *alterTableCmd) bool {
	switch c.Type {
	case alterSetStatistics, alterSetOptions, alterResetOptions, alterClusterOn, alterDropCluster, alterSetRelOptions, alterResetRelOptions:
		a.brief(a.table, a.named, ShareUpdateExclusive)
	case alterDisableTrigger, alterDisableTriggers, alterDisableUser:
		a.report(ruleDisableTrigger, ShareRowExclusive,
			"A disabled trigger of %s does not run for anybody, also not for those who write meanwhile, and what it would have checked stays unchecked.", a.name())
	case alterEnableTrigger, alterEnableAlways, alterEnableReplica, alterEnableTriggers, alterEnableUser:
		a.report(ruleTrigger, ShareRowExclusive, "A trigger of %s is enabled; writes wait for a moment.", a.name())
	case alterEnableRowSecurity, alterDisableRowSecurity, alterForceRowSecurity, alterNoForceRowSecurity:
		a.rowSecurity(c)
	case alterAttachPartition:
		a.attach(c)
	case alterDetachPartition, alterDetachFinalize:
		a.detach(c)
	case alterChangeOwner:
		a.report(ruleOwner, AccessExclusive, "%s gets another owner.", a.name()).
			breaks("rights that the role of the code of before had as owner of %s", a.name())
	default:
		return false
	}
	return true
}

func (a alteration) rowSecurity(c *alterTableCmd) {
	f := a.report(ruleRowSecurity, AccessExclusive, "Row-level security of %s is switched, which changes what rows each role sees.", a.name())
	if c.Type == alterEnableRowSecurity || c.Type == alterForceRowSecurity {
		f.breaks("policies on %s: code that does not set what they ask for sees no rows and may add none", a.name())
	}
}

func (a alteration) attach(c *alterTableCmd) {
	f := a.report(ruleAttachPartition, ShareUpdateExclusive, "A table becomes a partition of %s, and nobody may use it while all of its rows are read.", a.name())
	if c.Def == nil || c.Def.PartitionCmd == nil {
		return
	}
	part := c.Def.PartitionCmd.Name
	t := a.world.table(part)
	f.also(t, part.text(), AccessExclusive).work(Scan)
	f.main, f.Table = t, part.text()
	f.instead(
		"-- a validated CHECK with the bounds of the partition saves the scan:",
		"-- ALTER TABLE "+part.text()+" ADD CONSTRAINT partition_bounds CHECK (…) NOT VALID",
		"ALTER TABLE "+part.text()+" VALIDATE CONSTRAINT partition_bounds",
		"-- then ATTACH PARTITION")
}

func (a alteration) detach(c *alterTableCmd) {
	concurrent := c.Type == alterDetachFinalize || c.Def != nil && c.Def.PartitionCmd != nil && c.Def.PartitionCmd.Concurrent
	mode, message := AccessExclusive, "A partition of %s is detached under locks on both."
	if concurrent {
		mode, message = ShareUpdateExclusive, "A partition of %s is detached beside reads and writes."
	}
	f := a.report(ruleDetachPartition, mode, message, a.name())
	f.breaks("rows that are no longer in %s", a.name())
	if c.Def == nil || c.Def.PartitionCmd == nil {
		return
	}
	part := c.Def.PartitionCmd.Name
	f.also(a.world.table(part), part.text(), AccessExclusive)
	if !concurrent {
		f.instead("ALTER TABLE " + a.name() + " DETACH PARTITION " + part.text() + " CONCURRENTLY")
	}
}

// alterOther looks at ALTER TABLE and its kin on what is not a table.
func (r *run) alterOther(s *alterTableStmt) {
	for _, n := range s.Commands {
		c := n.AlterTableCmd
		switch {
		case c == nil:
		case c.Type == alterChangeOwner:
			r.report(ruleOwner, "The %s %s gets another owner.", s.Type.noun(), s.Relation.text()).
				breaks("rights that the role of the code of before had as owner of %s", s.Relation.text())
		case s.Type == objectType_ && c.Type == alterDropColumn:
			r.report(ruleDropObject, "The type %s loses the attribute %s.", s.Relation.text(), quote(c.Name)).
				breaks("the attribute %s of the type %s", quote(c.Name), s.Relation.text())
		}
	}
}
