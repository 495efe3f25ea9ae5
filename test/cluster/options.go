package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

// errUsage is what is wrong with the command line.
var errUsage = errors.New("usage")

// names are valid in file names, cgroups and kubeconfig contexts alike.
var names = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// options are the flags of every command but image.
type options struct {
	name       string
	state      string
	mode       plan.Mode
	relays     []relayPorts
	kubeconfig string
	audit      bool
	proxyMode  string
	timeout    time.Duration
	raw        bool
}

// relayPorts is one relay: a port on the machine's loopback and the NodePort
// that it leads to.
type relayPorts struct{ local, node int }

// parseOptions reads the flags that the named command has. What follows them is
// returned as it is.
func parseOptions(command string, args []string) (options, []string, error) {
	o := options{mode: plan.Node}
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.name, "name", "lockstep", "")
	flags.StringVar(&o.state, "state", "", "")
	switch command {
	case "up":
		flags.Func("mode", "", func(s string) error { o.mode = plan.Mode(s); return nil })
		flags.Func("relay", "", o.addRelay)
		flags.StringVar(&o.kubeconfig, "kubeconfig", "", "")
		flags.BoolVar(&o.audit, "audit", false, "")
		flags.StringVar(&o.proxyMode, "proxy-mode", "nftables", "")
		flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "")
	case "kubeconfig":
		flags.BoolVar(&o.raw, "raw", false, "")
	}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return o, nil, err
	}
	if err != nil {
		return o, nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := o.complete(); err != nil {
		return o, nil, err
	}
	return o, flags.Args(), nil
}

func (o *options) addRelay(s string) error {
	local, node, mapped := strings.Cut(s, ":")
	if !mapped {
		node = local
	}
	var ports relayPorts
	for _, p := range []struct {
		text string
		into *int
	}{{local, &ports.local}, {node, &ports.node}} {
		n, err := strconv.Atoi(p.text)
		if err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q is neither PORT nor LOCAL:PORT", s)
		}
		*p.into = n
	}
	o.relays = append(o.relays, ports)
	return nil
}

// complete checks the options and settles the state folder.
func (o *options) complete() error {
	if !names.MatchString(o.name) {
		return fmt.Errorf("%w: --name %q: use up to 32 lower case letters, digits and hyphens", errUsage, o.name)
	}
	if o.mode != plan.Node && o.mode != plan.ControlPlane {
		return fmt.Errorf("%w: --mode %q: use %q or %q", errUsage, o.mode, plan.Node, plan.ControlPlane)
	}
	if o.proxyMode != "" && o.proxyMode != "nftables" && o.proxyMode != "iptables" {
		return fmt.Errorf("%w: --proxy-mode %q: use nftables or iptables", errUsage, o.proxyMode)
	}
	if o.mode == plan.ControlPlane && len(o.relays) > 0 {
		return fmt.Errorf("%w: --relay: a control plane has no node whose ports could be relayed", errUsage)
	}
	if o.state == "" {
		base, err := stateHome()
		if err != nil {
			return err
		}
		o.state = filepath.Join(base, "lockstep", "cluster", o.name)
	}
	var err error
	if o.state, err = canonical(o.state); err != nil {
		return fmt.Errorf("%w: --state %s: %w", errUsage, o.state, err)
	}
	if dir, hidden := supervise.Hidden(o.state); hidden && o.mode == plan.Node {
		return fmt.Errorf("%w: --state %s: a node does not see the machine's %s: choose another folder", errUsage, o.state, dir)
	}
	return nil
}

// canonical is the absolute path without symbolic links, as far as it exists:
// processes are found by it.
func canonical(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for dir, rest := path, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		resolved, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			return "", err
		}
	}
}

func stateHome() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("state folder: %w: set HOME, or name a folder with --state", err)
	}
	return filepath.Join(home, ".local", "state"), nil
}

// cacheHome is where programs and images are kept.
func cacheHome() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache folder: %w: set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(dir, "lockstep", "cluster"), nil
}
