package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
//
//nolint:gochecknoglobals // The linker sets nothing but package variables.
var version = "dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and of Go",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			goVersion := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
			}
			_, err := fmt.Fprintf(command.OutOrStdout(), "lockstep %s (%s)\n", version, goVersion)
			return err
		},
	}
}
