package database_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
)

func TestASecretIsChecked(t *testing.T) {
	whole := func() reconciler.Secret {
		return reconciler.Secret{
			"host": []byte("127.0.0.1"), "port": []byte("1"), "user": []byte("u"), "password": []byte("hunter2%zz"), "dbname": []byte("d"), "sslmode": []byte("disable"),
		}
	}
	for name, test := range map[string]struct {
		change  func(reconciler.Secret)
		message string
	}{
		"no host":               {func(s reconciler.Secret) { delete(s, "host") }, "the Secret has no key host: add it, such as host: postgres"},
		"an empty user":         {func(s reconciler.Secret) { s["user"] = nil }, "the Secret has no key user: add it, such as user: unity"},
		"no password":           {func(s reconciler.Secret) { delete(s, "password") }, "the Secret has no key password: add it, such as password: …"},
		"no dbname":             {func(s reconciler.Secret) { delete(s, "dbname") }, "the Secret has no key dbname: add it, such as dbname: unity"},
		"no sslmode":            {func(s reconciler.Secret) { delete(s, "sslmode") }, "the Secret has no key sslmode: add it, such as sslmode: verify-full (or disable, where the server speaks no TLS)"},
		"a port that is a word": {func(s reconciler.Secret) { s["port"] = []byte("tcp") }, "key port must be a number from 1 to 65535"},
		"a port out of range":   {func(s reconciler.Secret) { s["port"] = []byte("65536") }, "key port must be a number from 1 to 65535"},
		"an unknown sslmode":    {func(s reconciler.Secret) { s["sslmode"] = []byte("on") }, "key sslmode must be disable, allow, prefer, require, verify-ca or verify-full"},
		"a root that is none":   {func(s reconciler.Secret) { s["sslrootcert"] = []byte("x") }, "key sslrootcert holds no certificate in PEM form"},
		"several hosts":         {func(s reconciler.Secret) { s["host"] = []byte("a,b") }, "key host must be one name or address: lists are not supported, name the primary server"},
		"a NUL in the password": {func(s reconciler.Secret) { s["password"] = []byte("a\x00b") }, "keys user, password and dbname must not hold a NUL character"},
		"all that is wrong at once": {
			func(s reconciler.Secret) { delete(s, "dbname"); delete(s, "port") },
			"the Secret has no key port: add it, such as port: \"5432\"\nthe Secret has no key dbname: add it, such as dbname: unity",
		},
	} {
		t.Run(name, func(t *testing.T) {
			secret := whole()
			test.change(secret)
			_, err := database.State(t.Context(), secret, "")
			assert.Error(t, err, test.message)
			assert.Assert(t, reconciler.IsTerminal(err))
			assert.Equal(t, reconciler.ReasonOf(err, ""), "CredentialsInvalid")
		})
	}
}

func TestAnyPasswordWorksAndIsNeverShown(t *testing.T) {
	// D11, S32.
	r := newRunner(t)
	for _, password := range []string{"hunter2%zz", "p@ss:w/rd", " sp ace ", `qu'o"te`, `back\slash`, "per%cent%41", "ünï©ode", "line\n", "a=b sslmode=disable", "#?&;$$"} {
		t.Run(password, func(t *testing.T) {
			r.SetPassword(t, password)
			_ = r.state(t)
			report := r.migrate(t, files{"1_a.up.sql": "SELECT 1"})
			assert.Equal(t, database.ExitCode(report), database.ExitOK, report.Message)

			r.SetPassword(t, "another")
			r.Password = password
			_, err := database.State(t.Context(), r.Secret(), "")
			assert.ErrorContains(t, err, "28P01")
			assert.Assert(t, !strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), password))
			r.migrate(t, files{"1_a.up.sql": "SELECT 1"})
		})
	}
}

func TestTheEnvironmentDecidesNothing(t *testing.T) {
	r := newRunner(t)
	for _, variable := range []string{
		"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGSSLMODE", "PGSSLKEY", "PGSSLCERT",
		"PGSSLCERTMODE", "PGSSLSNI", "PGSSLROOTCERT", "PGSSLPASSWORD", "PGSSLNEGOTIATION", "PGTARGETSESSIONATTRS", "PGSERVICEFILE", "PGTZ", "PGOPTIONS",
		"PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION", "PGCHANNELBINDING", "PGREQUIREAUTH",
	} {
		t.Setenv(variable, "nonsense")
	}
	assert.Equal(t, r.state(t), reconciler.SchemaState{})
	report := r.migrate(t, files{"1_a.up.sql": "CREATE TABLE a AS SELECT current_setting('application_name') AS v"})
	assert.Equal(t, report.Outcome, database.OutcomeSucceeded, report.Message)

	t.Setenv("PGSERVICE", "nonsense")
	_, err := database.State(t.Context(), r.Secret(), "")
	assert.ErrorContains(t, err, "unset PGSERVICE")
	assert.Assert(t, reconciler.IsTerminal(err))
}

func TestWhyAServerCannotBeReached(t *testing.T) {
	// D14.
	r := newRunner(t)
	nobody := closedPort(t)
	for name, test := range map[string]struct {
		key, value string
		terminal   bool
		message    string
	}{
		"a wrong password":           {"password", "wrong", true, "password authentication failed for user \"" + r.User + "\" (SQLSTATE 28P01): correct the Secret or the role"},
		"a password with an end":     {"password", "wrong\n", true, "the password in the Secret ends in a line break, take that out"},
		"an unknown role":            {"user", "nobody", true, "(SQLSTATE 28P01): correct the Secret or the role"},
		"an unknown database":        {"dbname", "nothing", true, "database \"nothing\" does not exist (SQLSTATE 3D000): correct the Secret or the role"},
		"nobody listens":             {"port", nobody, false, "connection refused"},
		"a name that is none":        {"host", "db.invalid", false, "lookup db.invalid"},
		"a server without TLS (D13)": {"sslmode", "verify-full", true, "server refused TLS connection: the server speaks no TLS: set up TLS there, or set sslmode in the Secret to disable"},
	} {
		t.Run(name, func(t *testing.T) {
			secret := r.Secret()
			secret[test.key] = []byte(test.value)
			_, err := database.State(t.Context(), secret, "")
			assert.ErrorContains(t, err, test.message)
			assert.Equal(t, reconciler.IsTerminal(err), test.terminal)

			report := database.Migrate(t.Context(), database.Options{Secret: secret, Archive: files{"1_a.up.sql": "SELECT 1"}.archive(t)})
			assert.Assert(t, strings.Contains(report.Message, test.message), report.Message)
			assert.Equal(t, report.Outcome == database.OutcomeFailed, test.terminal)
		})
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	assert.NilError(t, err)
	return port
}

// countingProxy passes connections on to a server and counts them.
func countingProxy(t *testing.T, target string) (port string, count *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	count = &atomic.Int32{}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		}
	}()
	_, port, err = net.SplitHostPort(listener.Addr().String())
	assert.NilError(t, err)
	return port, count
}

func TestAWrongPasswordIsTriedOnce(t *testing.T) {
	// D14: no hammering.
	r := newRunner(t)
	port, count := countingProxy(t, fmt.Sprintf("%s:%d", r.Host, r.Port))
	secret := r.Secret()
	secret["port"], secret["password"] = []byte(port), []byte("wrong")
	_, err := database.State(t.Context(), secret, "")
	assert.ErrorContains(t, err, "28P01")
	assert.Equal(t, count.Load(), int32(1))
	database.Migrate(t.Context(), database.Options{Secret: secret, Archive: files{"1_a.up.sql": "SELECT 1"}.archive(t)})
	assert.Equal(t, count.Load(), int32(2))
}

func TestAServerThatIsSilentIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	assert.NilError(t, err)
	secret := reconciler.Secret{
		"host": []byte("127.0.0.1"), "port": []byte(port), "user": []byte("u"), "password": []byte("p"), "dbname": []byte("d"), "sslmode": []byte("disable"),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = database.State(ctx, secret, "")
	assert.ErrorContains(t, err, "database d at 127.0.0.1:"+port)
	assert.Assert(t, !reconciler.IsTerminal(err))
}

func TestAHostWithoutADotIsAService(t *testing.T) {
	for host, want := range map[string]string{
		"postgres-0":  "postgres-0.unity.svc",
		"db.invalid":  "db.invalid",
		"db.invalid.": "db.invalid.",
		"::ffff:7f00": "[::ffff:7f00]:1",
		"/nowhere":    "/nowhere",
		"localhost":   "localhost:1",
		"127.0.0.1":   "127.0.0.1:1",
	} {
		t.Run(host, func(t *testing.T) {
			secret := reconciler.Secret{
				"host": []byte(host + "\n"), "port": []byte(" 1\n"), "user": []byte("u"), "password": []byte("p"), "dbname": []byte("d"), "sslmode": []byte("disable\n"),
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := database.State(ctx, secret, "unity")
			assert.ErrorContains(t, err, want)
			assert.Equal(t, strings.Contains(err.Error(), ".svc"), host == "postgres-0")
		})
	}
}

func TestAUnixSocketWorks(t *testing.T) {
	server := shared.Server(t)
	secret := reconciler.Secret{
		"host": []byte(filepath.Clean(server.Socket)), "port": fmt.Append(nil, server.Port), "user": []byte("postgres"), "password": nil,
		"dbname": []byte("postgres"), "sslmode": []byte("verify-full"),
	}
	state, err := database.State(t.Context(), secret, "unity")
	assert.NilError(t, err)
	assert.Equal(t, state, reconciler.SchemaState{})
}
