//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/test/harness"
)

const patience = 4 * time.Minute

// push pushes the work tree and waits until the commit ended as wanted.
func push(t *testing.T, message string, wanted func(commit string) func(*v1alpha1.Release) bool) *v1alpha1.Release {
	t.Helper()
	commit, err := shared.repo.Push(t.Context(), message)
	assert.NilError(t, err)
	assert.NilError(t, shared.cluster.Poke(t.Context()))
	release, err := shared.cluster.WaitRelease(t.Context(), patience, nil, func(release *v1alpha1.Release) bool {
		return harness.Settled(commit)(release) || harness.Held(commit)(release)
	})
	assert.NilError(t, err)
	assert.Assert(t, wanted(commit)(release), "%s ended in %s: %s", message, release.Status.Phase, harness.Message(release))
	return release
}

// figure prints a measurement; it never fails a test.
func figure(name string, value float64, unit string, goal float64) {
	verdict := "ok"
	if value > goal {
		verdict = "short"
	}
	fmt.Printf("figure %s %.2f %s goal %g %s\n", name, value, unit, goal, verdict)
}

func TestTheFirstCommitIsDelivered(t *testing.T) {
	assert.NilError(t, harness.FirstCommit(shared.repo))
	release := push(t, "Deploy Unity", harness.Settled)

	assert.Equal(t, release.Status.Databases[0].Version, "1")
	assert.Equal(t, release.Status.Databases[0].Pending, int32(0))
	answer, err := shared.cluster.AskUnity(t.Context(), "/")
	assert.NilError(t, err)
	assert.Check(t, cmp.Contains(answer, "Welcome to Unity - Homelab Intelligence Hub API"))
	assert.Check(t, cmp.Contains(answer, "v1"))
}

// The second commit brings a migration and the image that needs it. The old
// Pods serve until the new ones do: a client inside the cluster counts.
func TestAMigrationRunsBeforeTheImageThatNeedsIt(t *testing.T) {
	probe := startProbe(t)
	assert.NilError(t, harness.TenantCommit(shared.repo))
	release := push(t, "Add tenant support", harness.Settled)
	probe.assertNoneFailed(t)

	assert.Equal(t, release.Status.Databases[0].Version, "2")
	last := release.Status.Ledger[len(release.Status.Ledger)-1]
	assert.Equal(t, last.Result, "Succeeded")
	assert.Equal(t, last.VersionBefore, "1")
	assert.Equal(t, last.VersionAfter, "2")
	answer, err := shared.cluster.AskUnity(t.Context(), "/")
	assert.NilError(t, err)
	assert.Check(t, cmp.Contains(answer, "v2"))
	users, err := shared.cluster.AskUnity(t.Context(), "/api/users")
	assert.NilError(t, err)
	assert.Check(t, cmp.Contains(users, `"tenant_id":"default"`))
	runs := migrationRuns(t)
	assert.Equal(t, runs, 2, "one Job for each commit that brought a migration")
}

func TestADeliveryAddsLittleToWhatKubectlTakes(t *testing.T) {
	overhead, err := shared.cluster.MeasureOverhead(t.Context())
	assert.NilError(t, err)
	t.Logf("by push %s, by hand %s", overhead.ByPush, overhead.ByHand)
	figure("push-overhead", (overhead.ByPush - overhead.ByHand).Seconds(), "s", 2)
}

// An idle daemon asks the API for its Lease and nothing else, and is small.
func TestAnIdleDaemonIsQuietAndSmall(t *testing.T) {
	if shared.cluster.Name == "" {
		t.Skip("reason: the audit log of a cluster that is not our own cannot be read")
	}
	push(t, "Settle down", harness.Settled)
	log := filepath.Join(filepath.Dir(stateFile(t)), "log", "audit.log")
	settle := time.NewTimer(10 * time.Second)
	<-settle.C
	before := len(foreign(t, log))
	watching := time.NewTimer(40 * time.Second)
	<-watching.C
	after := foreign(t, log)
	assert.Equal(t, len(after)-before, 0, "requests of an idle daemon: %v", after[before:])

	bytes := metric(t, "process_resident_memory_bytes")
	figure("idle-resident", bytes/(1<<20), "MiB", 60)
}

// foreign are the daemon's requests that are neither of its Lease nor watches.
func foreign(t *testing.T, log string) []string {
	t.Helper()
	file, err := os.Open(log)
	assert.NilError(t, err)
	defer func() { _ = file.Close() }()
	var out []string
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var event struct {
			Stage, Verb, RequestURI, UserAgent string
		}
		if json.Unmarshal(scanner.Bytes(), &event) != nil || !strings.HasPrefix(event.UserAgent, "lockstep/") {
			continue
		}
		if event.Verb != "watch" && !strings.Contains(event.RequestURI, "/leases/") {
			out = append(out, event.Stage+" "+event.Verb+" "+event.RequestURI)
		}
	}
	assert.NilError(t, scanner.Err())
	return out
}

// migrationRuns counts the Jobs of the daemon.
func migrationRuns(t *testing.T) int {
	t.Helper()
	jobs, err := shared.cluster.Kube.BatchV1().Jobs(harness.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=lockstep-migrate"})
	assert.NilError(t, err)
	return len(jobs.Items)
}
