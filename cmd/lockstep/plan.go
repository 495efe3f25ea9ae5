package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// planning is what `lockstep plan` is told.
type planning struct {
	client  client
	release string
	root    string
	output  string
}

func newPlan() *cobra.Command {
	var p planning
	command := &cobra.Command{
		Use:   "plan [PATH] [--release NAME]",
		Short: "Show what a delivery would change, without changing it",
		Long: `Show what delivering a Release would do: objects that are made, changed and
deleted, field by field, and migrations that run. The API server is asked in
dry runs, with your own rights. Values of Secrets are masked.

  lockstep plan --release unity -n unity      # what the Release follows now
  lockstep plan kustomize/overlays/homelab    # the files here, before they are pushed

With a folder, the Release that follows it is found by its path.

Exit code 0: nothing would change. 2: something would, or a database could not
be asked from here. 1: the plan could not be made, or Lockstep would refuse it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) == 0 && p.release == "" {
				return usage(command, "name a folder, or a Release with --release")
			}
			if err := checkOutput(command, p.output); err != nil {
				return err
			}
			return p.run(command.Context(), command.OutOrStdout(), args)
		},
	}
	flags := command.Flags()
	p.client.bind(flags)
	flags.StringVar(&p.release, "release", "", "Release to plan for")
	flags.StringVar(&p.root, "root", "", "folder that bases may lie in; the top of the git repository when empty")
	bindOutput(flags, &p.output)
	comparing(command)
	return command
}

func (p *planning) run(ctx context.Context, stdout io.Writer, args []string) error {
	here, err := p.client.connect()
	if err != nil {
		return err
	}
	defer here.close()
	var tree *worktree
	if len(args) > 0 {
		if tree, err = openWorktree(args[0], p.root); err != nil {
			return err
		}
		defer tree.close()
	}
	release, err := p.find(ctx, here, tree)
	if err != nil {
		return err
	}
	var content reconciler.Tree
	if tree != nil {
		release.Spec.Source.Path, content = tree.folder, tree.Tree
	}
	preview, err := here.PreviewPlan(ctx, release, content)
	if err != nil {
		return err
	}
	if err := show(stdout, p.output, planText(release, preview), preview); err != nil {
		return err
	}
	switch {
	case preview.Refused != "":
		return &exitError{code: 1, err: fmt.Errorf("refused: %s", preview.Refused)}
	case !preview.Quiet():
		return &exitError{code: exitChanges}
	}
	return nil
}

// find reads the Release that is named, or the one that follows the folder.
func (p *planning) find(ctx context.Context, here *local, tree *worktree) (*v1alpha1.Release, error) {
	if p.release != "" {
		return here.cluster.Release(ctx, p.client.namespace, p.release)
	}
	releases, err := here.cluster.Releases(ctx, p.client.namespace)
	if err != nil {
		return nil, err
	}
	var found []*v1alpha1.Release
	var known []string
	for i := range releases {
		known = append(known, releases[i].Name+" ("+releases[i].Spec.Source.Path+")")
		if strings.Trim(releases[i].Spec.Source.Path, "/") == tree.folder {
			found = append(found, &releases[i])
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return nil, fmt.Errorf("%d Releases in namespace %s follow %s: name one with --release; there are: %s", len(found), p.client.namespace, tree.folder, strings.Join(known, ", "))
}
