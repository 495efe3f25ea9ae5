// Command apply measures what the daemon promises about delivery, drift and
// rest, and prints one line for each figure. Progress goes to the standard
// error.
//
// It brings up a control plane of its own and runs the real daemon as a
// process beside it, with the rights that the manifests give it. What is a
// ratio compares the daemon with a bare loop of server-side applies of the same
// objects, against the same API server in the same run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// timeout bounds a run.
const timeout = 15 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	parts   *regexp.Regexp
	program string
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("apply", flag.ContinueOnError)
	parts := flags.String("run", ".", "measure the parts whose name matches: cold, change, drift, fair, large, many")
	flags.StringVar(&o.program, "program", "", "measure this lockstep and do not build one")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.parts, err = regexp.Compile(*parts); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	return o, nil
}

// part is a measurement with a daemon of its own.
type part struct {
	name    string
	measure func(context.Context, *stage) error
}

func parts() []part {
	return []part{
		{"cold", measureCold},
		{"change", measureChange},
		{"drift", measureDrift},
		{"fair", measureFair},
		{"large", measureLarge},
		{"many", measureMany},
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w, err := newWorld(ctx, o.program)
	defer w.Clean()
	if err != nil {
		return err
	}
	for _, p := range parts() {
		if !o.parts.MatchString(p.name) {
			continue
		}
		began := time.Now()
		if err := w.measure(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		say("%s: done in %.1f s", p.name, time.Since(began).Seconds())
	}
	return nil
}

// say tells how far the run is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
