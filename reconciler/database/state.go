package database

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Bounds of a look at a version table. Waiting for its lock means that
// somebody writes it just now, which never takes long.
const (
	stateTimeout     = 10 * time.Second
	stateLockTimeout = time.Second
)

// State reads the version table of a database with plain SQL. It takes no
// advisory lock, so that a migration that runs does not hold it up (D7). The
// host of a Secret that has no dot is a Service in namespace.
//
// The error is terminal where only a change of the Secret, the role or the
// database helps: a wrong password, a missing database, the version table of
// another tool. It is not when the server does not answer.
func State(ctx context.Context, credentials reconciler.Secret, namespace string) (reconciler.SchemaState, error) {
	settings, err := parseSecret(credentials)
	if err != nil {
		return reconciler.SchemaState{}, err
	}
	found, err := settings.inNamespace(namespace).readState(ctx)
	if err != nil || !found.known {
		return reconciler.SchemaState{}, err
	}
	// A row with -1 stands for a down migration of the first version that
	// stopped half-way: golang-migrate writes it with dirty only.
	return reconciler.SchemaState{Versioned: true, Version: uint64(max(0, found.number)), Dirty: found.dirty}, nil
}

// readState reads the version over a connection of its own.
func (s settings) readState(ctx context.Context) (version, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	// Poolers refuse parameters that they do not know; a look may go through one.
	conn, err := s.connect(ctx, map[string]string{"application_name": "lockstep", "client_encoding": "UTF8"})
	if err != nil {
		return version{}, err
	}
	defer closeConn(ctx, conn)
	var found version
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_catalog.set_config('lock_timeout', $1, true)", milliseconds(stateLockTimeout)); err != nil {
			return err
		}
		table, err := findTable(ctx, tx)
		if err != nil {
			return err
		}
		found, err = readVersion(ctx, tx, table)
		return err
	})
	if err != nil {
		return version{}, s.explainSQL("version table", err)
	}
	return found, nil
}

// closeConn says goodbye to the server, even when ctx has ended.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	// The server also notices when the goodbye does not get through.
	_ = conn.Close(ctx)
}
