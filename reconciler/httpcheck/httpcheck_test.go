package httpcheck_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/httpcheck"
)

// dialer sends every connection to one server and keeps what was asked for.
type dialer struct {
	server  *httptest.Server
	address string
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.address = address
	return (&net.Dialer{}).DialContext(ctx, network, d.server.Listener.Addr().String())
}

func workload(t *testing.T) *dialer {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "host=%s query=%s agent=%s state=up secret-in-the-body", r.Host, r.URL.RawQuery, r.UserAgent())
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/health", http.StatusFound)
	})
	mux.HandleFunc("GET /late", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, strings.Repeat("x", 64<<10)+"needle")
	})
	mux.HandleFunc("GET /broken", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &dialer{server: server}
}

func TestCheckComparesTheAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		path     string
		status   int32
		contains string
		err      string
	}{
		"status and text as expected":                 {"/health", 200, "state=up", ""},
		"no text expected":                            {"/health", 200, "", ""},
		"the Service is asked by its own name":        {"/health", 200, "host=web.shop.svc:8080 ", ""},
		"the query is sent":                           {"/health?deep=1", 200, "query=deep=1 ", ""},
		"the request says who asks":                   {"/health", 200, "agent=lockstep-verify ", ""},
		"another status":                              {"/none", 200, "", "GET http://web.shop.svc:8080/none: status 404, expected 200"},
		"a 404 that is expected":                      {"/none", 404, "", ""},
		"another text":                                {"/health", 200, "state=down", `GET http://web.shop.svc:8080/health: the body does not contain "state=down"`},
		"a redirect is not followed":                  {"/moved", 200, "", "GET http://web.shop.svc:8080/moved: status 302, expected 200"},
		"a redirect that is expected":                 {"/moved", 302, "", ""},
		"text behind the first 64 KiB does not count": {"/late", 200, "needle", `GET http://web.shop.svc:8080/late: the body does not contain "needle"`},
	} {
		t.Run(name, func(t *testing.T) {
			server := workload(t)
			err := httpcheck.New(server.dial).Check(t.Context(), "shop", v1alpha1.HTTPCheck{
				Service: "web", Port: 8080, Path: test.path, Expect: v1alpha1.HTTPExpectation{Status: test.status, Contains: test.contains},
			})
			assert.Equal(t, server.address, "web.shop.svc:8080")
			if test.err == "" {
				assert.NilError(t, err)
				return
			}
			assert.Error(t, err, test.err)
			assert.Assert(t, !reconciler.IsTerminal(err))
			assert.Equal(t, reconciler.ReasonOf(err, ""), "CheckFailed")
		})
	}
}

func TestCheckNamesWhatDoesNotAnswer(t *testing.T) {
	err := httpcheck.New(workload(t).dial).Check(t.Context(), "shop", v1alpha1.HTTPCheck{Service: "web", Port: 80, Path: "/broken"})
	assert.ErrorContains(t, err, "GET http://web.shop.svc:80/broken: ")
	assert.Assert(t, !reconciler.IsTerminal(err))
}

func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := httpcheck.New(workload(t).dial).Check(ctx, "shop", v1alpha1.HTTPCheck{Service: "web", Port: 80, Path: "/health"})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestCheckWithAPathThatIsNoPath(t *testing.T) {
	err := httpcheck.New(workload(t).dial).Check(t.Context(), "shop", v1alpha1.HTTPCheck{Service: "web", Port: 80, Path: "/%zz"})
	assert.ErrorContains(t, err, `verify.http of Service web: path "/%zz": `)
	assert.Assert(t, reconciler.IsTerminal(err))
}
