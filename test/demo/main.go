// Command demo delivers two commits to a real cluster and shows what happens:
// first Unity as it was, then Unity with tenants, its database first.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/test/harness"
)

// clusterName is also in the Makefile's target demo-down.
const clusterName = "lockstep-demo"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	d := &demo{out: out}
	d.title("A cluster")
	c, err := harness.Up(ctx, clusterName, out, "--relay", "30800")
	if err != nil {
		return err
	}
	d.cluster = c
	err = d.deliver(ctx)
	if err == nil {
		err = d.tell(ctx)
	}
	if os.Getenv("KEEP") != "" {
		d.next()
		return err
	}
	d.title("Taking it away again (KEEP=1 leaves it up)")
	return errors.Join(err, c.Down(context.WithoutCancel(ctx)))
}

type demo struct {
	out     io.Writer
	cluster *harness.Cluster
}

func (d *demo) title(text string) { _, _ = fmt.Fprintf(d.out, "\n== %s\n", text) }

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, "  "+format+"\n", args...) }

func (d *demo) deliver(ctx context.Context) error {
	c := d.cluster
	d.title("Images, built without Docker")
	if err := c.LoadImages(ctx, harness.Lockstep(), harness.Unity("1"), harness.Unity("2")); err != nil {
		return err
	}
	d.title("A git server, the daemon, and an account for it to act as")
	for _, install := range []func(context.Context) error{
		c.InstallGit, c.InstallTenant,
		func(ctx context.Context) error { return c.InstallDaemon(ctx, harness.Lockstep()) },
		c.InstallRelease,
	} {
		if err := install(ctx); err != nil {
			return err
		}
	}
	d.say("kubectl apply -k manifests: two replicas of the daemon are ready")
	dir, err := os.MkdirTemp("", "unity-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	repo, err := c.NewRepository(ctx, dir)
	if err != nil {
		return err
	}
	if err := d.firstCommit(ctx, repo); err != nil {
		return err
	}
	return d.secondCommit(ctx, repo)
}

func (d *demo) firstCommit(ctx context.Context, repo *harness.Repository) error {
	d.title("First commit: Unity as it was, 25 tables, no tenants")
	if err := harness.FirstCommit(repo); err != nil {
		return err
	}
	return d.push(ctx, repo, "Deploy Unity")
}

func (d *demo) secondCommit(ctx context.Context, repo *harness.Repository) error {
	d.title("Second commit: a migration that adds tenants, and the image that needs it")
	if err := harness.TenantCommit(repo); err != nil {
		return err
	}
	return d.push(ctx, repo, "Add tenant support")
}

// push pushes and shows each phase as it comes, until the commit is settled.
func (d *demo) push(ctx context.Context, repo *harness.Repository, message string) error {
	commit, err := repo.Push(ctx, message)
	if err != nil {
		return err
	}
	began := time.Now()
	d.say("git push: %s %s", commit[:10], message)
	if err := d.cluster.Poke(ctx); err != nil {
		return err
	}
	last := ""
	see := func(release *v1alpha1.Release) {
		status := release.Status
		if status.LastAttemptedRevision == harness.Branch+"@sha1:"+commit && status.Phase != last {
			last = status.Phase
			d.say("%5.1fs  %-10s %s", time.Since(began).Seconds(), last, d.detail(&status))
		}
	}
	done := func(release *v1alpha1.Release) bool {
		return harness.Settled(commit)(release) || harness.Held(commit)(release)
	}
	release, err := d.cluster.WaitRelease(ctx, 5*time.Minute, see, done)
	if err != nil {
		return err
	}
	if harness.Held(commit)(release) {
		return fmt.Errorf("%s is held: %s", commit[:10], harness.Message(release))
	}
	return nil
}

func (d *demo) detail(status *v1alpha1.ReleaseStatus) string {
	var parts []string
	for _, database := range status.Databases {
		version := database.Version
		if version == "" {
			version = "none"
		}
		parts = append(parts, fmt.Sprintf("%s at version %s, %d pending", database.Name, version, database.Pending))
	}
	return strings.Join(parts, "; ")
}

// tell shows what a person would look at.
func (d *demo) tell(ctx context.Context) error {
	d.title("What is there now")
	release, err := d.cluster.Release(ctx)
	if err != nil {
		return err
	}
	for _, entry := range release.Status.Ledger {
		from := entry.VersionBefore
		if from == "" {
			from = "none"
		}
		d.say("ledger: %s went from %s to %s, Job %s: %s", entry.Database, from, entry.VersionAfter, entry.Job, entry.Result)
	}
	answer, err := d.cluster.AskUnity(ctx, "/")
	if err != nil {
		return err
	}
	d.say("GET /: %s", answer)
	overhead, err := d.cluster.MeasureOverhead(ctx)
	if err != nil {
		return err
	}
	d.say("the same objects by kubectl apply and kubectl rollout status: %.1f s; by git push: %.1f s", overhead.ByHand.Seconds(), overhead.ByPush.Seconds())
	return nil
}

func (d *demo) next() {
	d.title("It is left up; try this")
	d.say("export KUBECONFIG=%s", d.cluster.Kubeconfig)
	d.say("kubectl get rel -n unity                        # ready, phase, revision, schema")
	d.say("kubectl describe rel unity -n unity             # conditions, ledger, events")
	d.say("kubectl logs -n lockstep-system deploy/lockstep # what the daemon did")
	d.say("curl http://127.0.0.1:30800/                    # Unity, through the node's port")
	d.say("make demo-down                                  # take it away")
}
