package cluster_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/events"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// staleCache stands in for an API server whose watch cache lags: once it has
// a list, it answers with that, and the watch then follows from there.
type staleCache struct {
	through http.RoundTripper
	list    atomic.Pointer[[]byte]
	served  atomic.Int64
}

// throughStaleCache makes the tenant see Deployments through a staleCache.
func (w *world) throughStaleCache(t *testing.T) *staleCache {
	t.Helper()
	stale := &staleCache{}
	config := controlplane.Config(t)
	config.Wrap(func(through http.RoundTripper) http.RoundTripper {
		// Each client wraps anew, around a transport that all share.
		stale.through = through
		return stale
	})
	var err error
	w.cluster, err = cluster.New(cluster.Options{Config: config, Log: slog.New(w.warnings), Events: events.NewFakeRecorder(1)})
	assert.NilError(t, err)
	w.tenant = w.as(t)
	return stale
}

func (s *staleCache) serve(t *testing.T, list *unstructured.UnstructuredList) {
	t.Helper()
	body, err := list.MarshalJSON()
	assert.NilError(t, err)
	s.list.Store(&body)
}

// RoundTrip implements http.RoundTripper.
func (s *staleCache) RoundTrip(request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	body := s.list.Load()
	switch {
	case body == nil || request.Method != http.MethodGet || !strings.HasSuffix(request.URL.Path, "/deployments"):
		return s.through.RoundTrip(request)
	case query.Get("sendInitialEvents") == "true":
		// A server without streamed lists; the client asks for a plain one.
		return answer(request, http.StatusBadRequest, []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"BadRequest","code":400}`)), nil
	case query.Get("watch") == "true":
		return s.through.RoundTrip(request)
	}
	s.served.Add(1)
	return answer(request, http.StatusOK, *body), nil
}

func answer(request *http.Request, status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Request: request, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}
