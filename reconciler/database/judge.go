package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// judge compares the version table with the files, before anything runs. Only
// what is certain is refused: without a record of what ran, an older file that
// came late, or was edited, cannot be told (D9).
func (s *session) judge(ctx context.Context, current version, files folder) error {
	switch {
	case current.dirty:
		return s.explainDirty(ctx, current, files)
	case current.known && uint64(current.number) > files.latest():
		return reconciler.Terminalf("DatabaseNewer",
			"the database is at version %d, the newest file in this commit is %d: deliver a commit that has the file, the schema is never taken back by itself", current.number, files.latest())
	case current.known:
		if _, ok := files.upFile(uint64(current.number)); !ok {
			return reconciler.Terminalf("VersionUnknown",
				"the database is at version %d, and this commit has newer files but not that one: deliver a commit that has it", current.number)
		}
	}
	return nil
}

// explainDirty says what a dirty row means and what a person can do about it.
// It is never repaired here: what is half done can only be seen in the schema.
func (s *session) explainDirty(ctx context.Context, current version, files folder) error {
	name := "the file of that version"
	if file, ok := files.upFile(uint64(max(0, current.number))); ok {
		name = file.name
	}
	text := fmt.Sprintf("version %d is marked dirty: a migration stopped half-way; compare the schema with %s, then either finish it by hand and run `migrate force %d`, or undo it by hand and force the version before",
		current.number, name, current.number)
	broken, err := invalidIndexes(ctx, s.conn)
	if err != nil {
		return s.settings.explainSQL("invalid indexes", err)
	}
	return reconciler.Terminalf("DatabaseDirty", "%s%s", text, describeIndexes(broken))
}

// index is an index that PostgreSQL does not use.
type index struct {
	oid  uint32
	name string
}

// invalidIndexes lists the indexes that a CREATE INDEX CONCURRENTLY left
// unfinished, or is building just now.
func invalidIndexes(ctx context.Context, q querier) ([]index, error) {
	rows, err := q.Query(ctx, `
SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
ORDER BY 2`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []index
	for rows.Next() {
		var found index
		if err := rows.Scan(&found.oid, &found.name); err != nil {
			return nil, err
		}
		out = append(out, found)
	}
	return out, rows.Err()
}

// added are the indexes of after that are not among before.
func added(before, after []index) []index {
	known := map[uint32]bool{}
	for _, found := range before {
		known[found.oid] = true
	}
	var out []index
	for _, found := range after {
		if !known[found.oid] {
			out = append(out, found)
		}
	}
	return out
}

// describeIndexes is the end of a sentence about invalid indexes.
func describeIndexes(broken []index) string {
	if len(broken) == 0 {
		return ""
	}
	names := make([]string, len(broken))
	for i, found := range broken {
		names[i] = found.name
	}
	return "; not valid, to be dropped first: index " + strings.Join(names, ", ")
}
