package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Database is a fresh database that its own role owns.
type Database struct {
	Host     string
	Port     uint16
	User     string
	Password string
	Name     string
	// SSLMode is disable: the server speaks no TLS unless it was told to.
	SSLMode string

	server *Server
}

// Database creates a database and a role that owns it. Both go when the test ends.
func (s *Server) Database(t testing.TB) Database {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text()[:10])
	database := Database{
		Host: s.Host, Port: s.Port, User: name, Password: rand.Text(), Name: name, SSLMode: "disable", server: s,
	}
	s.administer(t.Context(), t,
		"CREATE ROLE "+quote(name)+" LOGIN PASSWORD '"+database.Password+"'",
		"CREATE DATABASE "+quote(name)+" OWNER "+quote(name))
	t.Cleanup(func() {
		// The context of the test has ended by the time it is cleaned up.
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		s.administer(ctx, t, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)", "DROP ROLE IF EXISTS "+quote(name))
	})
	return database
}

// Secret is the database as the data of a Secret.
func (d Database) Secret() map[string][]byte {
	return map[string][]byte{
		"host": []byte(d.Host), "port": []byte(strconv.Itoa(int(d.Port))), "user": []byte(d.User),
		"password": []byte(d.Password), "dbname": []byte(d.Name), "sslmode": []byte(d.SSLMode),
	}
}

// SetPassword gives the role another password.
func (d *Database) SetPassword(t testing.TB, password string) {
	t.Helper()
	literal := "E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'"
	d.server.administer(t.Context(), t, "ALTER ROLE "+quote(d.User)+" PASSWORD "+literal)
	d.Password = password
}

// Connect opens a connection to the database as the superuser.
func (d Database) Connect(t testing.TB) *pgx.Conn {
	t.Helper()
	return d.server.Connect(t, d.Name)
}

// Connect opens a connection to a database of the server as the superuser.
func (s *Server) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := s.dial(t.Context(), database)
	if err != nil {
		t.Fatalf("connection to database %s: %v", database, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

func (s *Server) dial(ctx context.Context, database string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	config.Host, config.Port = s.Socket, s.Port
	config.User, config.Password, config.Database = "postgres", "", database
	config.Fallbacks = nil
	config.RuntimeParams = map[string]string{"application_name": "test"}
	return pgx.ConnectConfig(ctx, config)
}

func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := s.dial(ctx, "postgres")
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// administer runs statements as the superuser.
func (s *Server) administer(ctx context.Context, t testing.TB, statements ...string) {
	t.Helper()
	conn, err := s.dial(ctx, "postgres")
	if err != nil {
		t.Fatalf("connection to the server: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", fmt.Sprintf("%.40s", statement), err)
		}
	}
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
