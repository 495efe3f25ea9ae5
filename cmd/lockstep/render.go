package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// rendering is what `lockstep render` is told.
type rendering struct {
	client    client
	release   string
	root      string
	keys      []string
	variables map[string]string
}

func newRender() *cobra.Command {
	var r rendering
	command := &cobra.Command{
		Use:   "render [PATH] [--release NAME]",
		Short: "Print what the daemon would apply",
		Long: `Print the objects that an overlay renders to, as the daemon renders them: no
network, no plugins, nothing from outside of the repository.

  lockstep render kustomize/overlays/homelab
  lockstep render --release unity -n unity
  lockstep render kustomize/overlays/homelab --release unity -n unity

The first renders the files as they stand here and asks no cluster. The second
fetches what the Release follows; the third renders the files here. Both
decrypt and substitute as the Release says, with your own rights.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) == 0 && r.release == "" {
				return &exitError{code: 2, err: fmt.Errorf("name a folder, or a Release with --release; see `%s --help`", command.CommandPath())}
			}
			if r.release != "" && (len(r.keys) > 0 || len(r.variables) > 0) {
				return &exitError{code: 2, err: fmt.Errorf("--decrypt and --substitute stand in for a Release: leave them out with --release")}
			}
			return r.run(command.Context(), command.OutOrStdout(), args)
		},
	}
	flags := command.Flags()
	r.client.bind(flags)
	flags.StringVar(&r.release, "release", "", "Release whose settings are used")
	flags.StringVar(&r.root, "root", "", "folder that bases may lie in; the top of the git repository when empty")
	flags.StringArrayVar(&r.keys, "decrypt", nil, "file with private keys for files that are encrypted with SOPS; may be repeated")
	flags.StringToStringVar(&r.variables, "substitute", nil, "variables for the objects, as NAME=VALUE; may be repeated")
	return command
}

func (r *rendering) run(ctx context.Context, stdout io.Writer, args []string) error {
	var tree *worktree
	if len(args) > 0 {
		var err error
		if tree, err = openWorktree(args[0], r.root); err != nil {
			return err
		}
		defer tree.close()
	}
	text, err := r.text(ctx, tree)
	if err != nil {
		return err
	}
	_, err = stdout.Write(text)
	return err
}

func (r *rendering) text(ctx context.Context, tree *worktree) ([]byte, error) {
	if r.release == "" {
		return r.folder(ctx, tree)
	}
	preview, err := previewOf(ctx, &r.client, r.release, tree)
	if err != nil {
		return nil, err
	}
	return render.YAML(preview.Objects)
}

// previewOf renders what a Release would deliver, with the files here in place
// of the commit when there are any.
func previewOf(ctx context.Context, c *client, name string, tree *worktree) (reconciler.Preview, error) {
	here, err := c.connect()
	if err != nil {
		return reconciler.Preview{}, err
	}
	defer here.close()
	release, err := here.cluster.Release(ctx, c.namespace, name)
	if err != nil {
		return reconciler.Preview{}, err
	}
	if tree == nil {
		return here.Preview(ctx, release, nil)
	}
	release.Spec.Source.Path = tree.folder
	return here.Preview(ctx, release, tree.Tree)
}

// folder renders without any cluster.
func (r *rendering) folder(ctx context.Context, tree *worktree) ([]byte, error) {
	renderer := newRenderer()
	content := tree.Tree
	if len(r.keys) > 0 {
		keys := reconciler.Secret{}
		for _, name := range r.keys {
			key, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			keys[name] = key
		}
		var err error
		if content, err = renderer.Decrypt(content, keys); err != nil {
			return nil, err
		}
	}
	if len(r.variables) == 0 {
		return renderer.Build(ctx, content, tree.folder)
	}
	objects, err := renderer.Render(ctx, content, tree.folder)
	if err != nil {
		return nil, err
	}
	if objects, err = renderer.Substitute(objects, r.variables); err != nil {
		return nil, err
	}
	return render.YAML(objects)
}
