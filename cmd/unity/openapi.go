package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

//go:embed web/docs.html
var docsHTML string

// object is a JSON object.
type object = map[string]any

// docs shows the routes on a page that needs nothing from elsewhere.
func (s *server) docs(w http.ResponseWriter, r *http.Request) {
	type operation struct{ Method, Path, Summary string }
	var operations []operation
	for _, route := range s.routes() {
		operations = append(operations, operation{route.method, route.path, route.summary})
	}
	page, err := template.New("docs").Parse(docsHTML)
	var text bytes.Buffer
	if err == nil {
		err = page.Execute(&text, object{"Version": s.build.version, "Tenants": s.build.tenants, "Header": tenantHeader, "Operations": operations})
	}
	if err != nil {
		s.log.Error("page not made", slog.String("path", r.URL.Path), slog.Any("error", err))
		http.Error(w, "internal error, see the log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = text.WriteTo(w)
}

func (s *server) openAPI(w http.ResponseWriter, _ *http.Request) {
	paths, schemas := object{}, object{}
	for _, route := range s.routes() {
		if paths[route.path] == nil {
			paths[route.path] = object{}
		}
		paths[route.path].(object)[strings.ToLower(route.method)] = s.operation(route)
	}
	for _, resource := range resources() {
		schemas[resource.name] = s.schema(resource)
	}
	reply(w, http.StatusOK, object{
		"openapi":    "3.1.0",
		"info":       object{"title": "Unity", "version": s.build.version, "description": "The API of the Homelab Intelligence Hub."},
		"paths":      paths,
		"components": object{"schemas": schemas},
	})
}

// operation describes one route.
func (s *server) operation(r route) object {
	answers := object{}
	for _, status := range r.answers {
		answers[strconv.Itoa(status)] = object{"description": http.StatusText(status)}
	}
	name := strings.ToLower(r.method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(r.path)
	operation := object{"operationId": strings.TrimSuffix(name, "-"), "summary": r.summary, "responses": answers}
	if r.resource == nil {
		return operation
	}
	operation["tags"] = []string{r.resource.name}
	if parameters := s.parameters(r); len(parameters) > 0 {
		operation["parameters"] = parameters
	}
	if r.method == http.MethodPost || r.method == http.MethodPatch {
		operation["requestBody"] = object{"required": true, "content": jsonOf(reference(r.resource))}
	}
	if good := r.answers[0]; good != http.StatusNoContent {
		result := reference(r.resource)
		if r.method == http.MethodGet && !strings.HasSuffix(r.path, "{id}") {
			result = object{"type": "object", "properties": object{"items": object{"type": "array", "items": result}}}
		}
		answers[strconv.Itoa(good)] = object{"description": http.StatusText(good), "content": jsonOf(result)}
	}
	return operation
}

func (s *server) parameters(r route) []object {
	var parameters []object
	if strings.HasSuffix(r.path, "{id}") {
		parameters = append(parameters, object{"name": "id", "in": "path", "required": true, "schema": object{"type": "integer"}})
	} else if r.method == http.MethodGet {
		parameters = append(parameters, object{"name": "after", "in": "query", "description": "id of the last item seen", "schema": object{"type": "integer"}})
	}
	if s.build.tenants && !r.resource.shared {
		parameters = append(parameters, object{"name": tenantHeader, "in": "header", "schema": object{"type": "string", "default": defaultTenant, "pattern": tenantName.String()}})
	}
	return parameters
}

// schema describes a row. The fields that only the server writes are marked.
func (s *server) schema(r resource) object {
	properties := object{"id": object{"type": "integer", "readOnly": true}}
	for _, field := range r.fields {
		properties[field.name] = object{"type": field.kind}
	}
	if s.build.tenants && !r.shared {
		properties["tenant_id"] = object{"type": "string", "readOnly": true}
	}
	return object{"type": "object", "properties": properties}
}

func reference(r *resource) object { return object{"$ref": "#/components/schemas/" + r.name} }

func jsonOf(schema object) object { return object{"application/json": object{"schema": schema}} }
