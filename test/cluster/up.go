package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/debian"
	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/tools"
)

// healthTimeout is how long a running cluster may take to prove that it is
// healthy, before it is started anew and all that is in it is lost. A component
// that has just been started again needs a while on a busy machine.
const healthTimeout = time.Minute

// upCommand leaves a healthy cluster behind, whatever it finds.
func upCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, rest, err := parseOptions("up", args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	}
	if o.mode == plan.Node && os.Geteuid() != 0 {
		return fmt.Errorf("a node needs root: run as root, or ask for --mode %s", plan.ControlPlane)
	}
	builder, err := newBuilder(stderr)
	if err != nil {
		return err
	}
	release, err := acquire(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer release()
	begun := time.Now()
	r, running, err := adopt(ctx, o, builder, stderr)
	if err != nil {
		return err
	}
	if !running {
		if r, begun, err = startAnew(ctx, o, builder, stderr); err != nil {
			return err
		}
	}
	if err := openRelays(ctx, o, stderr); err != nil {
		return err
	}
	if err := copyKubeconfig(o); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stdout, "cluster %s is up (%s)\n", o.name, time.Since(begun).Round(100*time.Millisecond))
	return describe(o, r, stdout)
}

func newBuilder(stderr io.Writer) (*tools.Builder, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("working folder: %w", err)
	}
	cache, err := cacheHome()
	if err != nil {
		return nil, err
	}
	return tools.New(dir, cache, stderr)
}

// adopt looks for a cluster that runs already and is healthy.
func adopt(ctx context.Context, o options, builder *tools.Builder, stderr io.Writer) (r record, running bool, err error) {
	if _, ok, err := supervisor(o); err != nil || !ok {
		return record{}, false, err
	}
	r, err = loadRecord(o)
	if err != nil || r.Address == "" {
		return record{}, false, nil // Its up was killed before it was done.
	}
	if r.Mode != o.mode {
		return record{}, false, fmt.Errorf("cluster %s runs in mode %s: stop it with down, or choose another --name", o.name, r.Mode)
	}
	check, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	late := time.AfterFunc(2*time.Second, func() {
		_, _ = fmt.Fprintf(stderr, "cluster %s runs; waiting until it is healthy\n", o.name)
	})
	defer late.Stop()
	if err := healthy(check, r); err != nil {
		if ctx.Err() != nil {
			return record{}, false, ctx.Err()
		}
		_, _ = fmt.Fprintf(stderr, "cluster %s runs but is not healthy (%v): starting it anew\n", o.name, err)
		return record{}, false, nil
	}
	present, err := builder.Version("kube")
	if err != nil {
		return record{}, false, err
	}
	if r.Sources != present {
		_, _ = fmt.Fprintf(stderr, "note: cluster %s was started from older sources of test/cluster/node: run down, then up, for the present ones\n", o.name)
	}
	return r, true, nil
}

// startAnew sweeps what a former run may have left and starts the cluster. What
// it returns as its beginning leaves out builds and installations, which
// happen once.
func startAnew(ctx context.Context, o options, builder *tools.Builder, stderr io.Writer) (record, time.Time, error) {
	if err := claimable(o); err != nil {
		return record{}, time.Time{}, err
	}
	if o.mode == plan.Node {
		if err := debian.Ensure(ctx, debian.Node(), stderr); err != nil {
			return record{}, time.Time{}, err
		}
	}
	programs, err := preparePrograms(ctx, o, builder)
	if err != nil {
		return record{}, time.Time{}, err
	}
	begun := time.Now()
	if err := sweep(ctx, o, stderr); err != nil {
		return record{}, begun, fmt.Errorf("leftovers of a former run: %w", err)
	}
	if err := portsFree(o); err != nil {
		return record{}, begun, err
	}
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	r, err := start(limited, o, programs, stderr)
	if err != nil {
		return record{}, begun, abandon(ctx, o, err)
	}
	return r, begun, nil
}

// programs are the files that a cluster is started from.
type programs struct {
	kube       string
	pauseImage string // archive; empty for a control plane
	sources    string
}

func preparePrograms(ctx context.Context, o options, builder *tools.Builder) (programs, error) {
	var p programs
	var err error
	if p.sources, err = builder.Version("kube"); err != nil {
		return p, err
	}
	if p.kube, err = builder.Kube(ctx); err != nil {
		return p, err
	}
	if o.mode == plan.Node {
		p.pauseImage, err = cachedImage(ctx, builder, "pause")
	}
	return p, err
}

// copyKubeconfig writes the file that --kubeconfig asks for.
func copyKubeconfig(o options) error {
	if o.kubeconfig == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(o.state, kubeconfigFile))
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return writeFile(o.kubeconfig, text)
}
