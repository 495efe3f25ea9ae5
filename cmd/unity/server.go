package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const greeting = "Welcome to Unity - Homelab Intelligence Hub API"

const silentDatabase = "the database does not answer"

// Tenants are chosen by a header. A request without it is of the tenant to
// whom all rows of before belong.
const (
	tenantHeader  = "X-Tenant-ID"
	defaultTenant = "default"
)

var tenantName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// server is the API. Its fields do not change once it serves, but for the
// last reason.
type server struct {
	build build
	pool  *pgxpool.Pool
	log   *slog.Logger
	// stopping is closed when the process was told to end.
	stopping <-chan struct{}
	// reason why it was not ready when last asked, to log each change once.
	reason atomic.Pointer[string]
}

// runBackend is `unity serve`.
func runBackend(ctx context.Context, args []string, p process, log *slog.Logger) error {
	flags := flag.NewFlagSet("unity serve", flag.ContinueOnError)
	address := flags.String("address", ":8000", "address to listen on")
	if err := parse(flags, args, p); err != nil {
		return err
	}
	build, err := newBuild(generation)
	if err != nil {
		return err
	}
	config, err := readConfig(p.getenv)
	if err != nil {
		return err
	}
	poolConfig, err := config.poolConfig()
	if err != nil {
		return err
	}
	// The pool connects when it is first asked to, so the order in which
	// database and backend start does not matter.
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer pool.Close()
	listener, err := listen(ctx, *address)
	if err != nil {
		return err
	}
	log = log.With(slog.String("version", build.version))
	server := &server{build: build, pool: pool, log: log, stopping: ctx.Done()}
	return lifecycle{handler: server.handler(), drain: config.drain, log: log}.run(ctx, listener)
}

func (s *server) root(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]string{"message": greeting, "version": s.build.version})
}

// requestError is what a client did wrong.
type requestError struct {
	status  int
	message string
}

func (e *requestError) Error() string { return e.message }

func invalid(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func tenantOf(r *http.Request) (string, error) {
	tenant := r.Header.Get(tenantHeader)
	if tenant == "" {
		return defaultTenant, nil
	}
	if !tenantName.MatchString(tenant) {
		return "", invalid("%s: use up to 63 small letters, digits and dashes", tenantHeader)
	}
	return tenant, nil
}

// fail replies with what the client can do something about. The rest goes to
// the log, and the client learns only that it happened.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, message := explain(err)
	if status >= http.StatusInternalServerError {
		s.log.Error("request failed", slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	reply(w, status, map[string]string{"error": message})
}

// explain says who is to blame for an error: the client, the database that
// does not answer, or this program.
func explain(err error) (status int, message string) {
	if refused, ok := errors.AsType[*requestError](err); ok {
		return refused.status, refused.message
	}
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return http.StatusServiceUnavailable, silentDatabase
	}
	switch {
	case refused.Code == "23505", refused.Code == "23503": // unique_violation, foreign_key_violation
		return http.StatusConflict, refused.Message
	case hasClass(refused, "22", "23"): // data exception, integrity constraint violation
		return http.StatusBadRequest, refused.Message
	case hasClass(refused, "08", "53", "57"): // connection, resources, operator intervention
		return http.StatusServiceUnavailable, silentDatabase
	default:
		return http.StatusInternalServerError, "internal error, see the log"
	}
}

// hasClass compares the first two characters of the SQLSTATE.
func hasClass(err *pgconn.PgError, classes ...string) bool {
	return slices.ContainsFunc(classes, func(class string) bool { return strings.HasPrefix(err.Code, class) })
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The status is sent. If the client is gone, nobody is left to tell.
	_ = json.NewEncoder(w).Encode(body)
}
