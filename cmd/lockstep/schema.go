package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/reconciler/database/schema"
)

// inspecting is what `lockstep schema` is told.
type inspecting struct {
	client      client
	release     string
	database    string
	credentials string
	expected    string
	output      string
}

func newSchema() *cobra.Command {
	var i inspecting
	command := &cobra.Command{
		Use:   "schema (--release NAME [--database NAME] | --credentials FOLDER)",
		Short: "Show what a database claims to be at, and what its schema is",
		Long: `Read the version tables of migration tools (golang-migrate, Alembic, Django,
Flyway, Rails, goose, Prisma, Liquibase, Atlas) and the schema itself, from the
catalogue. Nothing is changed, and no lock of a tool is taken.

  lockstep schema --release unity -n unity
  lockstep schema --release unity -n unity -o json > before.json
  lockstep schema --release unity -n unity --expect before.json

Exit code 0: it was read, and is as expected. 2: it differs from --expect.
1: it could not be read.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if (i.release == "") == (i.credentials == "") {
				return usage(command, "name a Release with --release, or a folder with --credentials")
			}
			if err := checkOutput(command, i.output); err != nil {
				return err
			}
			return i.run(command.Context(), command.OutOrStdout())
		},
	}
	flags := command.Flags()
	i.client.bind(flags)
	flags.StringVar(&i.release, "release", "", "Release whose database is read")
	flags.StringVar(&i.database, "database", "", "name of the database in the Release; may be left out when there is one")
	flags.StringVar(&i.credentials, "credentials", "", "folder with the files host, port, user, password, dbname and sslmode")
	flags.StringVar(&i.expected, "expect", "", "file that an earlier run with -o json has written, to compare with")
	bindOutput(flags, &i.output)
	comparing(command)
	return command
}

func (i *inspecting) run(ctx context.Context, stdout io.Writer) error {
	secret, namespace, err := i.secret(ctx)
	if err != nil {
		return err
	}
	found, err := database.Inspect(ctx, secret, namespace)
	if err != nil {
		return err
	}
	if i.expected != "" {
		return i.compare(stdout, found)
	}
	return show(stdout, i.output, schemaText(found), found)
}

// secret finds the credentials of the database.
func (i *inspecting) secret(ctx context.Context) (secret reconciler.Secret, namespace string, err error) {
	if i.credentials != "" {
		secret, err = database.SecretFromDir(os.DirFS(i.credentials))
		if err != nil {
			return nil, "", fmt.Errorf("--credentials %s: %w", i.credentials, err)
		}
		return secret, "default", nil
	}
	here, err := i.client.connect()
	if err != nil {
		return nil, "", err
	}
	defer here.close()
	release, err := here.cluster.Release(ctx, i.client.namespace, i.release)
	if err != nil {
		return nil, "", err
	}
	chosen, err := i.choose(release)
	if err != nil {
		return nil, "", err
	}
	tenant, err := here.cluster.As(release)
	if err != nil {
		return nil, "", err
	}
	secret, err = tenant.Secret(ctx, chosen.SecretRef.Name)
	return secret, release.Namespace, err
}

func (i *inspecting) choose(release *v1alpha1.Release) (v1alpha1.Database, error) {
	var names []string
	for _, candidate := range release.Spec.Databases {
		if candidate.Name == i.database || i.database == "" && len(release.Spec.Databases) == 1 {
			return candidate, nil
		}
		names = append(names, candidate.Name)
	}
	return v1alpha1.Database{}, fmt.Errorf("release %s/%s: name one of its databases with --database: %s", release.Namespace, release.Name, strings.Join(names, ", "))
}

// compare prints what differs from an earlier state.
func (i *inspecting) compare(stdout io.Writer, found database.Inspection) error {
	content, err := os.ReadFile(i.expected)
	if err != nil {
		return err
	}
	var expected database.Inspection
	if err := json.Unmarshal(content, &expected); err != nil {
		return fmt.Errorf("%s: %w; it must come from `lockstep schema -o json`", i.expected, err)
	}
	differences := schema.Diff(expected.Schema, found.Schema)
	for _, difference := range differences {
		if _, err := fmt.Fprintln(stdout, difference); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(stdout, "%d differences.\n", len(differences)); err != nil {
		return err
	}
	if len(differences) > 0 {
		return &exitError{code: exitChanges}
	}
	return nil
}

// schemaText shows a database to a person: what it claims, how much there is,
// and what is not finished.
func schemaText(found database.Inspection) string {
	var out strings.Builder
	if len(found.Tracking) == 0 {
		out.WriteString("No migration tool has a version table here.\n")
	}
	for _, state := range found.Tracking {
		fmt.Fprintf(&out, "%s, table %s.%s: %s", state.Tool, state.Schema, state.Table, state.Status)
		if len(state.Versions) > 0 {
			fmt.Fprintf(&out, " %s", strings.Join(state.Versions, ", "))
		}
		out.WriteString("\n")
		if state.Detail != "" {
			fmt.Fprintf(&out, "    %s\n", state.Detail)
		}
	}
	counts := map[string]int{}
	for _, object := range found.Schema.Objects {
		counts[string(object.Kind)]++
	}
	out.WriteString("\n")
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&out, "%6d  %s\n", counts[kind], kind)
	}
	for _, object := range found.Schema.Unfinished() {
		fmt.Fprintf(&out, "not finished: %s %s\n", object.Kind, object.Name)
	}
	fmt.Fprintf(&out, "\nDigest %s, without owners, grants and the order of columns.\n", found.Digest)
	return out.String()
}
