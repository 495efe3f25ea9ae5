// Package debian sees to it that the Debian packages that a cluster or an
// image is made from are installed.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Need is a file and the package that brings it.
type Need struct {
	Package string
	// File is a command's name, looked for where commands are, or an absolute path.
	File string
}

// Node lists what a node needs.
func Node() []Need {
	return []Need{
		{"containerd", "containerd"},
		{"runc", "runc"},
		{"containernetworking-plugins", "/usr/lib/cni/bridge"},
		{"iptables", "iptables"},
		{"nftables", "nft"},
		{"iproute2", "ip"},
		{"conntrack", "conntrack"},
		{"socat", "socat"},
		{"ethtool", "ethtool"},
		{"kmod", "modprobe"},
		{"mount", "mount"},
		{"util-linux", "nsenter"},
	}
}

// Missing returns the packages whose files are not there.
func Missing(needs []Need) []string {
	var packages []string
	for _, n := range needs {
		if !present(n.File) && !slices.Contains(packages, n.Package) {
			packages = append(packages, n.Package)
		}
	}
	return packages
}

func present(file string) bool {
	if filepath.IsAbs(file) {
		_, err := os.Stat(file)
		return err == nil
	}
	// A user's PATH often lacks the folders of the administrator's commands.
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return true
		}
	}
	return false
}

// Ensure installs the packages that are missing, where it may, and says so on
// log. Elsewhere it returns an error that names them.
func Ensure(ctx context.Context, needs []Need, log io.Writer) error {
	missing := Missing(needs)
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing programs: install what Debian has in the packages %s", list)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("missing packages: as root, run: apt-get install --no-install-recommends %s", list)
	}
	_, _ = fmt.Fprintf(log, "installing Debian packages: %s\n", list)
	if err := install(ctx, missing); err != nil {
		return fmt.Errorf("install %s: %w", list, err)
	}
	if still := Missing(needs); len(still) > 0 {
		return fmt.Errorf("installed %s, but their files are not where they are expected", strings.Join(still, " "))
	}
	return nil
}

func install(ctx context.Context, packages []string) error {
	release, err := forbidServices(policyFile)
	if err != nil {
		return err
	}
	defer release()
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	return apt(ctx, append([]string{"install", "--yes", "--no-install-recommends"}, packages...)...)
}

func apt(ctx context.Context, args ...string) error {
	// Another installation may be going on: wait for it.
	args = append([]string{"-o", "DPkg::Lock::Timeout=300", "-qq"}, args...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get: %w:\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// policyFile, where it exists, is asked by a package before it starts its
// service. Only the files of the packages are wanted here.
const policyFile = "/usr/sbin/policy-rc.d"

// forbidServices keeps services from being started until it is released. A
// policy that exists already is left alone: it is the machine's own.
func forbidServices(file string) (release func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("forbid services: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("#!/bin/sh\n# Set up while test packages are installed; removed afterwards.\nexit 101\n"); err != nil {
		return nil, fmt.Errorf("forbid services: %w", err)
	}
	return func() { _ = os.Remove(file) }, nil
}
