package tracking

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Found is a tracking table.
type Found struct {
	// Tool is whose table it is by its columns. It is empty for a table that
	// has the name of a tool's, or the name of Options, and other columns.
	Tool          Tool
	Schema, Table string
	// Companions are other tables of the tool in the same schema: the lock
	// of Liquibase, the metadata of Rails.
	Companions []string

	columns []column
	// lock is Liquibase's other table.
	lock *relation
	// usual is true when the table has the name that its tool, or Options,
	// gives it.
	usual bool
	// onPath is the place of the schema on the search path, from 1; 0 when
	// it is not there.
	onPath int
}

// String is the full name of the table.
func (f Found) String() string { return f.Schema + "." + f.Table }

// Ignore lists what a comparison of schemas leaves out, in the form of
// schema.Options.Ignore of the package beside this one.
func (f Found) Ignore() []string {
	if f.Tool == Atlas && f.Schema == atlasSchema {
		return []string{f.Schema + ".*"}
	}
	out := []string{f.String()}
	for _, companion := range f.Companions {
		out = append(out, f.Schema+"."+companion)
	}
	return out
}

type column struct{ name, kind string }

// relation is a table of the catalogue.
type relation struct {
	schema, table string
	onPath        int
	columns       []column
}

// relationsQuery lists the tables that may be a tool's: by their name, or by a
// column that a tool's table always has. It reads the catalogue, which shows
// also tables that the role may not read.
const relationsQuery = `
SELECT n.nspname::text, c.relname::text,
	coalesce(pg_catalog.array_position(pg_catalog.current_schemas(false), n.nspname), 0),
	pg_catalog.array_agg(a.attname::text ORDER BY a.attnum),
	pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, NULL) ORDER BY a.attnum)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
	AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND ($1 = '' OR n.nspname = $1)
GROUP BY n.nspname, c.relname
HAVING pg_catalog.lower(c.relname) = ANY ($2) OR pg_catalog.count(*) <= 20 AND pg_catalog.bool_or(pg_catalog.lower(a.attname) = ANY ($3))
ORDER BY 1, 2`

// keyColumns are columns of which every tool's table has one.
func keyColumns() []string {
	return []string{"version", "version_num", "applied", "installed_rank", "version_id", "migration_name", "md5sum", "lockgranted"}
}

// Detect finds the tracking tables of a database: those that have the columns
// of a known tool, whatever their name, and those that have a tool's usual
// name, whatever their columns. They are sorted by schema and name.
func Detect(ctx context.Context, q Querier, options Options) ([]Found, error) {
	var out []Found
	err := within(ctx, q, options, func(tx pgx.Tx) error {
		var err error
		out, err = detect(ctx, tx, options)
		return err
	})
	return out, err
}

func detect(ctx context.Context, tx pgx.Tx, options Options) ([]Found, error) {
	relations, err := listRelations(ctx, tx, options)
	if err != nil {
		return nil, explain("tracking tables", err)
	}
	var out []Found
	for _, r := range relations {
		if found, ok := classify(r, options); ok {
			found.accompany(relations)
			out = append(out, found)
		}
	}
	return out, nil
}

func listRelations(ctx context.Context, tx pgx.Tx, options Options) ([]relation, error) {
	names := []string{railsMetadata, strings.ToLower(options.Table)}
	for _, s := range signatures() {
		names = append(names, s.table)
	}
	rows, err := tx.Query(ctx, relationsQuery, options.Schema, names, keyColumns())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (relation, error) {
		var r relation
		var columns, kinds []string
		if err := row.Scan(&r.schema, &r.table, &r.onPath, &columns, &kinds); err != nil {
			return relation{}, err
		}
		for i := range columns {
			r.columns = append(r.columns, column{columns[i], kinds[i]})
		}
		return r, nil
	})
}

// classify tells whose table it is, if it is any tool's.
func classify(r relation, options Options) (Found, bool) {
	found := Found{Schema: r.schema, Table: r.table, onPath: r.onPath, columns: r.columns, usual: options.Table != "" && r.table == options.Table}
	suspect := found.usual
	for _, s := range signatures() {
		named := strings.EqualFold(r.table, s.table)
		suspect = suspect || named
		if s.matches(r.columns) && (!s.named || named || found.usual || strings.HasSuffix(r.table, s.table)) {
			found.Tool = s.tool
			found.usual = found.usual || named
			return found, true
		}
	}
	// A suspect has the name and not the columns.
	found.usual = true
	return found, suspect
}

// accompany finds the other tables of the tool in the same schema.
func (f *Found) accompany(relations []relation) {
	for _, r := range relations {
		if r.schema != f.Schema {
			continue
		}
		switch {
		case f.Tool == Rails && r.table == railsMetadata:
			f.Companions = append(f.Companions, r.table)
		case f.Tool == Liquibase && lockSignature().matches(r.columns):
			f.Companions = append(f.Companions, r.table)
			f.lock = &r
		}
	}
}

// choose finds the one table that a tool would use: that of the schema which
// comes first on the search path, and there the one with the usual name. It
// returns several when nothing tells between them.
func choose(candidates []Found) []Found {
	compare := func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.distance(), b.distance()), cmp.Compare(a.oddity(), b.oddity()))
	}
	slices.SortStableFunc(candidates, compare)
	end := 0
	for end < len(candidates) && compare(candidates[end], candidates[0]) == 0 {
		end++
	}
	return candidates[:end]
}

// distance orders schemas by the search path, with all others behind it.
func (f Found) distance() int {
	if f.onPath == 0 {
		return math.MaxInt
	}
	return f.onPath
}

// oddity orders the usual name before all others.
func (f Found) oddity() int {
	if f.usual {
		return 0
	}
	return 1
}

// compareNumbers orders texts that are numbers by their value.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
