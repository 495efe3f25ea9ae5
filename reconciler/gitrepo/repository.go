package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// maxPacks bounds how many fetches pile up before a repository is cloned anew.
const maxPacks = 32

// repository is one folder of packs. It is locked while it is fetched into;
// trees read it without the lock.
type repository struct {
	dir  string
	busy chan struct{}
	// used is guarded by the mutex of the Store.
	used time.Time

	objects *objects
	// commits that are whole, oldest first: what the server may build upon.
	commits []plumbing.Hash
	serial  int
	// dropped is set when the Store does not know of it any more.
	dropped bool
}

// goal is what is to be opened: a commit, and the annotated tag that leads to it, if any.
type goal struct{ commit, tag plumbing.Hash }

// has tells whether all of a goal is in the index, readable or not.
func (r *repository) has(g goal) bool {
	return r.objects.has(g.commit) && (g.tag.IsZero() || r.objects.has(g.tag))
}

func (r *repository) lock(ctx context.Context) error {
	select {
	case r.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another fetch of the repository: %w", context.Cause(ctx))
	}
}

func (r *repository) tryLock() bool {
	select {
	case r.busy <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *repository) unlock() { <-r.busy }

// clear throws everything away. Trees that are in use keep their packs open.
func (r *repository) clear() error {
	r.objects, r.commits = nil, nil
	return os.RemoveAll(r.dir)
}

// open opens the tree of a commit. Damage of the store is met by cloning once
// (G2, G9, G10, G11).
func (s *Store) open(ctx context.Context, r *repository, t target, g goal) (*Tree, error) {
	if r.objects != nil {
		tree, err := s.tree(ctx, r, t, g)
		if err == nil {
			return tree, nil
		}
		if !errors.Is(err, errObject) {
			return nil, s.explain(ctx, t, err)
		}
		if r.has(g) {
			return s.reopen(ctx, r, t, g, err)
		}
	}
	err := s.fetch(ctx, r, t, g)
	if err == nil {
		var tree *Tree
		if tree, err = s.tree(ctx, r, t, g); err == nil {
			return tree, nil
		}
	}
	empty := errors.Is(err, transport.ErrEmptyUploadPackRequest)
	if (empty || errors.Is(err, errObject) || errors.Is(err, errPack)) && len(r.commits) > 0 {
		return s.reopen(ctx, r, t, g, err)
	}
	return nil, s.explain(ctx, t, err)
}

// reopen clones without building upon what is there. That is dropped when the
// clone is done and not before: the server may have been the one at fault.
func (s *Store) reopen(ctx context.Context, r *repository, t target, g goal, cause error) (*Tree, error) {
	s.options.Log.WarnContext(ctx, "git repository is damaged and cloned anew", "host", t.addr.host, "path", t.addr.path, "error", quoteText(cause.Error(), t.creds.secrets()))
	r.commits = nil
	err := s.fetch(ctx, r, t, g)
	if err != nil {
		return nil, s.explain(ctx, t, err)
	}
	tree, err := s.tree(ctx, r, t, g)
	if err != nil {
		return nil, s.explain(ctx, t, err)
	}
	return tree, nil
}

func (s *Store) explain(ctx context.Context, t target, err error) error {
	if errors.Is(err, errLarge) {
		return reconciler.Terminalf(ReasonTooLarge, "git server %s: %w", t.addr.host, err)
	}
	if errors.Is(err, errObject) {
		return reconciler.Transientf(ReasonObjectMissing, "git server %s: %w, even after a fresh clone; run `git fsck` on the server", t.addr.host, err)
	}
	return classify(ctx, t.addr, t.creds, err)
}

// tree makes the Tree of a commit that is in the store. Once an object turns
// out damaged, the Tree renews the store within the pass that it was opened for.
func (s *Store) tree(ctx context.Context, r *repository, t target, g goal) (*Tree, error) {
	raw, err := r.objects.read(g.commit, plumbing.CommitObject, maxCommit)
	if err != nil {
		return nil, err
	}
	if !g.tag.IsZero() {
		if _, err := r.objects.read(g.tag, plumbing.TagObject, maxCommit); err != nil {
			return nil, err
		}
	}
	root, err := treeOf(raw)
	if err != nil {
		return nil, reconciler.Terminalf(ReasonTreeUnsafe, "commit %s: %w", g.commit, err)
	}
	if _, err := r.objects.read(root, plumbing.TreeObject, maxTree); err != nil {
		return nil, err
	}
	renew := func(cause error) (*objects, error) {
		if err := r.lock(ctx); err != nil {
			return nil, err
		}
		defer r.unlock()
		if r.dropped {
			return nil, s.explain(ctx, t, cause)
		}
		if _, err := s.reopen(ctx, r, t, g, cause); err != nil {
			return nil, err
		}
		return r.objects, nil
	}
	return &Tree{
		commit: g.commit, tag: g.tag, raw: raw, root: root, maxFile: s.options.MaxFile,
		objects: r.objects, renew: renew, folders: map[plumbing.Hash]folder{},
	}, nil
}

// newPack makes the file for the next pack.
func (r *repository) newPack() (*os.File, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	r.serial++
	return os.OpenFile(filepath.Join(r.dir, strconv.Itoa(r.serial)+".pack"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// add takes a pack into use. A pack that was fetched without building upon
// others replaces them.
func (r *repository) add(p *pack, commit plumbing.Hash, filtered, alone bool) error {
	if alone {
		old := r.objects
		r.objects, r.commits = &objects{packs: []*pack{p}, filtered: filtered}, []plumbing.Hash{commit}
		return old.remove()
	}
	packs := append(append([]*pack{}, r.objects.packs...), p)
	r.objects = &objects{packs: packs, filtered: filtered || r.objects.filtered}
	r.commits = append(r.commits, commit)
	return nil
}

// remove takes the files off the disk; who reads them still can.
func (o *objects) remove() error {
	if o == nil {
		return nil
	}
	var errs []error
	for _, p := range o.packs {
		if err := os.Remove(p.file.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// worn tells whether cloning anew is cheaper in the long run than building on
// what is there: small packs are slow to search, and old files fill the disk.
func (r *repository) worn() bool {
	if r.objects == nil || len(r.commits) == 0 {
		return true
	}
	packs := r.objects.packs
	return len(packs) >= maxPacks || r.objects.bytes() > 2*packs[0].size+1<<20
}
