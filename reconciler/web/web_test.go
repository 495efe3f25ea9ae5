package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/web"
)

func ask(t *testing.T, handler http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody))
	return answer
}

// TestHealth covers I12: liveness does not follow readiness, nor the other
// way round.
func TestHealth(t *testing.T) {
	unready, stuck := errors.New("the Releases are not known yet"), errors.New("stuck: poll")
	for name, test := range map[string]struct {
		path         string
		alive, ready error
		status       int
		body         string
	}{
		"alive":                        {"/healthz", nil, nil, 200, "ok\n"},
		"alive although not ready":     {"/healthz", nil, unready, 200, "ok\n"},
		"not alive, and it says why":   {"/healthz", stuck, nil, 503, "stuck: poll\n"},
		"ready":                        {"/readyz", nil, nil, 200, "ok\n"},
		"ready although stuck":         {"/readyz", stuck, nil, 200, "ok\n"},
		"not ready, and it says why":   {"/readyz", nil, unready, 503, "the Releases are not known yet\n"},
		"metrics live on another port": {"/metrics", nil, nil, 404, "404 page not found\n"},
	} {
		t.Run(name, func(t *testing.T) {
			health := web.Health(func() error { return test.alive }, func() error { return test.ready })
			answer := ask(t, health, http.MethodGet, test.path)
			assert.Equal(t, answer.Code, test.status)
			assert.Equal(t, answer.Body.String(), test.body)
			assert.Equal(t, answer.Header().Get("Content-Type"), "text/plain; charset=utf-8")
			assert.Equal(t, answer.Header().Get("X-Content-Type-Options"), "nosniff")
		})
	}
}

// TestOnlyReading covers P13: every method but GET and HEAD is refused before
// a handler sees it.
func TestOnlyReading(t *testing.T) {
	reached := 0
	handlers := map[string]http.Handler{
		"/healthz": web.Health(func() error { reached++; return nil }, nil),
		"/readyz":  web.Health(nil, func() error { reached++; return nil }),
		"/metrics": web.Metrics(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })),
	}
	for path, handler := range handlers {
		for _, method := range []string{
			http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "ABCD", "get",
		} {
			t.Run(method+" "+path, func(t *testing.T) {
				answer := ask(t, handler, method, path)
				assert.Equal(t, answer.Code, http.StatusMethodNotAllowed)
				assert.Equal(t, answer.Header().Get("Allow"), "GET, HEAD")
			})
		}
		assert.Equal(t, reached, 0)
	}
	for path, handler := range handlers {
		assert.Equal(t, ask(t, handler, http.MethodHead, path).Code, http.StatusOK)
	}
	assert.Equal(t, reached, 3)
}

// TestServerHasLimits covers S18: nothing a client does holds a connection for ever.
func TestServerHasLimits(t *testing.T) {
	server := web.Server("127.0.0.1:0", http.NotFoundHandler())
	assert.Equal(t, server.Addr, "127.0.0.1:0")
	for name, limit := range map[string]time.Duration{
		"header": server.ReadHeaderTimeout, "read": server.ReadTimeout, "write": server.WriteTimeout, "idle": server.IdleTimeout,
	} {
		assert.Assert(t, limit > 0 && limit <= time.Minute, "%s: %s", name, limit)
	}
	assert.Equal(t, server.MaxHeaderBytes, 16<<10)
}
