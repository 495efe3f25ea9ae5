package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// drifting is what `lockstep drift` is told.
type drifting struct {
	client  client
	release string
	output  string
}

func newDrift() *cobra.Command {
	var d drifting
	command := &cobra.Command{
		Use:   "drift --release NAME",
		Short: "Show what differs from the last good revision",
		Long: `Compare every object of the last good revision with the cluster, in dry runs
with your own rights. Shown are fields that differ, objects that are gone, and
fields that others set beside those of the commit.

Exit code 0: nothing differs. 2: something does. 1: it could not be found out.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if d.release == "" {
				return usage(command, "name a Release with --release")
			}
			if err := checkOutput(command, d.output); err != nil {
				return err
			}
			return d.run(command.Context(), command.OutOrStdout())
		},
	}
	flags := command.Flags()
	d.client.bind(flags)
	flags.StringVar(&d.release, "release", "", "Release to look at")
	bindOutput(flags, &d.output)
	comparing(command)
	return command
}

func (d *drifting) run(ctx context.Context, stdout io.Writer) error {
	here, err := d.client.connect()
	if err != nil {
		return err
	}
	defer here.close()
	release, err := here.cluster.Release(ctx, d.client.namespace, d.release)
	if err != nil {
		return err
	}
	preview, err := here.PreviewDrift(ctx, release)
	if err != nil {
		return err
	}
	if err := show(stdout, d.output, driftText(preview), preview); err != nil {
		return err
	}
	if !preview.Quiet() {
		return &exitError{code: exitChanges}
	}
	return nil
}

// driftText shows to a person what is not as the commit has it.
func driftText(preview reconciler.Preview) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Compared with %s\n\n", preview.Revision)
	differ, foreign := 0, 0
	for _, change := range preview.Changes {
		if change.Action != reconciler.ActionUnchanged {
			differ++
		}
		writeChange(&out, change)
		if len(change.Foreign) > 0 && change.Action == reconciler.ActionUnchanged {
			fmt.Fprintf(&out, "  %s\n", change.Ref)
		}
		for _, field := range change.Foreign {
			foreign++
			fmt.Fprintf(&out, "    %s is not of the commit: set by %s\n", field.Path, field.Manager)
		}
	}
	if differ+foreign > 0 {
		out.WriteString("\n")
	}
	fmt.Fprintf(&out, "%d of %d objects differ, %d fields are set by others.\n", differ, len(preview.Changes), foreign)
	return out.String()
}
