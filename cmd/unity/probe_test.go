package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
)

func TestSummary(t *testing.T) {
	begin := time.Unix(0, 0)
	at := func(ms int, took int, ok bool) answer {
		return answer{at: begin.Add(time.Duration(ms) * time.Millisecond), took: time.Duration(took) * time.Millisecond, ok: ok}
	}
	for name, test := range map[string]struct {
		answers []answer
		want    summary
	}{
		"no answer at all": {want: summary{LongestGapMs: 1000}},
		"all are good, in the order in which they ended": {
			answers: []answer{at(600, 30, true), at(300, 10, true), at(900, 20, true)},
			want:    summary{Requests: 3, LongestGapMs: 300, P50Ms: 20, P99Ms: 30},
		},
		"one failed between two": {
			answers: []answer{at(100, 1, true), at(500, 200, false), at(900, 3, true)},
			want:    summary{Requests: 3, Failed: 1, LongestGapMs: 800, P50Ms: 1, P99Ms: 3},
		},
		"nothing good at the beginning": {
			answers: []answer{at(100, 1, false), at(700, 1, true), at(950, 1, true)},
			want:    summary{Requests: 3, Failed: 1, LongestGapMs: 700, P50Ms: 1, P99Ms: 1},
		},
		"nothing good at the end": {
			answers: []answer{at(100, 1, true), at(990, 1, false)},
			want:    summary{Requests: 2, Failed: 1, LongestGapMs: 900, P50Ms: 1, P99Ms: 1},
		},
		"all failed": {
			answers: []answer{at(100, 1, false), at(200, 1, false)},
			want:    summary{Requests: 2, Failed: 2, LongestGapMs: 1000},
		},
	} {
		t.Run(name, func(t *testing.T) {
			assert.DeepEqual(t, summarise(begin, begin.Add(time.Second), test.answers), test.want)
		})
	}
}

// probe runs the command and returns its summary, as printed in both places.
func probe(ctx context.Context, t *testing.T, log *logBuffer, args ...string) summary {
	t.Helper()
	var stdout bytes.Buffer
	termination := filepath.Join(t.TempDir(), "termination-log")
	assert.NilError(t, os.WriteFile(termination, []byte(strings.Repeat("what was there before", 100)), 0o600))
	code := execute(ctx, append([]string{"probe"}, args...), process{getenv: getenv(nil), stdout: &stdout, stderr: log, termination: termination})
	assert.Equal(t, code, 0, log.String())
	written, err := os.ReadFile(termination)
	assert.NilError(t, err)
	assert.Equal(t, string(written), stdout.String())
	var s summary
	assert.NilError(t, json.Unmarshal(written, &s))
	return s
}

func TestTheProbeCountsWhatFails(t *testing.T) {
	var asked atomic.Int64
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked.Add(1) {
		case 3: // An error of the server.
			w.WriteHeader(http.StatusServiceUnavailable)
		case 5: // Half an answer.
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("half"))
		case 7: // No answer.
			panic(http.ErrAbortHandler)
		case 9: // An answer that is too late.
			<-r.Context().Done()
		}
	}))
	defer listening.Close()
	var log logBuffer
	s := probe(t.Context(), t, &log, listening.URL, "--rate", "50", "--for", "1s")
	assert.Equal(t, s.Failed, 4, log.String())
	assert.Equal(t, int64(s.Requests), asked.Load())
	assert.Assert(t, s.Requests >= 20 && s.Requests <= 51, "%d requests at 50 per second for 1 s", s.Requests)
	assert.Assert(t, s.LongestGapMs >= 10 && s.P50Ms > 0 && s.P99Ms >= s.P50Ms && s.P99Ms < 1000, "%+v", s)
	assert.Assert(t, cmp.Contains(log.String(), "status 503"))
}

func TestARefusedConnectionIsAFailedRequest(t *testing.T) {
	listening := httptest.NewServer(http.NotFoundHandler())
	listening.Close()
	var log logBuffer
	s := probe(t.Context(), t, &log, listening.URL, "--rate", "20", "--for", "200ms")
	assert.Assert(t, s.Requests >= 3 && s.Failed == s.Requests, "%+v", s)
	assert.Assert(t, s.LongestGapMs > 0 && s.P50Ms == 0, "all of the time is one gap: %+v", s)
}

func TestTheProbeEndsEarlyWithASummary(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	listening := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == 5 {
			cancel()
		}
	}))
	defer listening.Close()
	var log logBuffer
	s := probe(ctx, t, &log, listening.URL, "--rate", "100", "--for", "1h")
	assert.Assert(t, s.Requests >= 5 && s.Failed == 0, "%+v", s)
}

// Outside a container there is no termination log, and none is made.
func TestNoTerminationLogIsMade(t *testing.T) {
	listening := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer listening.Close()
	var stdout, log logBuffer
	missing := filepath.Join(t.TempDir(), "termination-log")
	code := execute(t.Context(), []string{"probe", listening.URL, "--for", "50ms"}, process{getenv: getenv(nil), stdout: &stdout, stderr: &log, termination: missing})
	assert.Equal(t, code, 0, log.String())
	assert.Assert(t, cmp.Contains(stdout.String(), `"failed":0`))
	_, err := os.Stat(missing)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestConnectionsAreUsedAgainOnlyWhenAskedTo(t *testing.T) {
	for _, test := range []struct {
		args []string
		many bool
	}{{nil, true}, {[]string{"--keep-alive"}, false}} {
		var connections atomic.Int64
		listening := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		listening.Config.ConnContext = countConnections(&connections)
		listening.Start()
		var log logBuffer
		s := probe(t.Context(), t, &log, append([]string{listening.URL, "--rate", "20", "--for", "400ms"}, test.args...)...)
		listening.Close()
		assert.Equal(t, s.Failed, 0, log.String())
		assert.Equal(t, connections.Load() == int64(s.Requests), test.many, "%d connections for %d requests", connections.Load(), s.Requests)
	}
}
