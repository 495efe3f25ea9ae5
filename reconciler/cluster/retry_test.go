package cluster_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
)

// status is an answer of a server that is busy or broken.
func status(request *http.Request, code int, header http.Header) *http.Response {
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"not now","code":%d}`, code)
	response := answer(request, code, []byte(body))
	maps.Copy(response.Header, header)
	return response
}

// TestTroubleThatPasses covers A12: a server that is busy, broken or silent for
// a moment is asked again, whether it says when or not.
func TestTroubleThatPasses(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(*http.Request) (*http.Response, error){
		"429 that says when": func(r *http.Request) (*http.Response, error) {
			return status(r, http.StatusTooManyRequests, http.Header{"Retry-After": {"1"}}), nil
		},
		"429 that does not": func(r *http.Request) (*http.Response, error) {
			return status(r, http.StatusTooManyRequests, nil), nil
		},
		"503": func(r *http.Request) (*http.Response, error) {
			return status(r, http.StatusServiceUnavailable, nil), nil
		},
		"a bad gateway": func(r *http.Request) (*http.Response, error) {
			response := answer(r, http.StatusBadGateway, []byte("<html>bad gateway</html>"))
			response.Header.Set("Content-Type", "text/html")
			return response, nil
		},
		"a reset": func(*http.Request) (*http.Response, error) { return nil, errors.New("read: connection reset by peer") },
		"silence": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFreeWorld(t)
			var tries atomic.Int64
			c := w.through(t, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
				if request.Method == http.MethodPatch && tries.Add(1) <= 2 {
					return trouble(request)
				}
				return next.RoundTrip(request)
			}, func(o *cluster.Options) { o.RequestTimeout = 3 * time.Second })
			entries := applyAll(t, w.applierOf(t, c, "web"), configMap(t, "c"))
			assert.Equal(t, len(entries), 1)
			assert.Equal(t, tries.Load(), int64(4), "two that failed, a dry run and a write")
		})
	}
}

// TestTroubleThatStays covers A12: who does not answer is an error of the call,
// who is broken for one kind is trouble of its objects alone, and both end.
func TestTroubleThatStays(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	objects := []reconciler.Object{deployment(t, "d", "image:1")}
	for name := range strings.SplitSeq("abcdefgh", "") {
		objects = append(objects, configMap(t, name))
	}
	var tries atomic.Int64
	broken := w.through(t, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		if request.Method == http.MethodPatch && strings.Contains(request.URL.Path, "/configmaps/") {
			tries.Add(1)
			return status(request, http.StatusServiceUnavailable, nil), nil
		}
		return next.RoundTrip(request)
	}, func(o *cluster.Options) { o.Parallel = 1 })
	changes := compared(t, w.applierOf(t, broken, "web"), objects...)
	assert.Equal(t, changes[0].Action, reconciler.ActionCreate)
	for _, change := range changes[1:] {
		assert.Equal(t, change.Action, reconciler.ActionRefuse)
		assert.Equal(t, reconciler.ReasonOf(change.Err, ""), "ClusterUnavailable")
		assert.Assert(t, !reconciler.IsTerminal(change.Err))
	}
	assert.Equal(t, tries.Load(), int64(7+7), "the first is tried seven times, the other seven once each")

	silent := w.through(t, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		if request.Method == http.MethodPatch {
			return nil, errors.New("connect: connection refused")
		}
		return next.RoundTrip(request)
	})
	_, err := w.applierOf(t, silent, "web").Compare(t.Context(), objects)
	assert.ErrorContains(t, err, "connection refused")
	assert.Equal(t, reconciler.ReasonOf(err, ""), "ClusterUnavailable")
	assert.Assert(t, !reconciler.IsTerminal(err))

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = w.applierOf(t, silent, "web").Compare(short, objects)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestWrongManifestIsTriedOnce covers A6: a 500 that means the manifest is not
// asked for again.
func TestWrongManifestIsTriedOnce(t *testing.T) {
	t.Parallel()
	w := newFreeWorld(t)
	var tries atomic.Int64
	c := w.through(t, func(request *http.Request, next http.RoundTripper) (*http.Response, error) {
		if request.Method == http.MethodPatch {
			tries.Add(1)
		}
		return next.RoundTrip(request)
	})
	for _, manifest := range []string{
		"{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {ports: [{port: eighty}]}}",
		"{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {port: [{port: 80}]}}",
		podWith("{name: A, value: x}, {name: A, value: y}"),
	} {
		tries.Store(0)
		change := compared(t, w.applierOf(t, c, "web"), object(t, "bad.yaml", manifest))[0]
		assert.Equal(t, change.Action, reconciler.ActionRefuse, manifest)
		assert.Assert(t, reconciler.IsTerminal(change.Err))
		assert.Equal(t, tries.Load(), int64(1), manifest)
	}
}

// secretServer answers every request with a Secret, and counts connections.
func secretServer(t *testing.T) (*rest.Config, *atomic.Int64) {
	t.Helper()
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"s"},"data":{}}`)
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: certificate}}, &connections
}

func readSecrets(t *testing.T, options cluster.Options, tenants, times int) {
	t.Helper()
	options.Log, options.Events = slog.New(slog.DiscardHandler), events.NewFakeRecorder(1)
	c, err := cluster.New(options)
	assert.NilError(t, err)
	for i := range tenants {
		release := &v1alpha1.Release{Spec: v1alpha1.ReleaseSpec{ServiceAccountName: fmt.Sprintf("account-%d", i)}}
		release.Name, release.Namespace = "web", fmt.Sprintf("team-%d", i)
		tenant, err := c.As(release)
		assert.NilError(t, err)
		for range times {
			_, err := tenant.Secret(t.Context(), "s")
			assert.NilError(t, err)
		}
	}
}

// TestTenantsShareConnections shows that many Releases are one client to the
// API server, whoever they act as.
func TestTenantsShareConnections(t *testing.T) {
	t.Parallel()
	config, connections := secretServer(t)
	readSecrets(t, cluster.Options{Config: config}, 20, 2)
	assert.Equal(t, connections.Load(), int64(1))
}

// TestRequestsPerSecondAreBoundForAll covers A12: the bound is that of the
// daemon, and without one client-go's own of five a second does not apply.
func TestRequestsPerSecondAreBoundForAll(t *testing.T) {
	t.Parallel()
	config, _ := secretServer(t)
	began := time.Now()
	readSecrets(t, cluster.Options{Config: config, QPS: 50, Burst: 1}, 5, 5)
	assert.Assert(t, time.Since(began) > 450*time.Millisecond, "25 requests at 50 a second took %s", time.Since(began))
	began = time.Now()
	readSecrets(t, cluster.Options{Config: config}, 1, 50)
	assert.Assert(t, time.Since(began) < 5*time.Second, "50 requests took %s", time.Since(began))
}
