// Command cluster brings up a real Kubernetes for the tests and the demo: from
// Debian packages and Go modules, without Docker, a registry or a virtual
// machine. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `Usage: go run ./test/cluster COMMAND [flags]

  up                      start the cluster, or return at once if it runs and is healthy
  down                    stop everything of it and remove its state
  load IMAGE.tar...       make images known to the node
  kubeconfig [--raw]      print the path of its kubeconfig, or the file itself
  status                  print what runs; exit code 1 unless it is healthy
  exec -- COMMAND...      run a command inside the node: its network, mounts and processes
  image NAME --out FILE   write an image archive: pause, postgres, redis or git
  image --binary FILE --name REF --out FILE
                          write an image of one static binary, run as user 65534

Flags of every command but image:
  --name NAME             the cluster's name, so that several can run (default "lockstep")
  --state DIR             its folder (default ~/.local/state/lockstep/cluster/NAME)

Flags of up:
  --mode MODE             "node" (default; needs root) or "control-plane" (no pods; no privilege)
  --relay PORT            make NodePort PORT of the node answer on 127.0.0.1:PORT; repeatable.
                          LOCAL:PORT takes another port on 127.0.0.1
  --kubeconfig FILE       write the kubeconfig to FILE too
  --audit                 log each API request's metadata to STATE/log/audit.log
  --proxy-mode MODE       how kube-proxy makes Services: "nftables" (default) or "iptables"
  --timeout DURATION      how long the start may take, without builds (default 2m)

The first up builds the Kubernetes components, which takes 10 to 15 minutes on
two cores. They are kept in ~/.cache/lockstep/cluster until their sources change.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is one verb: it gets what follows the verb, and where to print.
type command func(ctx context.Context, args []string, stdout, stderr io.Writer) error

func commands() map[string]command {
	return map[string]command{
		"up":         upCommand,
		"down":       downCommand,
		"load":       loadCommand,
		"kubeconfig": kubeconfigCommand,
		"status":     statusCommand,
		"exec":       execCommand,
		"image":      imageCommand,
		// Not for users: what up starts.
		superviseName: superviseCommand,
		relayName:     relayCommand,
	}
}

// run is the whole program; its result is the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		_, _ = fmt.Fprint(stderr, usage)
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		_, _ = fmt.Fprint(stdout, usage)
		return 0
	}
	perform, ok := commands()[args[0]]
	if !ok {
		_, _ = fmt.Fprintf(stderr, "cluster: there is no command %q\n\n%s", args[0], usage)
		return 2
	}
	err := perform(ctx, args[1:], stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, usage)
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(stderr, "cluster: %s: %s\nSee go run ./test/cluster help.\n", args[0], strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
		return 2
	}
	_, _ = fmt.Fprintf(stderr, "cluster: %s: %v\n", args[0], err)
	return 1
}
