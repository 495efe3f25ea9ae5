package main

import (
	"net/http"
	"strings"
)

// route is one operation of the API. The list of them is what the server
// serves, what /openapi.json describes and what /docs shows.
type route struct {
	method, path string
	summary      string
	handle       http.HandlerFunc
	// resource is set when rows of it are read or written.
	resource *resource
	// answers are the statuses, the good one first.
	answers []int
}

func (s *server) routes() []route {
	ok := []int{http.StatusOK}
	routes := []route{
		{http.MethodGet, "/", "Greet", s.root, nil, ok},
		{http.MethodGet, "/health", "Say that the process is alive", s.health, nil, ok},
		{http.MethodGet, "/ready", "Say whether to send requests here", s.ready, nil, []int{http.StatusOK, http.StatusServiceUnavailable}},
		{http.MethodGet, "/docs", "Show this page", s.docs, nil, ok},
		{http.MethodGet, "/openapi.json", "Describe the API", s.openAPI, nil, ok},
	}
	for _, resource := range resources() {
		routes = append(routes, s.crudRoutes(resource)...)
	}
	return routes
}

func (s *server) crudRoutes(r resource) []route {
	c := crud{server: s, resource: r}
	all, one := "/api/"+r.name, "/api/"+r.name+"/{id}"
	const (
		bad, missing, conflict = http.StatusBadRequest, http.StatusNotFound, http.StatusConflict
	)
	return []route{
		{http.MethodGet, all, "List " + r.name, c.list, &r, []int{http.StatusOK, bad}},
		{http.MethodPost, all, "Create one of " + r.name, c.create, &r, []int{http.StatusCreated, bad, conflict}},
		{http.MethodGet, one, "Get one of " + r.name, c.get, &r, []int{http.StatusOK, bad, missing}},
		{http.MethodPatch, one, "Change one of " + r.name, c.update, &r, []int{http.StatusOK, bad, missing, conflict}},
		{http.MethodDelete, one, "Delete one of " + r.name, c.remove, &r, []int{http.StatusNoContent, bad, missing, conflict}},
	}
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		pattern := route.method + " " + route.path
		if strings.HasSuffix(pattern, "/") {
			pattern += "{$}"
		}
		mux.HandleFunc(pattern, route.handle)
	}
	return mux
}
