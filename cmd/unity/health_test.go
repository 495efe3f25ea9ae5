package main

import (
	"net/http"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
)

// D5: new code takes no requests before its schema is there, old code and a
// migration at work change nothing.
func TestReadiness(t *testing.T) {
	for name, test := range map[string]struct {
		generation string
		schema     uint
		setup      string
		reason     string
	}{
		"v1 on a database without versions":     {generation: "1"},
		"v1 on schema 1":                        {generation: "1", schema: 1},
		"v1 on schema 2":                        {generation: "1", schema: 2},
		"v1 while migration 2 is at work":       {generation: "1", schema: 1, setup: "UPDATE schema_migrations SET version = 2, dirty = true"},
		"v2 on schema 2":                        {generation: "2", schema: 2},
		"v2 while a later migration is at work": {generation: "2", schema: 2, setup: "UPDATE schema_migrations SET version = 3, dirty = true"},
		"v2 on a database without versions":     {generation: "2", reason: "schema version is 0, needed is 2"},
		"v2 on a database without a version":    {generation: "2", schema: 1, setup: "DELETE FROM schema_migrations", reason: "schema version is 0, needed is 2"},
		"v2 on schema 1":                        {generation: "2", schema: 1, reason: "schema version is 1, needed is 2"},
		"v2 while migration 2 is at work": {
			generation: "2", schema: 1, setup: "UPDATE schema_migrations SET version = 2, dirty = true", reason: "migration 2 has not finished",
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := unityOn(t, test.generation, test.schema)
			if test.setup != "" {
				u.exec(t, test.setup)
			}
			answer := u.get(t, "/ready")
			if test.reason == "" {
				assert.Equal(t, answer.status, http.StatusOK, answer.text)
				assert.DeepEqual(t, answer.body(t), object{"ready": true})
				return
			}
			assert.Equal(t, answer.status, http.StatusServiceUnavailable)
			assert.DeepEqual(t, answer.body(t), object{"ready": false, "reason": test.reason})
			assert.Equal(t, u.get(t, "/health").status, http.StatusOK)
		})
	}
}

func TestHealthDeclaresTheSchemaRange(t *testing.T) {
	for generation, want := range map[string]object{
		"1": {"status": "ok", "version": "v1", "database": "up", "schema": object{"min": 1.0, "max": 2.0}},
		"2": {"status": "ok", "version": "v2", "database": "up", "schema": object{"min": 2.0}},
	} {
		assert.DeepEqual(t, unityOn(t, generation, 0).get(t, "/health").body(t), want)
	}
}

// Nobody listens on port 1.
func TestADatabaseThatIsDown(t *testing.T) {
	u := newUnity(t, "2", map[string]string{
		"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_USER": "u", "DB_NAME": "n", "DB_PASSWORD": "hunter2",
	})
	health := u.get(t, "/health")
	assert.Equal(t, health.status, http.StatusOK)
	assert.Equal(t, health.body(t)["database"], "down")
	for _, path := range []string{"/ready", "/api/users"} {
		answer := u.get(t, path)
		assert.Equal(t, answer.status, http.StatusServiceUnavailable, path)
		assert.Assert(t, cmp.Contains(answer.text, "the database does not answer"))
		assert.Assert(t, !strings.Contains(answer.text, "127.0.0.1"), "the address is the business of the log")
	}
	assert.Equal(t, u.get(t, "/").status, http.StatusOK)
	assert.Assert(t, cmp.Contains(u.log.String(), "connection refused"))
	assert.Assert(t, !strings.Contains(u.log.String(), "hunter2"))
}

func TestAChangeOfReadinessIsLoggedOnce(t *testing.T) {
	u := unityOn(t, "2", 1)
	for range 3 {
		u.get(t, "/ready")
	}
	u.migrate(t, 2)
	for range 3 {
		u.get(t, "/ready")
	}
	assert.Equal(t, strings.Count(u.log.String(), `"ready":false`), 1)
	assert.Equal(t, strings.Count(u.log.String(), `"ready":true`), 1)
}
