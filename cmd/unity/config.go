package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// config of the backend, from the environment.
type config struct {
	// database has the address and no password.
	database connection
	password string
	// drain is how long the backend goes on serving after it was told to stop.
	drain time.Duration
}

// connection is keywords and values of a PostgreSQL connection string.
type connection [][2]string

// String writes them down as libpq reads them.
func (c connection) String() string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	words := make([]string, len(c))
	for i, setting := range c {
		words[i] = setting[0] + "='" + quote.Replace(setting[1]) + "'"
	}
	return strings.Join(words, " ")
}

// readConfig names every variable that cannot be used, all at once.
func readConfig(getenv func(string) string) (config, error) {
	var errs []error
	required := func(name string) string {
		value := getenv(name)
		if value == "" {
			errs = append(errs, fmt.Errorf("%s is required", name))
		}
		return value
	}
	optional := func(name, preset string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return preset
	}
	c := config{
		database: connection{
			{"host", required("DB_HOST")},
			{"port", optional("DB_PORT", "5432")},
			{"user", required("DB_USER")},
			{"dbname", required("DB_NAME")},
			{"sslmode", optional("DB_SSLMODE", "prefer")},
			{"application_name", "unity"},
			{"connect_timeout", "3"},
		},
		password: getenv("DB_PASSWORD"),
	}
	var err error
	if c.drain, err = time.ParseDuration(optional("DRAIN", "3s")); err != nil || c.drain < 0 {
		errs = append(errs, fmt.Errorf("DRAIN is %q: use a duration such as 3s", getenv("DRAIN")))
	}
	if _, err := strconv.ParseUint(optional("DB_PORT", "5432"), 10, 16); err != nil {
		errs = append(errs, fmt.Errorf("DB_PORT is %q: use a number from 1 to 65535", getenv("DB_PORT")))
	}
	return c, errors.Join(errs...)
}

// poolConfig sets up connections. The password is put in last, into its own
// field: no string that could end up in an error or a log ever holds it.
func (c config) poolConfig() (*pgxpool.Config, error) {
	pool, err := pgxpool.ParseConfig(c.database.String())
	if err != nil {
		return nil, fmt.Errorf("database settings: %w", err)
	}
	pool.ConnConfig.Password = c.password
	// A statement that was prepared before a migration can fail after it, on
	// every connection once, because its result has changed. Describing each
	// statement anew costs a round trip and never fails a request.
	pool.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	pool.MaxConns = 8
	return pool, nil
}
