package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
)

// migration is what `lockstep migrate` is told.
type migration struct {
	archive          string
	credentials      string
	report           string
	lockTimeout      time.Duration
	statementTimeout time.Duration
	lockWait         time.Duration
	log              logConfig
}

func newMigrate() *cobra.Command {
	var m migration
	command := &cobra.Command{
		Use:   "migrate",
		Short: "Migrate a database; this is what the daemon's Jobs run",
		Long: `Bring a PostgreSQL database to the newest version among the files of a commit.

Exit code 0: the database is at that version. 1: it is not, and trying again
cannot help. 75: it is not, and trying again may help: a lock was held, the
server restarted, or this process was told to stop. A report in JSON goes to
standard output and to the termination message of the container.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := m.log.validate(); err != nil {
				return &exitError{code: 2, err: err}
			}
			return m.run(command)
		},
	}
	flags := command.Flags()
	flags.StringVar(&m.archive, "archive", "", "folder with the pieces of the archive: archive.000, archive.001, …")
	flags.StringVar(&m.credentials, "credentials", "", "folder with the files host, port, user, password, dbname and sslmode")
	flags.StringVar(&m.report, "report", "/dev/termination-log", "file that gets the report; it is skipped when it does not exist")
	flags.DurationVar(&m.lockTimeout, "lock-timeout", database.DefaultLockTimeout, "how long a statement may wait for a lock")
	flags.DurationVar(&m.statementTimeout, "statement-timeout", database.DefaultStatementTimeout, "how long a statement may run")
	flags.DurationVar(&m.lockWait, "lock-wait", database.DefaultLockWait, "how long to wait for another migration to end")
	m.log.bind(flags)
	return command
}

func (m *migration) run(command *cobra.Command) error {
	report := m.migrate(command)
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if _, err := fmt.Fprintln(command.OutOrStdout(), string(text)); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := m.leave(text); err != nil {
		return err
	}
	if code := database.ExitCode(report); code != database.ExitOK {
		return &exitError{code: code}
	}
	return nil
}

// migrate reads what is mounted and runs it. What cannot be read ends in a
// report too: the report is all that outlives the container.
func (m *migration) migrate(command *cobra.Command) reconciler.MigrationReport {
	archive, err := database.ArchiveFromDir(os.DirFS(m.archive))
	if err != nil {
		return reconciler.MigrationReport{Outcome: database.OutcomeFailed, Message: "--archive: " + err.Error()}
	}
	secret, err := database.SecretFromDir(os.DirFS(m.credentials))
	if err != nil {
		return reconciler.MigrationReport{Outcome: database.OutcomeFailed, Message: "--credentials: " + err.Error()}
	}
	return database.Migrate(command.Context(), database.Options{
		Archive: archive, Secret: secret,
		LockTimeout: m.lockTimeout, StatementTimeout: m.statementTimeout, LockWait: m.lockWait,
		Log: m.log.logger(command.ErrOrStderr()),
	})
}

// leave writes the report where Kubernetes looks for it.
func (m *migration) leave(text []byte) error {
	file, err := os.OpenFile(m.report, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}
