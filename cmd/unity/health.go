package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// pingTimeout is shorter than the timeout of the kubelet's probes, so that
// they get an answer and not a closed connection.
const pingTimeout = 800 * time.Millisecond

// firstVersion is the schema of the first migration.
const firstVersion = 1

// health says that the process is alive, and with it what state the database
// is in and which schema this build works with. A database that is down is no
// reason to restart the backend, so the status is 200 all the same.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
	defer cancel()
	database := "up"
	if s.pool.Ping(ctx) != nil {
		database = "down"
	}
	reply(w, http.StatusOK, map[string]any{
		"status": "ok", "version": s.build.version, "database": database, "schema": s.build.schema,
	})
}

// ready says whether requests should be sent here: the database answers, its
// schema is new enough, and the process is not about to end.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	reason, err := s.unready(r.Context())
	if last := s.reason.Swap(&reason); last == nil || *last != reason {
		s.log.Info("readiness", slog.Bool("ready", reason == ""), slog.String("reason", reason), slog.Any("error", err))
	}
	if reason != "" {
		reply(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "reason": reason})
		return
	}
	reply(w, http.StatusOK, map[string]any{"ready": true})
}

// unready is the reason not to be ready, empty for none, and for the log the
// error behind it.
//
// Only the lower end of the range counts here. The upper end is for those who
// decide on a rollback; to stop serving because a migration went ahead would be
// the very outage that the range is to prevent.
func (s *server) unready(ctx context.Context) (reason string, err error) {
	select {
	case <-s.stopping:
		return "stopping", nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	needed := s.build.schema.Min
	version, dirty, err := s.schemaVersion(ctx)
	switch {
	case err != nil:
		return silentDatabase, err
	case needed <= firstVersion:
		// The tables may be older than migrations and carry no version.
		return "", nil
	case version < needed:
		return fmt.Sprintf("schema version is %d, needed is %d", version, needed), nil
	case version == needed && dirty:
		// A later version that is dirty is a migration at work on a schema
		// that has all this build needs.
		return fmt.Sprintf("migration %d has not finished", version), nil
	default:
		return "", nil
	}
}

// schemaVersion is what golang-migrate has written down, 0 for nothing yet.
func (s *server) schemaVersion(ctx context.Context) (version int64, dirty bool, err error) {
	err = s.pool.QueryRow(ctx, "SELECT version, dirty FROM schema_migrations").Scan(&version, &dirty)
	const undefinedTable = "42P01"
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == undefinedTable || errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	return version, dirty, err
}
