package lint

// dataStatement looks at what changes rows.
func (r *run) dataStatement(n *node) bool {
	switch {
	case n.UpdateStmt != nil:
		r.with(n.UpdateStmt.With)
		r.update(n.UpdateStmt)
	case n.DeleteStmt != nil:
		r.with(n.DeleteStmt.With)
		r.delete(n.DeleteStmt)
	case n.InsertStmt != nil:
		r.with(n.InsertStmt.With)
		r.insert(n.InsertStmt)
	case n.MergeStmt != nil:
		r.with(n.MergeStmt.With)
		r.manyRows(n.MergeStmt.Relation, "MERGE")
	case n.CopyStmt != nil:
		r.copy(n.CopyStmt)
	case n.RefreshMatView != nil:
		r.refresh(n.RefreshMatView)
	default:
		return false
	}
	return true
}

// with looks at statements in a WITH.
func (r *run) with(clause *withClause) {
	if clause == nil {
		return
	}
	for _, n := range clause.CTEs {
		if n.CTE != nil && n.CTE.Query != nil {
			r.dataStatement(n.CTE.Query)
		}
	}
}

func (r *run) update(s *updateStmt) {
	if !whole(s.Where) {
		r.manyRows(s.Relation, "UPDATE")
		return
	}
	name := s.Relation.text()
	r.report(ruleMassUpdate, "One transaction changes all rows of %s: each stays locked until its end, and the table doubles on disk.", name).
		on(r.world.table(s.Relation), s.Relation, RowExclusive).work(RewriteRows).
		instead(
			"-- in batches by the primary key, each in a transaction of its own, with a pause:",
			"-- UPDATE "+name+" SET … WHERE id > 0 AND id <= 5000")
}

func (r *run) delete(s *deleteStmt) {
	if !whole(s.Where) {
		r.manyRows(s.Relation, "DELETE")
		return
	}
	name := s.Relation.text()
	r.report(ruleMassDelete, "All rows of %s are deleted in one transaction, and only a backup brings them back.", name).
		on(r.world.table(s.Relation), s.Relation, RowExclusive).work(RewriteRows).
		instead(
			"-- in batches by the primary key, each in a transaction of its own, with a pause:",
			"-- DELETE FROM "+name+" WHERE id > 0 AND id <= 5000")
}

// whole tells whether a condition is none, or one that a backfill has: that
// columns are null or not.
func whole(where *node) bool {
	switch {
	case where == nil, where.NullTest != nil:
		return true
	case where.Const != nil:
		return where.Const.Bool != nil && where.Const.Bool.Value
	case where.BoolExpr != nil && where.BoolExpr.Op == boolAnd:
		for _, part := range where.BoolExpr.Args {
			if !whole(part) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// manyRows reports that the number of rows is not known.
func (r *run) manyRows(named *rangeVar, what string) {
	t := r.world.table(named)
	if r.small(t, true) != "" {
		return
	}
	r.report(ruleManyRows, "How many rows of %s the %s changes in one transaction cannot be seen from the text.", named.text(), what).
		on(t, named, RowExclusive).work(RewriteRows)
}

func (r *run) insert(s *insertStmt) {
	if s.Source == nil || s.Source.SelectStmt == nil {
		return
	}
	r.with(s.Source.SelectStmt.With)
	if len(s.Source.SelectStmt.From) > 0 {
		r.manyRows(s.Relation, "INSERT … SELECT")
	}
}

func (r *run) copy(s *copyStmt) {
	switch {
	case !s.From:
	case s.File == "":
		r.report(ruleCopy, "COPY FROM STDIN reads from the connection, where a migration sends nothing.").
			instead("-- INSERT INTO " + s.Relation.text() + " … VALUES …")
	default:
		what := "a file"
		if s.Program {
			what = "a program"
		}
		r.report(ruleCopy, "COPY reads %s on the server's own machine, which is not part of the commit.", what)
	}
}

func (r *run) refresh(s *refreshMatView) {
	name := s.Relation.text()
	t := r.world.table(s.Relation)
	if s.Concurrent {
		r.report(ruleBriefLock, "%s is refreshed beside reads.", name).on(t, s.Relation, Exclusive).work(Scan)
		return
	}
	r.report(ruleRefresh, "Nobody may read %s until its query is done.", name).on(t, s.Relation, AccessExclusive).work(RewriteTable).
		instead("-- it needs a unique index on columns, for all rows:", "REFRESH MATERIALIZED VIEW CONCURRENTLY "+name)
}

func (r *run) truncate(s *truncateStmt) {
	f := r.report(ruleTruncate, "All rows go at once, and only a backup brings them back; readers with an older snapshot see an empty table.")
	for _, n := range s.Relations {
		if n.RangeVar == nil {
			continue
		}
		t := r.world.table(n.RangeVar)
		if f.main == nil && len(s.Relations) == 1 {
			f.main = t
		}
		if f.Table == "" {
			f.Table = n.RangeVar.text()
		}
		f.also(t, n.RangeVar.text(), AccessExclusive)
		f.instead("-- in batches, each in a transaction of its own: DELETE FROM " + n.RangeVar.text() + " WHERE id > 0 AND id <= 5000")
	}
	f.work(RewriteTable)
	if f.main != nil && f.main.empty() {
		f.harmless = "the table is empty"
	}
	if s.Behavior == dropCascade {
		r.report(ruleDropCascade, "CASCADE empties all tables that refer to %s, named nowhere.", f.Table)
	}
}

func (r *run) lockTables(s *lockStmt) {
	if s.Mode < 1 || s.Mode > len(Modes()) {
		return
	}
	mode := Modes()[s.Mode-1]
	var f *found
	if mode.strong() {
		f = r.report(ruleLockTable, "Tables are locked in %s mode until the transaction ends, which blocks %s.", mode, mode.Blocks()).
			instead("-- as late in the transaction and as weak a mode as will do, with a lock_timeout")
	} else {
		f = r.report(ruleBriefLock, "Tables are locked in %s mode, which blocks %s.", mode, mode.Blocks())
	}
	for _, n := range s.Relations {
		if n.RangeVar != nil {
			f.also(r.world.table(n.RangeVar), n.RangeVar.text(), mode)
		}
	}
	if len(f.Locks) > 0 {
		f.Table = f.Locks[0].Table
	}
}

func (r *run) cluster(s *clusterStmt) {
	if s.Relation == nil {
		r.report(ruleCluster, "All tables that were clustered before are written anew, each while nobody may use it.").work(RewriteTable)
		return
	}
	r.report(ruleCluster, "All of %s is written anew while nobody may read or write it.", s.Relation.text()).
		on(r.world.table(s.Relation), s.Relation, AccessExclusive).work(RewriteTable)
}

func (r *run) vacuum(s *vacuumStmt) {
	full := s.Vacuum && option(s.Options, "full")
	for _, n := range s.Relations {
		if n.VacuumRelation == nil || n.VacuumRelation.Relation == nil {
			continue
		}
		named := n.VacuumRelation.Relation
		if full {
			r.report(ruleVacuumFull, "All of %s is written anew while nobody may read or write it.", named.text()).
				on(r.world.table(named), named, AccessExclusive).work(RewriteTable).
				instead("VACUUM " + named.text())
			continue
		}
		r.brief(r.world.table(named), named, ShareUpdateExclusive)
	}
	if full && len(s.Relations) == 0 {
		r.report(ruleVacuumFull, "Every table of the database is written anew, each while nobody may use it.").work(RewriteTable)
	}
}
