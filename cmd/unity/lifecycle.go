package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of the HTTP servers. The drain and shutdownTimeout together have to
// be shorter than terminationGracePeriodSeconds of the Pods.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 10 * time.Second
)

// lifecycle serves HTTP such that a rolling update fails no request.
//
// Kubernetes tells a Pod to stop and takes it out of the Service at the same
// time, so for a moment requests still arrive. A server that closed its port
// at once would refuse them. This one goes on serving for the drain, asks
// each client to connect anew, and only then closes.
type lifecycle struct {
	handler http.Handler
	drain   time.Duration
	log     *slog.Logger
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

// run serves until the context ends and the drain is over.
func (l lifecycle) run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           closeAfter(ctx.Done(), l.handler),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	l.log.Info("serving", slog.String("address", listener.Addr().String()))

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	l.log.Info("draining", slog.Duration("for", l.drain))
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-time.After(l.drain):
	}
	return l.shutdown(ctx, server)
}

func (l lifecycle) shutdown(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests cut off after %s: %w", shutdownTimeout, err), server.Close())
	}
	l.log.Info("stopped")
	return nil
}

// closeAfter asks clients to let their connection go with the next answer,
// once the channel is closed. Else one of them would send a request into a
// connection that is just being closed.
func closeAfter(stopping <-chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stopping:
			w.Header().Set("Connection", "close")
		default:
		}
		next.ServeHTTP(w, r)
	})
}
