package schema

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// query reads objects from the catalogue. Its first columns are those of
// header; each further column is a field by its name, as text, and NULL or
// empty where the object has nothing of the kind.
type query struct {
	// what is read, for errors.
	what string
	sql  string
}

// address is how the catalogue points at an object or a column of it.
type address struct {
	class, object uint32
	column        int32
}

// header is what every row starts with.
type header struct {
	kind    Kind
	address address
	// path are the parts of the name, not quoted.
	path []string
	// suffix follows the name as it is: the arguments of a function.
	suffix string
	// table is the schema and the name of the table the object is part of.
	table []string
}

// headerColumns is how many columns a header has.
const headerColumns = 7

// reader collects objects.
type reader struct {
	options Options
	objects []Object
	// seen finds the object of an address.
	seen map[address]int
}

func (r *reader) read(ctx context.Context, tx pgx.Tx, q query) error {
	schemas := r.options.Schemas
	if schemas == nil {
		schemas = []string{}
	}
	rows, err := tx.Query(ctx, q.sql, schemas)
	if err != nil {
		return explain(q.what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := r.scan(rows); err != nil {
			return explain(q.what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return explain(q.what, err)
	}
	return nil
}

func (r *reader) scan(rows pgx.Rows) error {
	var h header
	fields := rows.FieldDescriptions()[headerColumns:]
	values := make([]*string, len(fields))
	targets := []any{&h.kind, &h.address.class, &h.address.object, &h.address.column, &h.path, &h.suffix, &h.table}
	for i := range values {
		targets = append(targets, &values[i])
	}
	if err := rows.Scan(targets...); err != nil {
		return err
	}
	if r.ignored(h) {
		return nil
	}
	object := Object{Kind: h.kind, Name: qualified(h.path) + h.suffix, Table: qualified(h.table)}
	for i, value := range values {
		name := Field(fields[i].Name)
		switch {
		case value == nil && name == FieldDefinition:
			return fmt.Errorf("%s %s: %w", object.Kind, object.Name, ErrChanged)
		case value == nil || *value == "":
		default:
			if object.Fields == nil {
				object.Fields = map[Field]string{}
			}
			object.Fields[name] = spell(h.kind, name, *value)
		}
	}
	r.seen[h.address] = len(r.objects)
	r.objects = append(r.objects, object)
	return nil
}

// spell gives expressions one spelling. Comments are nobody's expression, and
// of functions, which may be long, only the digest is kept.
func spell(kind Kind, field Field, value string) string {
	if field == FieldComment || field == FieldOrder {
		return value
	}
	value = canonical(value)
	if field == FieldDefinition && slices.Contains([]Kind{KindFunction, KindProcedure, KindAggregate}, kind) {
		sum := sha256.Sum256([]byte(value))
		return hex.EncodeToString(sum[:])
	}
	return value
}

// ignored tells whether the object is, or is part of, what is left out.
func (r *reader) ignored(h header) bool {
	place := h.table
	if place == nil {
		place = h.path
	}
	names := []string{}
	if len(place) == 2 && isRelation(h) {
		names = append(names, place[1], place[0]+"."+place[1])
	}
	if h.kind == KindSchema || len(place) >= 2 {
		names = append(names, place[0]+".*")
	}
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(r.options.Ignore, name) })
}

// isRelation tells whether the object is a table or part of one: a function
// that happens to have the name of an ignored table stays.
func isRelation(h header) bool {
	return h.table != nil || slices.Contains([]Kind{KindTable, KindView, KindMaterializedView}, h.kind)
}

// commentsQuery lists the comments of what a snapshot may hold.
const commentsQuery = `
SELECT d.classoid, d.objoid, d.objsubid, d.description
FROM pg_description d
WHERE d.objoid >= 16384 OR d.classoid = 'pg_namespace'::regclass`

func (r *reader) readComments(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, commentsQuery)
	if err != nil {
		return explain("comments", err)
	}
	defer rows.Close()
	for rows.Next() {
		var at address
		var text string
		if err := rows.Scan(&at.class, &at.object, &at.column, &text); err != nil {
			return explain("comments", err)
		}
		if i, ok := r.seen[at]; ok {
			if r.objects[i].Fields == nil {
				r.objects[i].Fields = map[Field]string{}
			}
			r.objects[i].Fields[FieldComment] = text
		}
	}
	if err := rows.Err(); err != nil {
		return explain("comments", err)
	}
	return nil
}
