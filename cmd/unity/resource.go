package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// resource is a table that the API gives access to.
type resource struct {
	// name of the table, which is also its path below /api.
	name   string
	fields []field
	// shared resources belong to no tenant.
	shared bool
}

// field is a column that clients may write.
type field struct {
	name     string
	kind     kind
	required bool
}

// kind is the type of a field, in the words of JSON Schema.
type kind string

const (
	kindString  kind = "string"
	kindBoolean kind = "boolean"
)

// resources are what the API serves. They are columns that are there in
// every schema version, so all builds can use all of them.
func resources() []resource {
	return []resource{
		{name: "users", fields: []field{
			{name: "username", kind: kindString, required: true},
			{name: "email", kind: kindString, required: true},
			{name: "full_name", kind: kindString},
			{name: "role", kind: kindString},
		}},
		{name: "alerts", fields: []field{
			{name: "title", kind: kindString, required: true},
			{name: "severity", kind: kindString},
			{name: "resolved", kind: kindBoolean},
		}},
		{name: "settings", fields: []field{
			{name: "key", kind: kindString, required: true},
			{name: "value", kind: kindString, required: true},
		}},
		{name: "tenants", shared: true, fields: []field{
			{name: "name", kind: kindString, required: true},
			{name: "is_active", kind: kindBoolean},
		}},
	}
}

// statement is SQL with its arguments.
type statement struct {
	sql  string
	args []any
}

// bind adds an argument and returns its placeholder.
func (s *statement) bind(value any) string {
	s.args = append(s.args, value)
	return "$" + strconv.Itoa(len(s.args))
}

// table writes the statements on one resource. With a tenant, each of them
// reaches the rows of that tenant only.
type table struct {
	resource
	tenant *string
}

// columns are named one by one, never by *: a migration that adds a column
// must not change what a statement returns.
func (t table) columns() string {
	columns := []string{quote("id")}
	for _, field := range t.fields {
		columns = append(columns, quote(field.name))
	}
	if t.tenant != nil {
		columns = append(columns, quote("tenant_id"))
	}
	return strings.Join(columns, ", ")
}

// list selects rows in the order of their ids, from the one after.
func (t table) list(after int64, limit int) statement {
	var s statement
	where := t.where(&s, ">", after)
	s.sql = fmt.Sprintf("SELECT %s FROM %s %s ORDER BY id LIMIT %s", t.columns(), quote(t.name), where, s.bind(limit))
	return s
}

func (t table) get(id int64) statement {
	var s statement
	s.sql = fmt.Sprintf("SELECT %s FROM %s %s", t.columns(), quote(t.name), t.where(&s, "=", id))
	return s
}

func (t table) insert(values map[string]any) statement {
	var s statement
	var columns, places []string
	for _, name := range t.written(values) {
		columns, places = append(columns, quote(name)), append(places, s.bind(values[name]))
	}
	if t.tenant != nil {
		columns, places = append(columns, quote("tenant_id")), append(places, s.bind(*t.tenant))
	}
	s.sql = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) RETURNING %s",
		quote(t.name), strings.Join(columns, ", "), strings.Join(places, ", "), t.columns())
	return s
}

func (t table) update(id int64, values map[string]any) statement {
	var s statement
	var sets []string
	for _, name := range t.written(values) {
		sets = append(sets, quote(name)+" = "+s.bind(values[name]))
	}
	s.sql = fmt.Sprintf("UPDATE %s SET %s %s RETURNING %s", quote(t.name), strings.Join(sets, ", "), t.where(&s, "=", id), t.columns())
	return s
}

func (t table) remove(id int64) statement {
	var s statement
	s.sql = fmt.Sprintf("DELETE FROM %s %s RETURNING id", quote(t.name), t.where(&s, "=", id))
	return s
}

// where compares the id and keeps to the tenant. The cast lets any id be asked
// for, also one that is too large for a table with short ids.
func (t table) where(s *statement, operator string, id int64) string {
	where := "WHERE id " + operator + " " + s.bind(id) + "::bigint"
	if t.tenant != nil {
		where += " AND tenant_id = " + s.bind(*t.tenant)
	}
	return where
}

// written are the fields of the values, in the order of the table.
func (t table) written(values map[string]any) []string {
	var names []string
	for _, field := range t.fields {
		if _, ok := values[field.name]; ok {
			names = append(names, field.name)
		}
	}
	return names
}

func (r resource) field(name string) (field, bool) {
	i := slices.IndexFunc(r.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return r.fields[i], true
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
