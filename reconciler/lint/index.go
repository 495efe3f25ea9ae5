package lint

import "strings"

// indexStatement looks at what makes, rebuilds or drops indexes.
func (r *run) indexStatement(n *node) bool {
	switch {
	case n.IndexStmt != nil:
		r.createIndex(n.IndexStmt)
	case n.ReindexStmt != nil:
		r.reindex(n.ReindexStmt)
	case n.DropStmt != nil && n.DropStmt.Type == objectIndex:
		r.dropIndexes(n.DropStmt)
	default:
		return false
	}
	return true
}

func (r *run) createIndex(s *indexStmt) {
	t := r.world.table(s.Relation)
	name := s.Relation.text()
	var columns []string
	for _, n := range s.Columns {
		if n.IndexElem != nil && n.IndexElem.Name != "" {
			columns = append(columns, n.IndexElem.Name)
		}
	}
	r.world.addIndex(t, s.Name)
	var f *found
	switch {
	case s.Concurrent && s.IfNotExists:
		f = r.report(ruleConcurrentlyExists, "If an earlier try has failed, an invalid index of the same name is there, and IF NOT EXISTS takes it for a good one.").
			on(t, s.Relation, ShareUpdateExclusive).work(BuildIndex).
			instead("-- leave IF NOT EXISTS out; after a failure: DROP INDEX CONCURRENTLY, and again")
	case s.Concurrent:
		f = r.report(ruleConcurrently, "The index is built beside reads and writes of %s; it waits for older transactions, and a failure leaves an invalid index to be dropped.", name).
			on(t, s.Relation, ShareUpdateExclusive).work(BuildIndex)
	case !s.Relation.Inherited:
		f = r.report(ruleBriefLock, "The index is made for %s only, not for its partitions, and stays invalid until each has one.", name).on(t, s.Relation, Share)
	default:
		f = r.report(ruleCreateIndex, "The index is built while nobody may write to %s.", name).on(t, s.Relation, Share).work(BuildIndex)
		f.instead(r.concurrently(t)...)
	}
	if s.Unique && !t.allFresh(columns) {
		f.breaks("rows of %s that the unique index refuses", name)
	}
}

// concurrently is the statement at hand with CONCURRENTLY.
func (r *run) concurrently(t *table) []string {
	if t.facts != nil && t.facts.Partitioned {
		return []string{"-- a partitioned table takes no CONCURRENTLY: CREATE INDEX … ON ONLY, then CONCURRENTLY on each partition, then ATTACH PARTITION"}
	}
	s := r.source.statements[r.at]
	for _, token := range r.source.tokens {
		if token.Start >= s.start && strings.EqualFold(r.source.file.SQL[token.Start:token.End], "INDEX") {
			sql := r.source.file.SQL[s.start:token.End] + " CONCURRENTLY" + r.source.file.SQL[token.End:s.end]
			return []string{"-- in a file of its own, outside of a transaction:", strings.TrimSpace(sql)}
		}
	}
	return []string{"-- CREATE INDEX CONCURRENTLY in a file of its own, outside of a transaction"}
}

func (r *run) dropIndexes(s *dropStmt) {
	for _, object := range s.Objects {
		if object.List == nil {
			continue
		}
		named := rangeOf(texts(object.List.Items))
		t := r.world.index(named.Schema, named.Name)
		f := r.dropIndex(s, named)
		if t != nil {
			mode := AccessExclusive
			if s.Concurrent {
				mode = ShareUpdateExclusive
			}
			f.on(t, t.named(), mode)
		}
		if s.Behavior == dropCascade {
			r.cascades("index " + named.text())
		}
	}
}

func (r *run) dropIndex(s *dropStmt, named *rangeVar) *found {
	if s.Concurrent {
		return r.report(ruleConcurrently, "The index %s is dropped beside reads and writes of its table.", named.text())
	}
	return r.report(ruleDropIndex, "Dropping the index %s locks its table in ACCESS EXCLUSIVE mode for a moment, which blocks reads and writes.", named.text()).
		instead("DROP INDEX CONCURRENTLY " + named.text())
}

func (r *run) reindex(s *reindexStmt) {
	concurrent := option(s.Options, "concurrently")
	mode, message := Share, "Indexes are rebuilt while nobody may write to %s or use them."
	if concurrent {
		mode, message = ShareUpdateExclusive, "Indexes are rebuilt beside reads and writes of %s; a failure leaves an invalid index to be dropped."
	}
	rule := ruleReindex
	if concurrent {
		rule = ruleConcurrently
	}
	var f *found
	switch s.Type {
	case reindexTable:
		f = r.report(rule, message, s.Relation.text()).on(r.world.table(s.Relation), s.Relation, mode)
	case reindexIndex:
		f = r.report(rule, message, "the table of "+s.Relation.text())
		if t := r.world.index(s.Relation.Schema, s.Relation.Name); t != nil {
			f.on(t, t.named(), mode)
		}
	default:
		f = r.report(rule, message, "any table of the schema or database")
	}
	f.work(BuildIndex)
	if !concurrent && s.Relation != nil {
		kind := "INDEX"
		if s.Type == reindexTable {
			kind = "TABLE"
		}
		f.instead("REINDEX " + kind + " CONCURRENTLY " + s.Relation.text())
	}
}
