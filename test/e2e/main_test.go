//go:build e2e

// Package e2e delivers real commits to a real node: a git server, the daemon
// as Pods, PostgreSQL, and Unity. The tests run in the order of this package's
// files and names, on one cluster: each goes on from what the last one left.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/lockstep-gitops/lockstep/test/harness"
)

// suite is what all tests share: the cluster, and the work tree from which
// commits are pushed.
type suite struct {
	cluster *harness.Cluster
	repo    *harness.Repository
}

// shared is set once by TestMain, before any test.
var shared suite

func TestMain(m *testing.M) {
	ctx := context.Background()
	code := 1
	if err := setUp(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "set up:", err)
	} else {
		code = m.Run()
	}
	if shared.cluster != nil && os.Getenv("KEEP") == "" {
		if err := shared.cluster.Down(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "take down:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func setUp(ctx context.Context) error {
	c, err := harness.Up(ctx, "lockstep-e2e", os.Stderr, "--audit")
	if err != nil {
		return err
	}
	shared.cluster = c
	if err := c.LoadImages(ctx, harness.Lockstep(), harness.LockstepThatDies(), harness.Unity("1"), harness.Unity("2")); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "unity-*")
	if err != nil {
		return err
	}
	if shared.repo, err = c.NewRepository(ctx, dir); err != nil {
		return err
	}
	for _, install := range []func(context.Context) error{
		c.InstallGit, c.InstallTenant,
		func(ctx context.Context) error { return c.InstallDaemon(ctx, harness.Lockstep()) },
		c.InstallRelease,
	} {
		if err := install(ctx); err != nil {
			return err
		}
	}
	return nil
}
