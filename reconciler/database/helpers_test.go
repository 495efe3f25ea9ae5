package database_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

var shared postgres.Shared

// childVariable makes the test binary run one migration and nothing else.
const childVariable = "LOCKSTEP_TEST_MIGRATION"

// sigterm is how a kubelet tells a container to go.
const sigterm = syscall.SIGTERM

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		os.Exit(child(path))
	}
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

// order is what a child process is to do.
type order struct {
	Secret   map[string][]byte
	Archive  []byte
	LockWait time.Duration
}

func child(path string) int {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	var o order
	if err := json.Unmarshal(content, &o); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	report := database.Migrate(ctx, database.Options{Secret: o.Secret, Archive: o.Archive, LockWait: o.LockWait})
	content, err = json.Marshal(report)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(content))
	return database.ExitCode(report)
}

// writeOrder puts an order into a file and returns the environment of the child.
func writeOrder(t *testing.T, o order) string {
	t.Helper()
	content, err := json.Marshal(o)
	assert.NilError(t, err)
	path := filepath.Join(t.TempDir(), "order.json")
	assert.NilError(t, os.WriteFile(path, content, 0o600))
	return childVariable + "=" + path
}

// files are migration files by their name.
type files map[string]string

func (f files) tree() fstest.MapFS {
	tree := fstest.MapFS{"migrations": {Mode: os.ModeDir | 0o755}}
	for name, content := range f {
		tree["migrations/"+name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return tree
}

func (f files) archive(t *testing.T) []byte {
	t.Helper()
	set, err := database.Read(f.tree(), "migrations")
	assert.NilError(t, err)
	return set.Archive
}

// runner runs migrations on a fresh database.
type runner struct {
	postgres.Database
	options database.Options
	log     *bytes.Buffer
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	return runnerOn(shared.Server(t).Database(t))
}

func runnerOn(d postgres.Database) *runner {
	r := &runner{Database: d, log: &bytes.Buffer{}}
	r.options = database.Options{LockTimeout: 300 * time.Millisecond, LockWait: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	return r
}

func (r *runner) migrate(t *testing.T, f files) reconciler.MigrationReport {
	t.Helper()
	return r.migrateContext(t.Context(), t, f)
}

func (r *runner) migrateContext(ctx context.Context, t *testing.T, f files) reconciler.MigrationReport {
	t.Helper()
	options := r.options
	options.Archive, options.Secret = f.archive(t), r.Secret()
	report := database.Migrate(ctx, options)
	content, err := json.Marshal(report)
	assert.NilError(t, err)
	assert.Assert(t, len(content) <= 4096, "a report of %d bytes", len(content))
	assert.Assert(t, !strings.Contains(string(content)+r.log.String(), r.Password))
	return report
}

func (r *runner) state(t *testing.T) reconciler.SchemaState {
	t.Helper()
	state, err := database.State(t.Context(), r.Secret(), "")
	assert.NilError(t, err)
	return state
}

// has tells whether a relation exists in schema public.
func has(t *testing.T, conn *pgx.Conn, name string) bool {
	t.Helper()
	return scalar[bool](t, conn, "SELECT to_regclass('public."+name+"') IS NOT NULL")
}

func scalar[T any](t *testing.T, conn *pgx.Conn, sql string, arguments ...any) T {
	t.Helper()
	var out T
	assert.NilError(t, conn.QueryRow(t.Context(), sql, arguments...).Scan(&out))
	return out
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	assert.NilError(t, err)
}

func clean(version uint64) reconciler.SchemaState {
	return reconciler.SchemaState{Versioned: true, Version: version}
}

func dirty(version uint64) reconciler.SchemaState {
	return reconciler.SchemaState{Versioned: true, Version: version, Dirty: true}
}
