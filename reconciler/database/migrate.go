package database

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Defaults of Options.
const (
	DefaultLockTimeout      = 2 * time.Second
	DefaultStatementTimeout = 15 * time.Minute
	DefaultLockWait         = time.Minute
)

// Options say what Migrate does and what it may do to others.
type Options struct {
	// Archive of the files, from MigrationSet.Archive.
	Archive []byte
	// Secret with the keys host, port, user, password, dbname, sslmode, and
	// sslrootcert where one is needed, in PEM.
	Secret reconciler.Secret
	// LockTimeout is how long one statement may wait for a lock of a table;
	// everybody else queues behind that wait. Zero means DefaultLockTimeout.
	LockTimeout time.Duration
	// StatementTimeout is how long one statement may run. Zero means
	// DefaultStatementTimeout.
	StatementTimeout time.Duration
	// LockWait is how long to wait for another migration of the same database
	// to end. Zero means DefaultLockWait.
	LockWait time.Duration
	// Log is told what happens, nil for nothing.
	Log *slog.Logger
}

func (o *Options) setDefaults() {
	if o.LockTimeout <= 0 {
		o.LockTimeout = DefaultLockTimeout
	}
	if o.StatementTimeout <= 0 {
		o.StatementTimeout = DefaultStatementTimeout
	}
	if o.LockWait <= 0 {
		o.LockWait = DefaultLockWait
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Migrate brings a database to the newest version among the files and reports
// what happened; it returns no error, since a failure is a report too. The end
// of ctx cancels the statement that runs.
//
// The report encodes to at most 4 KiB of JSON, holds no piece of a file and no
// value of a row, and is what ExitCode turns into an exit code.
func Migrate(ctx context.Context, options Options) reconciler.MigrationReport {
	options.setDefaults()
	run := run{options: options}
	err := run.do(ctx)
	return run.conclude(ctx, err)
}

// run is one call of Migrate.
type run struct {
	options  Options
	settings settings
	report   reconciler.MigrationReport
	// since is when the file that runs was begun.
	since time.Time
}

func (r *run) do(ctx context.Context) error {
	var err error
	if r.settings, err = parseSecret(r.options.Secret); err != nil {
		return err
	}
	archive, err := unpack(r.options.Archive)
	if err != nil {
		return err
	}
	files, err := readFolder(archive, ".")
	if err != nil {
		return err
	}
	session, err := openSession(ctx, r.settings, r.options)
	if err != nil {
		return err
	}
	defer session.close(ctx)
	session.announce(ctx)
	if err := session.lock(ctx, r.options.LockWait); err != nil {
		return err
	}
	defer r.unlock(ctx, session)
	if err := session.locate(ctx); err != nil {
		return err
	}
	current, err := readVersion(ctx, session.conn, session.table)
	if err != nil {
		return r.settings.explainSQL("version table", err)
	}
	r.observe(current)
	r.report.VersionBefore = r.report.VersionAfter
	if err := session.judge(ctx, current, files); err != nil {
		return err
	}
	if current.known && uint64(current.number) == files.latest() {
		return nil
	}
	source, err := iofs.New(archive, ".")
	if err != nil {
		return err
	}
	return r.migrate(ctx, session, files, source)
}

// locate looks for the version table, now that nobody else makes one, and
// makes it where there is none.
func (s *session) locate(ctx context.Context) error {
	found, err := findTable(ctx, s.conn)
	if err == nil && !found.exists {
		err = createTable(ctx, s.conn, found)
		found.exists = err == nil
	}
	if err != nil {
		return s.settings.explainSQL("version table", err)
	}
	s.table = found
	return nil
}

// migrate lets golang-migrate choose and order the files.
func (r *run) migrate(ctx context.Context, session *session, files folder, source source.Driver) error {
	driver := &driver{ctx: ctx, session: session, files: files, done: func(f file) { r.applied(ctx, f) }}
	migrator, err := migrate.NewWithInstance("commit", source, "lockstep", driver)
	if err != nil {
		return err
	}
	r.since = time.Now()
	// The exact version, not Up, which goes wherever the files go.
	err = migrator.Migrate(uint(files.latest()))
	if errors.Is(err, migrate.ErrNoChange) {
		return nil
	}
	return err
}

// applied adds a file to the report.
func (r *run) applied(ctx context.Context, f file) {
	took := time.Since(r.since)
	r.since = time.Now()
	r.report.VersionAfter = strconv.FormatUint(f.version, 10)
	r.report.Applied = append(r.report.Applied, reconciler.AppliedMigration{Version: f.version, Title: f.title, Milliseconds: took.Milliseconds()})
	r.options.Log.InfoContext(ctx, "applied", "file", f.name, "took", took.Round(time.Millisecond))
}

// unlock gives the lock back before the session ends, so that whoever waits
// need not wait for the server to notice.
func (r *run) unlock(ctx context.Context, session *session) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if err := session.unlock(ctx); err != nil {
		r.options.Log.WarnContext(ctx, "lock not given back; it ends with the connection", "error", err)
	}
}

// observe puts a version into the report.
func (r *run) observe(v version) {
	r.report.VersionAfter, r.report.Dirty = "", v.dirty
	if v.known {
		r.report.VersionAfter = strconv.FormatInt(v.number, 10)
	}
}
