package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
)

// The report: `Welcome to Unity - Homelab Intelligence Hub API`.
func TestTheGreetingIsThatOfTheReport(t *testing.T) {
	for generation, version := range map[string]string{"1": "v1", "2": "v2"} {
		answer := unityOn(t, generation, 0).get(t, "/")
		assert.Equal(t, answer.status, http.StatusOK)
		assert.Equal(t, answer.header.Get("Content-Type"), "application/json")
		assert.DeepEqual(t, answer.body(t), object{
			"message": "Welcome to Unity - Homelab Intelligence Hub API", "version": version,
		})
	}
}

func TestTheDocsShowEachRouteAndNeedNothingFromElsewhere(t *testing.T) {
	u := unityOn(t, "2", 0)
	page := u.get(t, "/docs")
	assert.Equal(t, page.status, http.StatusOK)
	assert.Equal(t, page.header.Get("Content-Type"), "text/html; charset=utf-8")
	for _, route := range new(server).routes() {
		assert.Check(t, cmp.Contains(page.text, "<code>"+route.method+"</code></td><td><code>"+route.path+"</code>"))
	}
	assert.Assert(t, cmp.Contains(page.text, tenantHeader))
	assert.Assert(t, !strings.Contains(page.text, "://"), "the page refers to another host")
	assert.Assert(t, !strings.Contains(unityOn(t, "1", 0).get(t, "/docs").text, tenantHeader))
}

func TestTheOpenAPIDocumentDescribesWhatIsServed(t *testing.T) {
	for _, generation := range []string{"1", "2"} {
		u := unityOn(t, generation, 0)
		answer := u.get(t, "/openapi.json")
		document := answer.body(t)
		assert.Equal(t, document["openapi"], "3.1.0")
		paths := document["paths"].(object)
		ids := map[any]bool{}
		for _, route := range new(server).routes() {
			operation, ok := paths[route.path].(object)[strings.ToLower(route.method)].(object)
			assert.Assert(t, ok, "%s %s", route.method, route.path)
			id := operation["operationId"]
			assert.Assert(t, !ids[id], "%v names two operations", id)
			ids[id] = true
			assert.Assert(t, len(operation["responses"].(object)) > 0)
		}
		schemas := document["components"].(object)["schemas"].(object)
		for _, reference := range references(document) {
			name, ok := strings.CutPrefix(reference, "#/components/schemas/")
			assert.Assert(t, ok && schemas[name] != nil, reference)
		}
		assert.Equal(t, strings.Contains(answer.text, tenantHeader), generation == "2")
	}
}

// references collects each $ref in a document.
func references(value any) []string {
	var found []string
	switch value := value.(type) {
	case object:
		for key, inner := range value {
			if reference, ok := inner.(string); ok && key == "$ref" {
				found = append(found, reference)
			}
			found = append(found, references(inner)...)
		}
	case []any:
		for _, inner := range value {
			found = append(found, references(inner)...)
		}
	}
	return found
}

func TestTheFrontendServesAPageThatNeedsNothingFromElsewhere(t *testing.T) {
	handler, err := frontendHandler()
	assert.NilError(t, err)
	listening := httptest.NewServer(handler)
	defer listening.Close()
	for path, says := range map[string]string{
		"/": "<h1>Unity</h1>", "/page.js": `ask("/api/alerts")`, "/style.css": "font:", "/health": `"status":"ok"`,
	} {
		answer := request(t, http.MethodGet, listening.URL+path, "")
		assert.Equal(t, answer.status, http.StatusOK, path)
		assert.Assert(t, cmp.Contains(answer.text, says))
		assert.Assert(t, !strings.Contains(answer.text, "://"), "%s refers to another host", path)
	}
	assert.Equal(t, request(t, http.MethodGet, listening.URL+"/nothing", "").status, http.StatusNotFound)
	policy := request(t, http.MethodGet, listening.URL+"/", "").header.Get("Content-Security-Policy")
	assert.Assert(t, cmp.Contains(policy, "default-src 'self'"))
}

func TestEachSchemaNamesTheFieldsOfARow(t *testing.T) {
	u := unityOn(t, "2", 2)
	schemas := u.get(t, "/openapi.json").body(t)["components"].(object)["schemas"].(object)
	for _, resource := range resources() {
		rows := u.get(t, "/api/"+resource.name).items(t)
		properties := schemas[resource.name].(object)["properties"].(object)
		for name := range rows[0].(object) {
			assert.Check(t, properties[name] != nil, "%s.%s is not described", resource.name, name)
		}
		assert.Equal(t, len(properties), len(rows[0].(object)), resource.name)
	}
	assert.Assert(t, json.Valid([]byte(u.get(t, "/openapi.json").text)))
}
