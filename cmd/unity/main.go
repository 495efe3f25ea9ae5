// Command unity is the workload that Lockstep delivers in the demo and in the
// end-to-end tests: the backend of a homelab hub, an HTTP API on PostgreSQL.
//
//	unity            serve the API
//	unity frontend   serve the page
//	unity probe URL  send requests and count those that fail
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], process{getenv: os.Getenv, stdout: os.Stdout, stderr: os.Stderr, termination: terminationLog})
	stop()
	os.Exit(code)
}

// terminationLog is the file whose text Kubernetes shows in the status of a
// container that has ended.
const terminationLog = "/dev/termination-log"

// process is what the program is given by the system.
type process struct {
	getenv         func(string) string
	stdout, stderr io.Writer
	termination    string
}

// errUsage marks a command line that cannot be understood.
var errUsage = errors.New("usage: unity [serve] [--address :8000] | unity frontend [--address :8080] | unity probe URL [--rate 20] [--for 60s] [--keep-alive]")

// execute runs one command line and returns its exit code: 0 when it did what
// it was asked, 1 when it could not, 2 when it was asked wrongly.
func execute(ctx context.Context, args []string, p process) int {
	log := slog.New(slog.NewJSONHandler(p.stderr, nil))
	err := dispatch(ctx, args, p, log)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintln(p.stderr, "unity:", err)
		return 2
	default:
		log.Error("ended", slog.Any("error", err))
		return 1
	}
}

func dispatch(ctx context.Context, args []string, p process, log *slog.Logger) error {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return runBackend(ctx, args, p, log)
	case "frontend":
		return runFrontend(ctx, args, p, log)
	case "probe":
		return runProbe(ctx, args, p, log)
	default:
		return fmt.Errorf("unknown command %q: %w", command, errUsage)
	}
}

// parse reads the flags of one command, which takes no other arguments.
func parse(flags *flag.FlagSet, args []string, p process) error {
	flags.SetOutput(p.stderr)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: %w", flags.Arg(0), errUsage)
	}
	return nil
}
