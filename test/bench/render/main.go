// Command render measures what the source and the renderer promise, and
// prints one line for each figure. Progress goes to the standard error.
//
// Whatever is measured runs in a process of its own, which this program
// starts from itself; git servers run in this one. That way the memory of a
// measurement is that of a daemon which does this one thing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
	"github.com/lockstep-gitops/lockstep/test/bench/host"
)

const (
	// measureArgument makes this program measure: a name and where the
	// repository is follow.
	measureArgument = "measure"
	// countedArgument makes it a child that renders and leaves a line in the
	// file that follows.
	countedArgument = "counted-child"
	// timeout bounds a run.
	timeout = 4 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := dispatch(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func dispatch(ctx context.Context, args []string) int {
	switch {
	case len(args) == 1 && args[0] == render.ChildArgument:
		return render.ChildMain(os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == countedArgument:
		return countedChild(args[1])
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	switch {
	case len(args) == 5 && args[0] == measureArgument:
		err = measure(ctx, args[1], place{url: args[2], path: args[3], dir: args[4]})
	case len(args) == 0:
		err = all(ctx)
	default:
		err = errors.New("this command takes no arguments")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// place is where a measurement finds its repository and may write.
type place struct{ url, path, dir string }

// measure runs one measurement in this process.
func measure(ctx context.Context, name string, at place) error {
	run, ok := map[string]func(context.Context, place) error{
		"monorepo": measureMonorepo,
		"outside":  measureLargeOutside,
		"inside":   measureLargeInside,
		"skip":     measureSkip,
		"readme":   measureReadme,
		"bombs":    measureBombs,
		"many":     measureMany,
		"ratio":    measureRatio,
	}[name]
	if !ok {
		return fmt.Errorf("there is no measurement %q", name)
	}
	return run(ctx, at)
}

// all makes the repositories and measures everything.
func all(ctx context.Context) error {
	h := host.New(ctx)
	defer h.Clean()
	for _, m := range []struct {
		name string
		make func(*host.Host) repository
	}{
		{"monorepo", makeMonorepo},
		{"outside", makeLargeOutside},
		{"inside", makeLargeInside},
		{"skip", makeSkip},
		{"readme", makeOverlays},
		{"bombs", nil},
		{"many", nil},
		{"ratio", nil},
	} {
		began := time.Now()
		var r repository
		if m.make != nil {
			r = m.make(h)
			fmt.Fprintf(os.Stderr, "%s: repository made in %.1f s\n", m.name, time.Since(began).Seconds())
		}
		if err := measureApart(ctx, m.name, place{r.url, r.path, h.TempDir()}); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: done in %.1f s\n", m.name, time.Since(began).Seconds())
	}
	return nil
}

// measureApart runs a measurement in a process of its own.
func measureApart(ctx context.Context, name string, at place) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, measureArgument, name, at.url, at.path, at.dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
