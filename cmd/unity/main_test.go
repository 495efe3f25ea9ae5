package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/migrations"
	"github.com/lockstep-gitops/lockstep/test/postgres"
)

var shared postgres.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	shared.Stop()
	os.Exit(code)
}

// logBuffer is what a program writes, read while it does.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// environment is what the Secret of a database becomes in the Pod.
func environment(database postgres.Database) map[string]string {
	return map[string]string{
		"DB_HOST": database.Host, "DB_PORT": strconv.Itoa(int(database.Port)), "DB_USER": database.User,
		"DB_PASSWORD": database.Password, "DB_NAME": database.Name, "DB_SSLMODE": database.SSLMode,
	}
}

func getenv(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// unity is a backend of one generation on a database.
type unity struct {
	url  string
	log  *logBuffer
	pool *pgxpool.Pool
}

func newUnity(t *testing.T, generation string, env map[string]string) *unity {
	t.Helper()
	build, err := newBuild(generation)
	assert.NilError(t, err)
	config, err := readConfig(getenv(env))
	assert.NilError(t, err)
	poolConfig, err := config.poolConfig()
	assert.NilError(t, err)
	pool, err := pgxpool.NewWithConfig(t.Context(), poolConfig)
	assert.NilError(t, err)
	t.Cleanup(pool.Close)
	u := &unity{log: &logBuffer{}, pool: pool}
	s := &server{build: build, pool: pool, log: slog.New(slog.NewJSONHandler(u.log, nil)), stopping: t.Context().Done()}
	listening := httptest.NewServer(s.handler())
	t.Cleanup(listening.Close)
	u.url = listening.URL
	return u
}

// unityOn is a backend on a new database of that schema version.
func unityOn(t *testing.T, generation string, schema uint) *unity {
	t.Helper()
	database := shared.Server(t).Database(t)
	u := newUnity(t, generation, environment(database))
	u.migrate(t, schema)
	return u
}

// migrate brings the database to a version; 0 is one without any table.
func (u *unity) migrate(t *testing.T, version uint) {
	t.Helper()
	if version == 0 {
		return
	}
	source, err := iofs.New(migrations.FS, ".")
	assert.NilError(t, err)
	driver, err := migratepgx.WithInstance(stdlib.OpenDB(*u.pool.Config().ConnConfig), &migratepgx.Config{})
	assert.NilError(t, err)
	m, err := migrate.NewWithInstance("iofs", source, "pgx5", driver)
	assert.NilError(t, err)
	defer func() { _, _ = m.Close() }()
	assert.NilError(t, m.Migrate(version))
}

func (u *unity) exec(t *testing.T, statement string) {
	t.Helper()
	_, err := u.pool.Exec(t.Context(), statement)
	assert.NilError(t, err, statement)
}

// answered is what a request came back with.
type answered struct {
	status int
	header http.Header
	text   string
	// last says that the connection is not used again.
	last bool
}

// body is the answer as a JSON object.
func (a answered) body(t *testing.T) object {
	t.Helper()
	var body object
	assert.NilError(t, json.Unmarshal([]byte(a.text), &body), a.text)
	return body
}

// items are the rows of a list.
func (a answered) items(t *testing.T) []any {
	t.Helper()
	assert.Equal(t, a.status, http.StatusOK, a.text)
	items, ok := a.body(t)["items"].([]any)
	assert.Assert(t, ok, a.text)
	return items
}

// values collects one field of the rows of a list.
func (a answered) values(t *testing.T, field string) []any {
	t.Helper()
	var values []any
	for _, item := range a.items(t) {
		values = append(values, item.(object)[field])
	}
	return values
}

// request sends one request; headers are name and value in turn.
func (u *unity) request(t *testing.T, method, path, body string, headers ...string) answered {
	t.Helper()
	return request(t, method, u.url+path, body, headers...)
}

func request(t *testing.T, method, url, body string, headers ...string) answered {
	t.Helper()
	answer, err := fetch(t.Context(), method, url, body, headers...)
	assert.NilError(t, err)
	return answer
}

func fetch(ctx context.Context, method, url, body string, headers ...string) (answered, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return answered{}, err
	}
	text, err := io.ReadAll(response.Body)
	return answered{response.StatusCode, response.Header, string(text), response.Close}, errors.Join(err, response.Body.Close())
}

func (u *unity) get(t *testing.T, path string, headers ...string) answered {
	t.Helper()
	return u.request(t, http.MethodGet, path, "", headers...)
}

func TestAWrongCommandLineIsExplained(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"an unknown command":         {[]string{"deploy"}, `unknown command "deploy"`},
		"an unknown flag":            {[]string{"--listen", ":1"}, "-listen"},
		"an argument too many":       {[]string{"serve", "now"}, `unexpected argument "now"`},
		"a probe of nothing":         {[]string{"probe"}, `URL is ""`},
		"a probe of a file":          {[]string{"probe", "file:///etc/passwd"}, "use http://host/path"},
		"a probe without a rate":     {[]string{"probe", "http://a/", "--rate", "0"}, "use a rate"},
		"a probe for a time gone by": {[]string{"probe", "http://a/", "--for", "-1s"}, "a time above 0"},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			code := execute(t.Context(), test.args, process{getenv: getenv(nil), stdout: &log, stderr: &log})
			assert.Equal(t, code, 2)
			assert.Assert(t, strings.Contains(log.String(), test.says), log.String())
		})
	}
}

func TestHelpIsNoError(t *testing.T) {
	var log logBuffer
	assert.Equal(t, execute(t.Context(), []string{"--help"}, process{getenv: getenv(nil), stdout: &log, stderr: &log}), 0)
	assert.Assert(t, strings.Contains(log.String(), "-address"), log.String())
}
