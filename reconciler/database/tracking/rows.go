package tracking

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// selectFrom builds a SELECT of columns by their names in lower case. Names of
// columns are quoted as they are in the table: Liquibase's may be in capitals.
// What the table lacks is NULL; the casts make one type of what tools' versions
// differ in. The order is a list of the same names.
func selectFrom(r relation, columns []string, order ...string) string {
	real := map[string]string{}
	for _, c := range r.columns {
		real[strings.ToLower(c.name)] = pgx.Identifier{c.name}.Sanitize()
	}
	var parts []string
	for _, c := range columns {
		name, cast, _ := strings.Cut(c, "::")
		expression, ok := real[name]
		if !ok {
			expression = "NULL"
		}
		parts = append(parts, expression+"::"+cast)
	}
	sql := "SELECT " + strings.Join(parts, ", ") + " FROM " + pgx.Identifier{r.schema, r.table}.Sanitize()
	if len(order) == 0 {
		return sql
	}
	for i, name := range order {
		order[i] = real[name]
	}
	return sql + " ORDER BY " + strings.Join(order, ", ")
}

func (f Found) relation() relation {
	return relation{schema: f.Schema, table: f.Table, columns: f.columns}
}

// collect reads the columns of all rows of a table in an order.
func collect[T any](ctx context.Context, tx pgx.Tx, sql string, scan func(pgx.CollectableRow) (T, error)) ([]T, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}
