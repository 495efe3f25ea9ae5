package lint

import (
	"fmt"
	"slices"
	"strings"
)

// strong tells whether a lock keeps reads or writes waiting.
func (m Mode) strong() bool {
	return slices.Index(Modes(), m) >= slices.Index(Modes(), Share)
}

// severalTables reports a transaction that takes strong locks on several
// tables: what locks them in another order meets it in a deadlock.
func (r *run) severalTables() {
	var names []string
	second := -1
	for _, lock := range r.tx.held {
		if lock.mode != AccessExclusive || lock.table.fresh || slices.Contains(names, lock.shown) {
			continue
		}
		names = append(names, lock.shown)
		if len(names) == 2 {
			second = lock.at
		}
	}
	if second < 0 {
		return
	}
	r.at = second
	f := r.report(ruleSeveralTables,
		"One transaction takes ACCESS EXCLUSIVE locks on %d tables (%s) and keeps each until it ends; code that uses them in another order meets it in a deadlock.",
		len(names), some(names))
	f.instead("-- one table in a file, or lock them in the order in which the application does, with a lock_timeout")
}

// some names a few of many.
func some(names []string) string {
	const few = 4
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// underLock reports that rows are read or changed while an earlier statement
// of the transaction keeps others waiting. Where the statement itself is
// refused, that says enough.
func (r *run) underLock(own []*found) {
	holding := slices.IndexFunc(r.tx.held, func(h held) bool { return h.mode.strong() && !h.table.fresh })
	if holding < 0 {
		return
	}
	if slices.ContainsFunc(own, func(f *found) bool { return r.rules[f.Rule].Level == Block }) {
		return
	}
	for _, f := range own {
		if f.Work == NoWork || f.main == nil || r.small(f.main, true) != "" {
			continue
		}
		lock := r.tx.held[holding]
		more := r.report(ruleWorkUnderLock, "This goes through rows of %s while the transaction holds %s on %s since line %d, so those who use %s wait until it is done.",
			f.Table, lock.mode, lock.shown, r.source.statements[lock.at].line, lock.shown)
		more.main, more.Table = f.main, f.Table
		more.Locks, more.Work = f.Locks, f.Work
		more.instead("-- put the statement into a file of its own")
		return
	}
}

// needsNoTransaction reports a statement that PostgreSQL refuses in a transaction.
func (r *run) needsNoTransaction(s *statement) {
	what, split := outside(s.node)
	if what == "" || !r.tx.together {
		return
	}
	f := r.report(ruleInTransaction, "%s cannot run in a transaction, and beside other statements in one file there always is one.", what)
	f.instead("-- put the statement into a file of its own, without BEGIN")
	if split != "" {
		f.Table = split
	}
}

// outside names what cannot run in a transaction, and the table it is about.
func outside(n *node) (what, table string) {
	switch {
	case n.IndexStmt != nil && n.IndexStmt.Concurrent:
		return "CREATE INDEX CONCURRENTLY", n.IndexStmt.Relation.text()
	case n.DropStmt != nil && n.DropStmt.Concurrent:
		return "DROP INDEX CONCURRENTLY", ""
	case n.ReindexStmt != nil:
		return outsideReindex(n.ReindexStmt)
	case n.VacuumStmt != nil && n.VacuumStmt.Vacuum:
		return "VACUUM", ""
	case n.ClusterStmt != nil && n.ClusterStmt.Relation == nil:
		return "CLUSTER of all tables", ""
	case n.AlterTableStmt != nil && detachesConcurrently(n.AlterTableStmt):
		return "DETACH PARTITION CONCURRENTLY", n.AlterTableStmt.Relation.text()
	}
	return outsideByKind(n.Kind), ""
}

func outsideReindex(s *reindexStmt) (what, table string) {
	switch {
	case s.Type != reindexIndex && s.Type != reindexTable:
		return "REINDEX of a schema or database", ""
	case option(s.Options, "concurrently"):
		return "REINDEX CONCURRENTLY", s.Relation.text()
	default:
		return "", ""
	}
}

func outsideByKind(kind int) string {
	switch kind {
	case kindCreateDatabase:
		return "CREATE DATABASE"
	case kindDropDatabase:
		return "DROP DATABASE"
	case kindCreateTablespace:
		return "CREATE TABLESPACE"
	case kindDropTablespace:
		return "DROP TABLESPACE"
	case kindAlterSystem:
		return "ALTER SYSTEM"
	default:
		return ""
	}
}

func detachesConcurrently(s *alterTableStmt) bool {
	return slices.ContainsFunc(s.Commands, func(n *node) bool {
		c := n.AlterTableCmd
		return c != nil && c.Type == alterDetachPartition && c.Def != nil && c.Def.PartitionCmd != nil && c.Def.PartitionCmd.Concurrent
	})
}

// option tells whether an option is there and not switched off.
func option(options []*node, name string) bool {
	return slices.ContainsFunc(options, func(n *node) bool {
		if n.DefElem == nil || n.DefElem.Name != name {
			return false
		}
		arg := n.DefElem.Arg
		off := arg != nil && (arg.String != nil && slices.Contains([]string{"false", "off", "0"}, strings.ToLower(arg.String.Value)) ||
			arg.Integer != nil && arg.Integer.Value == 0)
		return !off
	})
}
