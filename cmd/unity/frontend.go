package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"time"
)

//go:embed web/frontend
var frontendFiles embed.FS

// runFrontend is `unity frontend`. The page asks the API by itself, under the
// same host name: the Ingress brings both together, and nothing is proxied.
func runFrontend(ctx context.Context, args []string, p process, log *slog.Logger) error {
	flags := flag.NewFlagSet("unity frontend", flag.ContinueOnError)
	address := flags.String("address", ":8080", "address to listen on")
	drain := flags.Duration("drain", 3*time.Second, "how long to go on serving after SIGTERM")
	if err := parse(flags, args, p); err != nil {
		return err
	}
	handler, err := frontendHandler()
	if err != nil {
		return err
	}
	listener, err := listen(ctx, *address)
	if err != nil {
		return err
	}
	return lifecycle{handler: handler, drain: *drain, log: log}.run(ctx, listener)
}

func frontendHandler() (http.Handler, error) {
	files, err := fs.Sub(frontendFiles, "web/frontend")
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	serve := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		serve.ServeHTTP(w, r)
	})
	return mux, nil
}
