package database

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Keys of the Secret that names a database.
const (
	hostKey        = "host"
	portKey        = "port"
	userKey        = "user"
	passwordKey    = "password"
	databaseKey    = "dbname"
	sslModeKey     = "sslmode"
	sslRootCertKey = "sslrootcert"
)

// connectTimeout bounds the time until a server has let us in.
const connectTimeout = 5 * time.Second

// cancelGrace is how long a statement may take to end after its cancellation,
// before the connection is given up.
const cancelGrace = 5 * time.Second

// reasonCredentials is the reason of a Secret that cannot be used as it is.
const reasonCredentials = "CredentialsInvalid"

// settings are the data of a Secret, checked.
type settings struct {
	host     string
	port     uint16
	user     string
	password string
	name     string
	// tls are the ways to connect, in the order in which they are tried; nil
	// is a plain connection.
	tls []*tls.Config
	// lineEnd is true when the password ends in a line break, which a file
	// written by an editor does and a password hardly ever.
	lineEnd bool
}

// String names the database without the credentials.
func (s settings) String() string {
	return fmt.Sprintf("database %s at %s", s.name, net.JoinHostPort(s.host, strconv.Itoa(int(s.port))))
}

// parseSecret checks the data of a Secret. The error is terminal, names every
// key that is wrong, and never holds a value of the password.
func parseSecret(secret reconciler.Secret) (settings, error) {
	s := settings{password: string(secret[passwordKey])}
	s.lineEnd = strings.HasSuffix(s.password, "\n")
	var errs []error
	text := func(key, example string) string {
		value, ok := secret[key]
		trimmed := strings.TrimSpace(string(value))
		if !ok || trimmed == "" && key != passwordKey {
			errs = append(errs, fmt.Errorf("the Secret has no key %s: add it, such as %s: %s", key, key, example))
		}
		return trimmed
	}
	s.host = text(hostKey, "postgres")
	s.port = parsePort(text(portKey, `"5432"`), &errs)
	s.user = text(userKey, "unity")
	text(passwordKey, "…")
	s.name = text(databaseKey, "unity")
	mode := text(sslModeKey, "verify-full (or disable, where the server speaks no TLS)")
	if strings.ContainsAny(s.host, ", \t\n") {
		errs = append(errs, errors.New("key host must be one name or address: lists are not supported, name the primary server"))
	}
	if strings.Contains(s.user+s.password+s.name, "\x00") {
		errs = append(errs, errors.New("keys user, password and dbname must not hold a NUL character"))
	}
	var err error
	if s.tls, err = tlsConfigs(mode, s.host, secret[sslRootCertKey]); err != nil && mode != "" {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return settings{}, reconciler.Terminal(reasonCredentials, err)
	}
	return s, nil
}

func parsePort(value string, errs *[]error) uint16 {
	if value == "" {
		return 0
	}
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		*errs = append(*errs, errors.New("key port must be a number from 1 to 65535"))
	}
	return uint16(port)
}

// inNamespace returns the settings as seen from another namespace: a host
// without a dot is a Service. The name in the certificate stays as it was.
func (s settings) inNamespace(namespace string) settings {
	if namespace != "" && s.host != "localhost" && !strings.Contains(s.host, ".") && !path.IsAbs(s.host) && net.ParseIP(s.host) == nil {
		s.host += "." + namespace + ".svc"
	}
	return s
}

// neutral sets each parameter that an environment variable, a service file or
// a password file could set otherwise: pgx reads those before it makes a
// configuration, and there is no other way to make one. Nothing of a Secret is
// ever part of such a string (D11, S32).
const neutral = "host=localhost port=5432 user=lockstep dbname=lockstep passfile='' " +
	"sslmode=disable sslcert='' sslkey='' sslrootcert='' sslpassword='' sslcertmode=allow sslsni=1 sslnegotiation=postgres " +
	"connect_timeout=5 target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0 channel_binding=prefer require_auth=''"

// config makes a configuration of pgx. The parameters become the session's
// defaults, to which RESET ALL returns.
func (s settings) config(parameters map[string]string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(neutral)
	if err != nil {
		return nil, reconciler.Terminalf(reasonCredentials, "environment of this process: %w: unset PGSERVICE and other PG variables", err)
	}
	dialer := net.Dialer{
		Timeout: connectTimeout,
		// A server that is gone without a word is noticed within a minute.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3},
	}
	config.Host, config.Port, config.Database = s.host, s.port, s.name
	config.User, config.Password = s.user, s.password
	config.ConnectTimeout, config.DialFunc = connectTimeout, dialer.DialContext
	config.RuntimeParams = parameters
	config.TLSConfig, config.Fallbacks = s.tls[0], nil
	for _, other := range s.tls[1:] {
		config.Fallbacks = append(config.Fallbacks, &pgconn.FallbackConfig{Host: s.host, Port: s.port, TLSConfig: other})
	}
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelGrace}
	}
	// Extended protocol without named statements, which a pooler would lose.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	return config, nil
}

// connect opens a connection. The error says what to do.
func (s settings) connect(ctx context.Context, parameters map[string]string) (*pgx.Conn, error) {
	config, err := s.config(parameters)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.explainConnect(err)
	}
	return conn, nil
}
