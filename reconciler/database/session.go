package database

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// checkInterval is how often the server looks whether the client of a running
// statement is still there. Without it a killed migration is finished and
// committed by the server on its own (D2).
const checkInterval = 2 * time.Second

// checkIntervalSince is the first major version that can do so.
const checkIntervalSince = 14

// cleanupTimeout bounds what is still said to the server after the context
// has ended.
const cleanupTimeout = 10 * time.Second

// session is the one connection that a migration uses.
type session struct {
	settings settings
	conn     *pgx.Conn
	log      *slog.Logger
	// statementTimeout as the server was told.
	statementTimeout time.Duration
	// watched is true when the server looks after the client.
	watched bool

	table  table
	locked bool
}

// openSession connects for a migration. The timeouts are part of the first
// message, so that no statement is ever without them, and stay what RESET ALL
// returns to.
func openSession(ctx context.Context, s settings, options Options) (*session, error) {
	conn, err := s.connect(ctx, map[string]string{
		"application_name":                    applicationName,
		"client_encoding":                     "UTF8",
		"standard_conforming_strings":         "on",
		"lock_timeout":                        milliseconds(options.LockTimeout),
		"statement_timeout":                   milliseconds(options.StatementTimeout),
		"idle_in_transaction_session_timeout": "0",
	})
	if err != nil {
		return nil, err
	}
	out := &session{settings: s, conn: conn, log: options.Log, statementTimeout: options.StatementTimeout}
	if err := out.prepare(ctx, options); err != nil {
		closeConn(ctx, conn)
		return nil, err
	}
	return out, nil
}

// applicationName is how a migration is called in pg_stat_activity.
const applicationName = "lockstep-migrate"

func (s *session) prepare(ctx context.Context, options Options) error {
	if err := s.refusePooler(ctx, options); err != nil {
		return err
	}
	if err := s.watchClient(ctx); err != nil {
		return s.settings.explainSQL("session", err)
	}
	found, err := findTable(ctx, s.conn)
	if err != nil {
		return s.settings.explainSQL("version table", err)
	}
	s.table = found
	return nil
}

// refusePooler compares what the server says of itself with what was agreed
// when connecting, twice (D4). A pooler answers the first message itself, with
// a process number of its own making.
func (s *session) refusePooler(ctx context.Context, options Options) error {
	announced := s.conn.PgConn().PID()
	for range 2 {
		var process uint32
		var timeout string
		err := s.conn.QueryRow(ctx, "SELECT pg_catalog.pg_backend_pid(), (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'lock_timeout')").Scan(&process, &timeout)
		if err != nil {
			return s.settings.explainSQL("session", err)
		}
		if process != announced || timeout != milliseconds(options.LockTimeout) {
			return s.settings.pooler(fmt.Errorf("%s: server process %d answers on a connection to process %d", s.settings, process, announced))
		}
	}
	return nil
}

// watchClient asks the server to look after us, where it can. It cannot
// before version 14, nor on every system.
func (s *session) watchClient(ctx context.Context) error {
	if major(s.conn.PgConn().ParameterStatus("server_version")) < checkIntervalSince {
		return nil
	}
	_, err := s.conn.Exec(ctx, "SELECT pg_catalog.set_config('client_connection_check_interval', $1, false)", milliseconds(checkInterval))
	if err != nil && s.conn.IsClosed() {
		return err
	}
	s.watched = err == nil
	return nil
}

// reset takes back what a file did to the session, so that it cannot change
// what the next one means. Advisory locks stay.
func (s *session) reset(ctx context.Context) error {
	for _, statement := range []string{
		"RESET SESSION AUTHORIZATION", "RESET ROLE", "RESET ALL",
		"CLOSE ALL", "UNLISTEN *", "DEALLOCATE ALL", "DISCARD TEMP", "DISCARD SEQUENCES",
	} {
		if _, err := s.conn.Exec(ctx, statement); err != nil {
			return s.settings.explainSQL("session", err)
		}
	}
	if err := s.watchClient(ctx); err != nil {
		return s.settings.explainSQL("session", err)
	}
	return nil
}

// close ends the session, and with it all of its locks.
func (s *session) close(ctx context.Context) { closeConn(ctx, s.conn) }

// announce tells the log how the database was reached.
func (s *session) announce(ctx context.Context) {
	transport := "plain"
	if secure, ok := s.conn.PgConn().Conn().(*tls.Conn); ok {
		transport = tls.VersionName(secure.ConnectionState().Version)
	}
	s.log.InfoContext(ctx, "connected", "database", s.settings.name, "host", s.settings.host, "role", s.settings.user,
		"server", s.conn.PgConn().ParameterStatus("server_version"), "transport", transport, "clientWatched", s.watched)
}

// milliseconds is a duration as a server setting, at least 1: 0 would mean
// that there is no limit.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

// major reads the major version out of 15.18 (Debian 15.18-1), or 17beta1.
func major(version string) int {
	digits := version[:len(version)-len(strings.TrimLeft(version, "0123456789"))]
	number, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return number
}

// cleanup is a context for what must be said to the server after ctx ended.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}
