package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/reconciler/lint"
)

// linting is what `lockstep lint` is told.
type linting struct {
	applied uint64
	major   int
	output  string
}

func newLint() *cobra.Command {
	var l linting
	command := &cobra.Command{
		Use:   "lint FOLDER",
		Short: "Find what in migrations would block users or break running code",
		Long: `Read the migrations of a folder with PostgreSQL's own parser and tell of each
statement that locks, rewrites or scans a table, or that code of before cannot
live with, and how to write it safely. Nothing is run and no database is asked:
tables that the files do not make count as large.

  lockstep lint migrations
  lockstep lint migrations --applied 1     # 000001 has run: judge what comes after

A comment before a statement lets it pass, with a reason:
  -- lockstep:allow RULE reason

Exit code 0: nothing blocks. 2: something does. 1: it could not be found out.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if err := checkOutput(command, l.output); err != nil {
				return err
			}
			return l.run(command.OutOrStdout(), args[0])
		},
	}
	flags := command.Flags()
	flags.Uint64Var(&l.applied, "applied", 0, "newest version that has run already")
	flags.IntVar(&l.major, "postgres", 15, "major version of the server")
	bindOutput(flags, &l.output)
	comparing(command)
	return command
}

func (l *linting) run(stdout io.Writer, folder string) error {
	files, err := l.files(folder)
	if err != nil {
		return err
	}
	findings, err := lint.Check(files, lint.Options{Major: l.major})
	if err != nil {
		return err
	}
	if err := show(stdout, l.output, lintText(findings), findings); err != nil {
		return err
	}
	for _, finding := range findings {
		if finding.Level == lint.Block {
			return &exitError{code: exitChanges}
		}
	}
	return nil
}

// files are the migrations that go up, in their order.
func (l *linting) files(folder string) ([]lint.File, error) {
	info, err := os.Stat(folder)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file: name the folder of the migrations", folder)
	}
	found, err := database.UpFiles(os.DirFS(folder), ".")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	files := make([]lint.File, len(found))
	for i, file := range found {
		files[i] = lint.File{Name: filepath.Join(folder, file.Name), SQL: string(file.SQL), Applied: file.Version <= l.applied}
	}
	return files, nil
}

// lintText shows findings to a person.
func lintText(findings []lint.Finding) string {
	var out strings.Builder
	counts := map[lint.Level]int{}
	for _, finding := range findings {
		counts[finding.Level]++
		fmt.Fprintf(&out, "%s:%d: %s %s: %s\n", finding.File, finding.Line, finding.Level, finding.Rule, finding.Message)
		if finding.Because != "" {
			fmt.Fprintf(&out, "    %s\n", finding.Because)
		}
		if finding.Breaking {
			fmt.Fprintf(&out, "    breaks running code: %s\n", finding.Breaks)
		}
		for _, step := range finding.Rewrite {
			fmt.Fprintf(&out, "    instead: %s\n", strings.ReplaceAll(step, "\n", "\n             "))
		}
	}
	fmt.Fprintf(&out, "%d block, %d warn, %d notes.\n", counts[lint.Block], counts[lint.Warn], counts[lint.Note])
	return out.String()
}
