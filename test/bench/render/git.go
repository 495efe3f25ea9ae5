package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
	"github.com/lockstep-gitops/lockstep/test/bench/figure"
	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

// renderMemory is what the daemon gives a child, in bytes.
const renderMemory = 512 << 20

// source polls and fetches the branch main of a repository.
type source struct {
	store *gitrepo.Store
	repo  reconciler.Repository
}

func newSource(at place) (source, error) {
	store, err := gitrepo.New(gitrepo.Options{Dir: at.dir})
	return source{store, reconciler.Repository{URL: at.url, Reference: reconciler.Reference{Branch: "main"}}}, err
}

func (s source) poll(ctx context.Context) (*gitrepo.Tree, error) {
	tip, err := s.store.Resolve(ctx, s.repo)
	if err != nil {
		return nil, err
	}
	return s.store.FetchTree(ctx, s.repo, tip)
}

// watched notes the files that are read from a tree, with their sizes.
type watched struct {
	*gitrepo.Tree
	read map[string]int
}

func watch(tree *gitrepo.Tree) watched { return watched{tree, map[string]int{}} }

// ReadFile notes the file.
func (w watched) ReadFile(name string) ([]byte, error) {
	content, err := w.Tree.ReadFile(name)
	w.read[name] += len(content)
	return content, err
}

// makeMonorepo makes a repository of 10,000 commits and 20,000 files, one of
// whose 200 folders is an overlay.
func makeMonorepo(h *host.Host) repository {
	var stream host.Stream
	stream.Commit()
	for i := range 20_000 - 2 {
		name := fmt.Sprintf("c%d", i)
		stream.File(fmt.Sprintf("apps/%d/file%d.yaml", i%200, i), configMap(name, host.Noise(name, 420)))
	}
	stream.File("apps/7/kustomization.yaml", "resources: [file7.yaml, file207.yaml]\nconfigMapGenerator: [{name: g, files: [changing.yaml]}]\n")
	stream.File("apps/7/changing.yaml", "0")
	for i := range 10_000 - 1 {
		stream.Commit()
		stream.File(fmt.Sprintf("apps/%d/changing.yaml", i%200), fmt.Sprintf("%010d", i))
	}
	return placed(h.Import("mono.git", &stream))
}

// measureMonorepo is the first fetch of a large repository, polls without
// news, and a commit of one line.
func measureMonorepo(ctx context.Context, at place) error {
	s, err := newSource(at)
	if err != nil {
		return err
	}
	renderer := render.New(render.Options{Limits: render.Limits{Memory: renderMemory}})
	deliver := func() error {
		tree, err := s.poll(ctx)
		if err != nil {
			return err
		}
		_, err = renderer.Render(ctx, tree, "apps/7")
		return err
	}
	began := time.Now()
	peak, _, err := peakWhile(deliver)
	if err != nil {
		return err
	}
	figure.Print("git_first_fetch_peak", peak, "MiB", 150)
	figure.Print("git_first_fetch_time", time.Since(began).Seconds(), "s", 30)
	if err := measurePolls(deliver); err != nil {
		return err
	}
	return measureOneLine(ctx, at, s, renderer)
}

func measurePolls(deliver func() error) error {
	const polls = 50
	before, err := cpu()
	if err != nil {
		return err
	}
	peak, _, err := peakWhile(func() error {
		// What resetting the peak costs is no part of a poll.
		before, _ = cpu()
		for range polls {
			if err := deliver(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	after, err := cpu()
	figure.Print("git_poll_peak", peak, "MiB", 150)
	figure.Print("git_poll_cpu", figure.Milliseconds((after-before)/polls), "ms", 20)
	return err
}

func measureOneLine(ctx context.Context, at place, s source, renderer *render.Renderer) error {
	if err := host.Change(ctx, at.path, "apps/7/changing.yaml", "another line"); err != nil {
		return err
	}
	plain, err := s.poll(ctx)
	if err != nil {
		return err
	}
	tree := watch(plain)
	if _, err := renderer.Render(ctx, tree, "apps/7"); err != nil {
		return err
	}
	if tree.read["apps/7/changing.yaml"] == 0 {
		return errors.New("the line that changed was not read")
	}
	for _, needed := range []string{"kustomization.yaml", "file7.yaml", "file207.yaml", "changing.yaml"} {
		delete(tree.read, "apps/7/"+needed)
	}
	figure.Print("git_one_line_other_files_read", float64(len(tree.read)), "files", 0)
	return nil
}

// large is a repository with a file of 300 MB that takes next to nothing in a
// pack, and an overlay that does or does not list it.
func makeLarge(h *host.Host, name, overlay string) repository {
	origin := h.Git.Repo(h, name)
	cmd := exec.CommandContext(h.Context(), "sh", "-c", "head -c 300000000 /dev/zero | git hash-object -w --stdin")
	cmd.Dir, cmd.Env = origin.Path, gitrepotest.Env()
	blob, err := cmd.Output()
	if err != nil {
		h.Fatalf("make a large file: %s", err)
	}
	var stream host.Stream
	stream.Commit()
	stream.Blob("o/big.yaml", strings.TrimSpace(string(blob)))
	stream.File("o/noise", host.Noise("noise", 2_100_000))
	stream.File("o/kustomization.yaml", overlay)
	stream.File("o/a.yaml", configMap("a", "b"))
	if err := stream.Import(h.Context(), origin.Path); err != nil {
		h.Fatalf("make the repository %s: %s", name, err)
	}
	return placed(origin)
}

func makeLargeOutside(h *host.Host) repository {
	return makeLarge(h, "outside.git", "resources: [a.yaml]\n")
}

func makeLargeInside(h *host.Host) repository {
	return makeLarge(h, "inside.git", "resources: [a.yaml, big.yaml]\n")
}

// measureLargeOutside delivers an overlay beside a file of 300 MB.
func measureLargeOutside(ctx context.Context, at place) error {
	s, err := newSource(at)
	if err != nil {
		return err
	}
	renderer := render.New(render.Options{})
	peak, _, err := peakWhile(func() error {
		tree, err := s.poll(ctx)
		if err != nil {
			return err
		}
		_, err = renderer.Render(ctx, tree, "o")
		return err
	})
	if err != nil {
		return err
	}
	figure.Print("git_large_outside_peak", peak, "MiB", 400)
	packs, err := filepath.Glob(filepath.Join(at.dir, "repositories", "*", "*.pack"))
	if err != nil || len(packs) != 1 {
		return fmt.Errorf("there are %d packs: %w", len(packs), err)
	}
	size, err := sizeOf(packs[0])
	figure.Print("git_large_pack", size/1e6, "MB", 1.6)
	return err
}

// measureLargeInside has an overlay that lists the file refused, unread.
func measureLargeInside(ctx context.Context, at place) error {
	s, err := newSource(at)
	if err != nil {
		return err
	}
	renderer := render.New(render.Options{})
	var tree watched
	peak, _, err := peakWhile(func() error {
		plain, err := s.poll(ctx)
		if err != nil {
			return err
		}
		tree = watch(plain)
		if _, err := renderer.Render(ctx, tree, "o"); err == nil || !strings.Contains(err.Error(), "o/big.yaml has 300000000 bytes") {
			return fmt.Errorf("the large file was not refused: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	figure.Print("git_large_inside_read", float64(tree.read["o/big.yaml"]), "bytes", 0)
	figure.Print("git_large_inside_peak", peak, "MiB", 400)
	return nil
}
