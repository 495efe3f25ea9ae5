package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// exitChanges is the exit code of a comparison that found a difference. What
// is wrong with the command line itself has another one there: 1.
const exitChanges = 2

// comparing keeps the exit code of differences apart from that of mistakes.
func comparing(command *cobra.Command) {
	command.SetFlagErrorFunc(func(command *cobra.Command, err error) error { return usage(command, err.Error()) })
}

// usage is the error of a command line that asks for nothing that can be done.
func usage(command *cobra.Command, text string) error {
	return &exitError{code: 1, err: fmt.Errorf("%s; see `%s --help`", text, command.CommandPath())}
}

func bindOutput(flags *pflag.FlagSet, output *string) {
	flags.StringVarP(output, "output", "o", "text", "text, json or yaml")
}

func checkOutput(command *cobra.Command, output string) error {
	if !slices.Contains([]string{"text", "json", "yaml"}, output) {
		return usage(command, fmt.Sprintf("--output is %q: use text, json or yaml", output))
	}
	return nil
}

// show writes a value as it was asked for: the text for a person, or the value
// for programs.
func show(stdout io.Writer, output, text string, value any) error {
	if output != "text" {
		var err error
		if text, err = encode(value, output); err != nil {
			return err
		}
	}
	_, err := io.WriteString(stdout, text)
	return err
}

// encode writes a value for programs.
func encode(value any, output string) (string, error) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err == nil && output == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	return strings.TrimSpace(string(text)) + "\n", err
}
