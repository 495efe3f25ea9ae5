package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bounds of a request.
const (
	pageSize     = 100
	maxBody      = 64 << 10
	queryTimeout = 10 * time.Second
)

// crud serves one resource.
type crud struct {
	*server
	resource resource
}

func (c crud) list(w http.ResponseWriter, r *http.Request) {
	var after int64
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			c.fail(w, r, invalid("after is %q: use the id of the last item seen", text))
			return
		}
	}
	table, err := c.table(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	rows, err := c.query(r.Context(), table.list(after, pageSize))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"items": rows})
}

func (c crud) create(w http.ResponseWriter, r *http.Request) {
	values, err := c.body(w, r)
	if err == nil {
		err = c.complete(values)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.one(w, r, http.StatusCreated, func(t table) statement { return t.insert(values) })
}

func (c crud) get(w http.ResponseWriter, r *http.Request) {
	c.withID(w, r, http.StatusOK, table.get)
}

func (c crud) update(w http.ResponseWriter, r *http.Request) {
	values, err := c.body(w, r)
	if err == nil && len(values) == 0 {
		err = invalid("nothing to change: the body names no field")
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.withID(w, r, http.StatusOK, func(t table, id int64) statement { return t.update(id, values) })
}

func (c crud) remove(w http.ResponseWriter, r *http.Request) {
	c.withID(w, r, http.StatusNoContent, table.remove)
}

// withID runs a statement on the row that the path names.
func (c crud) withID(w http.ResponseWriter, r *http.Request, status int, write func(table, int64) statement) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		c.fail(w, r, invalid("id is %q: use a number", r.PathValue("id")))
		return
	}
	c.one(w, r, status, func(t table) statement { return write(t, id) })
}

// one runs a statement that returns one row, and replies with it.
func (c crud) one(w http.ResponseWriter, r *http.Request, status int, write func(table) statement) {
	table, err := c.table(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	rows, err := c.query(r.Context(), write(table))
	switch {
	case err != nil:
		c.fail(w, r, err)
	case len(rows) == 0:
		c.fail(w, r, &requestError{http.StatusNotFound, fmt.Sprintf("%s: no such row", c.resource.name)})
	case status == http.StatusNoContent:
		w.WriteHeader(status)
	default:
		reply(w, status, rows[0])
	}
}

// table is the resource as this request may see it.
func (c crud) table(r *http.Request) (table, error) {
	if c.resource.shared || !c.build.tenants {
		return table{resource: c.resource}, nil
	}
	tenant, err := tenantOf(r)
	return table{resource: c.resource, tenant: &tenant}, err
}

func (c crud) query(ctx context.Context, s statement) ([]map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := c.pool.Query(ctx, s.sql, s.args...)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", c.resource.name, err)
	}
	items, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", c.resource.name, err)
	}
	return items, nil
}

// body reads a JSON object of fields of the resource.
func (c crud) body(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	values := map[string]any{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&values); err != nil {
		return nil, invalid("the body is not a JSON object: %s", err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		field, ok := c.resource.field(name)
		if !ok {
			return nil, invalid("%s has no field %q", c.resource.name, name)
		}
		if !field.kind.holds(values[name]) {
			return nil, invalid("%s: use a %s", name, field.kind)
		}
	}
	return values, nil
}

// complete says whether a new row has all it needs.
func (c crud) complete(values map[string]any) error {
	var missing []string
	for _, field := range c.resource.fields {
		if _, ok := values[field.name]; field.required && !ok {
			missing = append(missing, field.name)
		}
	}
	if len(missing) > 0 {
		return invalid("%s: required: %s", c.resource.name, strings.Join(missing, ", "))
	}
	return nil
}

// holds says whether a value from JSON is of the kind. Null is of every kind;
// the database knows whether it may be stored.
func (k kind) holds(value any) bool {
	switch value.(type) {
	case nil:
		return true
	case string:
		return k == kindString
	case bool:
		return k == kindBoolean
	default:
		return false
	}
}
