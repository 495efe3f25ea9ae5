package database

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	migratedb "github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Pauses between two tries to take the lock.
const (
	lockPauseFirst = 100 * time.Millisecond
	lockPauseLast  = 2 * time.Second
)

// lockKey is the advisory lock of golang-migrate's own command for the same
// database. The command takes the name of the database from the path of a URL,
// with the slash in front; a program that hands golang-migrate a connection
// takes another lock, and both run at once. The schema is part of it.
func (s *session) lockKey() (int64, error) {
	id, err := migratedb.GenerateAdvisoryLockId("/"+s.settings.name, s.table.schema, versionTable)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(id, 10, 64)
}

// lock takes the advisory lock, or returns an error that says who has it. It
// asks again and again instead of waiting in the server: a session that waits
// there holds a snapshot, for which an index that is built concurrently waits
// in turn, and PostgreSQL ends one of the two (D3, golang-migrate#960).
func (s *session) lock(ctx context.Context, wait time.Duration) error {
	key, err := s.lockKey()
	if err != nil {
		return err
	}
	until := time.Now().Add(wait)
	for pause := lockPauseFirst; ; pause = min(2*pause, lockPauseLast) {
		var got bool
		if err := s.conn.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1)", key).Scan(&got); err != nil {
			return s.settings.explainSQL("migration lock", err)
		}
		if got {
			s.locked = true
			return nil
		}
		holder, err := s.lockHolder(ctx, key)
		if err != nil {
			return s.settings.explainSQL("migration lock", err)
		}
		if !time.Now().Before(until) {
			return reconciler.Transientf("MigrationLocked", "another migration of this database has held the lock for longer than %s: %s", wait, holder)
		}
		s.log.InfoContext(ctx, "waiting for another migration", "holder", holder)
		if err := sleep(ctx, min(jitter(pause), time.Until(until))); err != nil {
			return reconciler.Transientf("MigrationLocked", "stopped while another migration held the lock: %s", holder)
		}
	}
}

// unlock gives the lock back. With a connection that is gone, it is gone.
func (s *session) unlock(ctx context.Context) error {
	key, err := s.lockKey()
	if err != nil || !s.locked || s.conn.IsClosed() {
		return err
	}
	s.locked = false
	_, err = s.conn.Exec(ctx, "SELECT pg_catalog.pg_advisory_unlock($1)", key)
	return err
}

// lockHolder describes the session that has the lock. Parts of it are hidden
// from roles without pg_read_all_stats.
func (s *session) lockHolder(ctx context.Context, key int64) (string, error) {
	var process int32
	var application, role, address, since *string
	err := s.conn.QueryRow(ctx, `
SELECT l.pid, a.application_name, a.usename::text, pg_catalog.host(a.client_addr),
       pg_catalog.to_char(a.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.classid::bigint = $1::bigint >> 32 AND l.objid::bigint = $1::bigint & 4294967295
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
LIMIT 1`, key).Scan(&process, &application, &role, &address, &since)
	if errors.Is(err, pgx.ErrNoRows) {
		return "a session that has just ended", nil
	}
	if err != nil {
		return "", err
	}
	text := []string{fmt.Sprintf("server process %d", process)}
	for _, part := range []struct {
		name  string
		value *string
	}{{"application", application}, {"role", role}, {"from", address}, {"last statement at", since}} {
		if part.value != nil && *part.value != "" {
			text = append(text, part.name+" "+oneLine(*part.value))
		}
	}
	return strings.Join(text, ", "), nil
}

// jitter shortens a pause by up to a half, so that those who wait do not all
// come back at once.
func jitter(pause time.Duration) time.Duration {
	return pause - time.Duration(rand.Int64N(int64(pause/2)))
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
