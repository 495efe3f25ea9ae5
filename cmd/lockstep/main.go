// Command lockstep is the daemon and its tools.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	// The image holds no certificates: these are used where the system has none.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == render.ChildArgument {
		os.Exit(render.ChildMain(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// execute runs one command line and returns its exit code: 0 when it did what
// it was asked, 1 when it did not, 2 when it was asked wrongly, or what the
// command says of itself.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr) //nolint:contextcheck // Commands get ctx by ExecuteContext.
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		if exit.err != nil {
			_, _ = fmt.Fprintln(stderr, "lockstep:", exit.err)
		}
		return exit.code
	}
	_, _ = fmt.Fprintln(stderr, "lockstep:", err)
	return 1
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "lockstep",
		Short:         "Deliver a branch to Kubernetes, its database first",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return &exitError{code: 2, err: fmt.Errorf("%w; see `%s --help`", err, command.CommandPath())}
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRun(), newPlan(), newDrift(), newRender(), newLint(), newSchema(), newMigrate(), newVersion())
	return root
}
