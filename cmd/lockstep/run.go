package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newRun() *cobra.Command {
	var c config
	command := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Run the daemon: watch Releases, poll their branches, and deliver each new
revision, its database migrations before its workload.

The log goes to standard error. SIGTERM stops it: no new phase is started,
what is being written is finished, the Lease is given away, exit code 0.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return &exitError{code: 2, err: fmt.Errorf("%w; see `lockstep run --help`", err)}
			}
			return serve(command.Context(), c, command.ErrOrStderr())
		},
	}
	c.bind(command.Flags())
	return command
}

func serve(ctx context.Context, c config, stderr io.Writer) error {
	log := c.log.logger(stderr)
	d, err := newDaemon(c, log)
	if err != nil {
		return err
	}
	return d.run(ctx)
}
