package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/cluster/api"
)

func server(t *testing.T, handler http.HandlerFunc) api.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return api.Server{URL: s.URL, Client: s.Client()}
}

func TestApplySendsTheObjectForServerSideApply(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPatch || r.Header.Get("Content-Type") != "application/apply-patch+yaml" ||
			r.URL.Query().Get("fieldManager") == "" || string(body) != `{"kind":"X"}` {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	assert.NilError(t, s.Apply(t.Context(), "/api/v1/x", []byte(`{"kind":"X"}`)))
}

func TestErrorsCarryTheServersWords(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","message":"nodes \"node1\" not found"}`)
	})
	_, err := s.Get(t.Context(), "/api/v1/nodes/node1")
	assert.Error(t, err, `GET /api/v1/nodes/node1: 404 Not Found: nodes "node1" not found`)
}

func TestNodeReady(t *testing.T) {
	for name, c := range map[string]struct {
		node  string
		ready bool
	}{
		"ready":             {`{"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":"True"}]}}`, true},
		"not ready":         {`{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`, false},
		"no condition yet":  {`{"status":{}}`, false},
		"another condition": {`{"status":{"conditions":[{"type":"MemoryPressure","status":"True"}]}}`, false},
		"no JSON":           {`ok`, false},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, api.NodeReady([]byte(c.node)), c.ready) })
	}
}

func TestUntilReturnsTheLastFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := api.Until(ctx, func(context.Context) error {
		if tries++; tries == 3 {
			cancel()
			return errors.New("third")
		}
		return errors.New("earlier")
	})
	assert.Error(t, err, "third")
	assert.NilError(t, api.Until(t.Context(), func(context.Context) error { return nil }))
}
