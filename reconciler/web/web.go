// Package web serves what machines read of the daemon: liveness, readiness
// and metrics. All of that answers GET and HEAD only and reads no body. The
// webhook takes POST: it hashes the body and does not parse it.
package web

import (
	"net/http"
	"time"
)

// Health serves /healthz and /readyz. Liveness is what alive answers, and only
// a restart has to cure that: a git server, an API or a database that is down
// is no reason (I12). Readiness is what ready answers. Errors are shown.
func Health(alive, ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", answer(alive))
	mux.HandleFunc("GET /readyz", answer(ready))
	return mux
}

func answer(ask func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := ask(); err != nil {
			plain(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		plain(w, http.StatusOK, "ok")
	}
}

// Metrics serves /metrics.
func Metrics(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	return mux
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// Server returns a server with limits on everything that a client could hold
// open or send without end (S18).
func Server(address string, handler http.Handler) *http.Server {
	return &http.Server{
		Addr:              address,
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}
