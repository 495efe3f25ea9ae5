package render

import (
	"cmp"
	"context"
	"errors"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Options of a Renderer. The zero value is ready to be used.
type Options struct {
	// Command starts a child: a program and its arguments. Default is our own
	// binary with ChildArgument.
	Command []string
	// Limits of each render.
	Limits Limits
	// Parallel is how many children run at a time. Default 2.
	Parallel int
	// Memo bounds what is kept of earlier renders, in bytes. Default 64 MiB;
	// a negative number keeps nothing.
	Memo int64
}

// Renderer builds overlays in child processes. It implements
// reconciler.Renderer and may be used by many goroutines at a time.
type Renderer struct {
	spawner spawner
	limits  Limits
	memo    memo
}

// New returns a Renderer.
func New(options Options) *Renderer {
	if options.Parallel <= 0 {
		options.Parallel = 2
	}
	return &Renderer{
		spawner: spawner{command: options.Command, slots: make(chan struct{}, options.Parallel)},
		limits:  options.Limits.withDefaults(),
		memo:    memo{limit: cmp.Or(options.Memo, 64<<20)},
	}
}

// Render builds the kustomization in the folder overlay of the tree. Errors
// that the content of the commit causes are terminal and carry one of the
// reasons of this package. When all that an earlier render read is the same
// in this tree, its objects are returned and nothing is built; when all that a
// piece of it was built from is the same, that piece is not built again.
//
// The slice belongs to the caller. The objects do not: they are the same ones
// that later calls return, to other goroutines too, and must never be changed.
// Who needs another object makes a DeepCopy, as Substitute does.
func (r *Renderer) Render(ctx context.Context, tree reconciler.Tree, overlay string) ([]reconciler.Object, error) {
	folder, err := folderOf(overlay)
	if err != nil {
		return nil, err
	}
	at := home{repositoryOf(tree), folder}
	if objects, ok := r.memo.get(tree, at); ok {
		return objects, nil
	}
	files := newReader(tree, r.limits)
	files.pieces = r.memo.stock(at)
	found := decoding{limit: r.limits.Decoded}
	if err := r.spawner.render(ctx, files, request{Folder: folder, Limits: r.limits}, found.take); err != nil {
		return nil, redacted(tree, err)
	}
	r.memo.put(at, files, found.objects, found.size)
	return found.objects, nil
}

// redacted takes decrypted values out of an error about the content.
func redacted(tree reconciler.Tree, err error) error {
	secretive, ok := tree.(*decrypted)
	if !ok || !reconciler.IsTerminal(err) {
		return err
	}
	if text := secretive.redact(err.Error()); text != err.Error() {
		return reconciler.Terminal(reconciler.ReasonOf(err, ReasonFailed), errors.New(text))
	}
	return err
}

// Build gives what `kustomize build` prints for the folder overlay.
func (r *Renderer) Build(ctx context.Context, tree reconciler.Tree, overlay string) ([]byte, error) {
	folder, err := folderOf(overlay)
	if err != nil {
		return nil, err
	}
	var out []byte
	err = r.spawner.render(ctx, newReader(tree, r.limits), request{Folder: folder, Limits: r.limits}, func(o object) error {
		text, err := yaml.JSONToYAML(o.json)
		if err != nil {
			return reconciler.Terminalf(ReasonFailed, "%s: %w", o.origin, err)
		}
		if len(out) > 0 {
			out = append(out, "---\n"...)
		}
		out = append(out, text...)
		return nil
	})
	if err != nil {
		return nil, redacted(tree, err)
	}
	return out, nil
}

// folderOf cleans the path of an overlay, as a person writes it.
func folderOf(overlay string) (string, error) {
	folder := path.Clean(strings.TrimSpace(overlay))
	if path.IsAbs(folder) || leaves(".", folder) {
		return "", reconciler.Terminalf(ReasonRefused, "overlay %q: name a folder of the repository, relative to its root", overlay)
	}
	return folder, nil
}
