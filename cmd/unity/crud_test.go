package main

import (
	"fmt"
	"net/http"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
)

// D5: the three pairs of code and schema that a rollout goes through.
func TestRowsAreKeptByEachBuildOnEachSchema(t *testing.T) {
	for _, on := range []struct {
		generation string
		schema     uint
	}{{"1", 1}, {"1", 2}, {"2", 2}} {
		u := unityOn(t, on.generation, on.schema)
		for _, test := range []struct{ name, create, field, changed string }{
			{"users", `{"username":"dora","email":"dora@homelab.local"}`, "full_name", `"Dora"`},
			{"alerts", `{"title":"disk full","severity":"critical"}`, "resolved", `true`},
			{"settings", `{"key":"theme","value":"dark"}`, "value", `"light"`},
			{"tenants", `{"name":"Family"}`, "is_active", `false`},
		} {
			t.Run(fmt.Sprintf("%s by v%s on schema %d", test.name, on.generation, on.schema), func(t *testing.T) {
				all := "/api/" + test.name
				before := len(u.get(t, all).items(t))
				created := u.request(t, http.MethodPost, all, test.create)
				assert.Equal(t, created.status, http.StatusCreated, created.text)
				one := fmt.Sprintf("%s/%v", all, created.body(t)["id"])
				assert.Equal(t, u.get(t, one).text, created.text)
				assert.Equal(t, len(u.get(t, all).items(t)), before+1)

				changed := u.request(t, http.MethodPatch, one, fmt.Sprintf(`{"%s":%s}`, test.field, test.changed))
				assert.Equal(t, changed.status, http.StatusOK, changed.text)
				assert.Assert(t, cmp.Contains(changed.text, fmt.Sprintf(`"%s":%s`, test.field, test.changed)))
				assert.Equal(t, u.get(t, one).text, changed.text)

				removed := u.request(t, http.MethodDelete, one, "")
				assert.Equal(t, removed.status, http.StatusNoContent, removed.text)
				assert.Equal(t, u.get(t, one).status, http.StatusNotFound)
				assert.Equal(t, len(u.get(t, all).items(t)), before)
			})
		}
	}
}

func TestRowsBelongToTheTenantOfTheRequest(t *testing.T) {
	u := unityOn(t, "2", 2)
	acme := []string{tenantHeader, "acme"}
	created := u.request(t, http.MethodPost, "/api/alerts", `{"title":"of acme"}`, acme...)
	assert.Equal(t, created.status, http.StatusCreated, created.text)
	assert.Equal(t, created.body(t)["tenant_id"], "acme")
	one := fmt.Sprintf("/api/alerts/%v", created.body(t)["id"])

	assert.DeepEqual(t, u.get(t, "/api/alerts", acme...).values(t, "title"), []any{"of acme"})
	assert.DeepEqual(t, u.get(t, "/api/alerts").values(t, "tenant_id"), []any{"default", "default"})
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		body := `{"resolved":true}`
		assert.Equal(t, u.request(t, method, one, body).status, http.StatusNotFound, method)
		assert.Equal(t, u.request(t, method, one, body, tenantHeader, "other").status, http.StatusNotFound, method)
	}
	assert.Equal(t, u.get(t, one, acme...).text, created.text)
	assert.Assert(t, len(u.get(t, "/api/tenants", acme...).items(t)) > 0, "tenants belong to no tenant")
}

func TestTheBuildOfBeforeKnowsNoTenant(t *testing.T) {
	u := unityOn(t, "1", 2)
	created := u.request(t, http.MethodPost, "/api/alerts", `{"title":"new"}`, tenantHeader, "acme")
	assert.Equal(t, created.status, http.StatusCreated, created.text)
	_, named := created.body(t)["tenant_id"]
	assert.Assert(t, !named, created.text)
	var tenant string
	err := u.pool.QueryRow(t.Context(), "SELECT tenant_id FROM alerts WHERE title = 'new'").Scan(&tenant)
	assert.NilError(t, err)
	assert.Equal(t, tenant, "default")
}

// A connection that was used before the migration is used after it, too.
func TestAMigrationUnderwayFailsNoRequest(t *testing.T) {
	u := unityOn(t, "1", 1)
	resources := []string{"/api/users", "/api/alerts", "/api/settings", "/api/tenants"}
	for _, path := range resources {
		assert.Equal(t, u.get(t, path).status, http.StatusOK)
	}
	u.migrate(t, 2)
	for _, path := range resources {
		answer := u.get(t, path)
		assert.Equal(t, answer.status, http.StatusOK, answer.text)
	}
	assert.Equal(t, u.request(t, http.MethodPost, "/api/alerts", `{"title":"after"}`).status, http.StatusCreated)
	u.exec(t, "ALTER TABLE alerts ALTER COLUMN severity TYPE varchar(20)")
	answer := u.get(t, "/api/alerts")
	assert.Equal(t, answer.status, http.StatusOK, answer.text)
}

func TestAListIsReadInPages(t *testing.T) {
	u := unityOn(t, "2", 2)
	u.exec(t, "INSERT INTO alerts (id, title) SELECT 1000 + n, 'alert ' || n FROM generate_series(1, 150) AS n")
	first := u.get(t, "/api/alerts?after=1000").values(t, "id")
	assert.Equal(t, len(first), pageSize)
	rest := u.get(t, fmt.Sprintf("/api/alerts?after=%v", first[pageSize-1])).values(t, "id")
	assert.Equal(t, len(rest), 50)
	assert.Equal(t, rest[0], 1101.0)
	assert.Equal(t, len(u.get(t, "/api/alerts?after=2000").items(t)), 0)
}

func TestAWrongRequestIsExplained(t *testing.T) {
	u := unityOn(t, "2", 2)
	for name, test := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		says               string
	}{
		"no such row":         {method: "GET", path: "/api/users/999", status: 404, says: "no such row"},
		"an id of letters":    {method: "GET", path: "/api/users/ada", status: 400, says: "use a number"},
		"an id too large":     {method: "GET", path: "/api/tenants/9999999999", status: 404, says: "no such row"},
		"a page of letters":   {method: "GET", path: "/api/users?after=x", status: 400, says: "use the id of the last item"},
		"no such resource":    {method: "GET", path: "/api/passwords", status: 404, says: "not found"},
		"a wrong method":      {method: "PUT", path: "/api/users", status: 405, says: "Not Allowed"},
		"a tenant of spaces":  {method: "GET", path: "/api/users", headers: []string{tenantHeader, "a b"}, status: 400, says: "small letters"},
		"a body that is cut":  {method: "POST", path: "/api/users", body: `{"username":`, status: 400, says: "not a JSON object"},
		"a list as body":      {method: "POST", path: "/api/users", body: `[]`, status: 400, says: "not a JSON object"},
		"missing fields":      {method: "POST", path: "/api/users", body: `{}`, status: 400, says: "required: username, email"},
		"a field not offered": {method: "POST", path: "/api/users", body: `{"password_hash":"x"}`, status: 400, says: "no field"},
		"the id as field":     {method: "PATCH", path: "/api/users/1", body: `{"id":9}`, status: 400, says: "no field"},
		"the tenant as field": {method: "PATCH", path: "/api/users/1", body: `{"tenant_id":"x"}`, status: 400, says: "no field"},
		"a wrong kind":        {method: "PATCH", path: "/api/alerts/1", body: `{"resolved":"yes"}`, status: 400, says: "use a boolean"},
		"nothing to change":   {method: "PATCH", path: "/api/alerts/1", body: `{}`, status: 400, says: "nothing to change"},
		"null where needed":   {method: "PATCH", path: "/api/users/1", body: `{"email":null}`, status: 400, says: "null value"},
		"a value not allowed": {method: "PATCH", path: "/api/users/1", body: `{"role":"king"}`, status: 400, says: "check constraint"},
		"a name that is taken": {
			method: "POST", path: "/api/users", body: `{"username":"ada","email":"a@b"}`, status: 409, says: "duplicate key",
		},
		"SQL in a value": {
			method: "POST", path: "/api/settings", body: `{"key":"'); DROP TABLE users; --","value":"x"}`, status: 201, says: "DROP TABLE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := u.request(t, test.method, test.path, test.body, test.headers...)
			assert.Equal(t, answer.status, test.status, answer.text)
			assert.Assert(t, cmp.Contains(answer.text, test.says))
		})
	}
	assert.Equal(t, len(u.get(t, "/api/users").items(t)), 3)
}

// What is wrong in the database is for the log, not for the client.
func TestAnErrorOfOursIsNotShown(t *testing.T) {
	u := unityOn(t, "2", 1)
	answer := u.get(t, "/api/users")
	assert.Equal(t, answer.status, http.StatusInternalServerError)
	assert.DeepEqual(t, answer.body(t), object{"error": "internal error, see the log"})
	assert.Assert(t, cmp.Contains(u.log.String(), "tenant_id"))
}
