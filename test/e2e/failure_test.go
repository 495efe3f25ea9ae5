//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"gotest.tools/v3/poll"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/test/harness"
)

const bad = "migrations/000003_bad.up.sql"

// A commit whose migration fails: the old Pods go on, the Release says where
// and why, and the next good commit is delivered.
func TestAFailingMigrationIsHeldAndNobodyNotices(t *testing.T) {
	before, err := shared.cluster.Release(t.Context())
	assert.NilError(t, err)
	probe := startProbe(t)
	assert.NilError(t, shared.repo.Write(bad, "ALTER TABLE users\n    ADD COLUMN x int;\n\nALTER TABEL users ADD y int;\n"))
	release := push(t, "Break the migration", harness.Held)

	message := harness.Message(release)
	assert.Check(t, cmp.Contains(message, "000003_bad.up.sql line 4"))
	assert.Check(t, cmp.Contains(message, "SQLSTATE 42601"))
	assert.Equal(t, release.Status.LastGoodRevision, before.Status.LastGoodRevision)
	assert.Equal(t, release.Status.Databases[0].Version, "2")
	assert.Equal(t, release.Status.Databases[0].Dirty, false)

	assert.NilError(t, shared.repo.Write(bad, "ALTER TABLE users ADD COLUMN x int;\n"))
	release = push(t, "Repair the migration", harness.Settled)
	assert.Equal(t, release.Status.Databases[0].Version, "3")
	probe.assertNoneFailed(t)
}

// Commits that cannot be rendered or would not be taken: nothing is written,
// and the condition names the file.
func TestABadCommitWritesNothing(t *testing.T) {
	const settings = "kustomize/overlays/kind/settings.yaml"
	list := "  - ../../base\n"
	for name, test := range map[string]struct {
		change func() error
		says   string
	}{
		"invalid YAML": {func() error { return shared.repo.Write(settings, "kind: [\n") }, "settings.yaml"},
		"an unknown field": {func() error {
			return shared.repo.Write(settings, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: new}\nspec: {replcas: 1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: c}]}}}\n")
		}, "settings.yaml"},
		"an empty render": {func() error {
			return shared.repo.Write("kustomize/overlays/kind/kustomization.yaml", "resources: []\n")
		}, "kustomize/overlays/kind"},
		"a missing overlay": {func() error {
			return shared.repo.Remove("kustomize/overlays/kind")
		}, "kustomize/overlays/kind"},
	} {
		t.Run(name, func(t *testing.T) {
			versions := resourceVersions(t)
			assert.NilError(t, shared.repo.Copy("kustomize"))
			assert.NilError(t, shared.repo.Replace("kustomize/overlays/kind/kustomization.yaml", "newTag: v1", "newTag: v2"))
			assert.NilError(t, shared.repo.Replace("kustomize/overlays/kind/kustomization.yaml", list, list+"  - settings.yaml\n"))
			assert.NilError(t, test.change())
			release := push(t, name, harness.Held)
			assert.Check(t, cmp.Contains(harness.Message(release), test.says))
			assert.DeepEqual(t, resourceVersions(t), versions)
		})
	}
	assert.NilError(t, shared.repo.Copy("kustomize"))
	assert.NilError(t, shared.repo.Replace("kustomize/overlays/kind/kustomization.yaml", "newTag: v1", "newTag: v2"))
	push(t, "Repair the overlay", harness.Settled)
}

// resourceVersions are those of all that the overlay brings, without the
// fields that controllers write by themselves: generation stands for the spec.
func resourceVersions(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	deployments, err := shared.cluster.Kube.AppsV1().Deployments(harness.Namespace).List(t.Context(), metav1.ListOptions{})
	assert.NilError(t, err)
	for _, d := range deployments.Items {
		out["Deployment "+d.Name] = d.Generation
	}
	sets, err := shared.cluster.Kube.AppsV1().StatefulSets(harness.Namespace).List(t.Context(), metav1.ListOptions{})
	assert.NilError(t, err)
	for _, s := range sets.Items {
		out["StatefulSet "+s.Name] = s.Generation
	}
	jobs, err := shared.cluster.Kube.BatchV1().Jobs(harness.Namespace).List(t.Context(), metav1.ListOptions{})
	assert.NilError(t, err)
	out["Jobs"] = int64(len(jobs.Items))
	return out
}

// Two replicas: one leads; when it is killed, the other delivers.
func TestTheOtherReplicaDeliversWhenTheLeaderIsKilled(t *testing.T) {
	lease, err := shared.cluster.Kube.CoordinationV1().Leases("lockstep-system").Get(t.Context(), "lockstep", metav1.GetOptions{})
	assert.NilError(t, err)
	leader := *lease.Spec.HolderIdentity
	pods := shared.cluster.Kube.CoreV1().Pods("lockstep-system")
	assert.NilError(t, pods.Delete(t.Context(), leader, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}))
	began := time.Now()
	push(t, "After the leader is gone", harness.Settled)
	lease, err = shared.cluster.Kube.CoordinationV1().Leases("lockstep-system").Get(t.Context(), "lockstep", metav1.GetOptions{})
	assert.NilError(t, err)
	assert.Assert(t, *lease.Spec.HolderIdentity != leader, "the dead leader still holds the Lease")
	figure("leader-killed-to-settled", time.Since(began).Seconds(), "s", 40)
	assert.NilError(t, shared.cluster.RolledOut(t.Context(), "lockstep-system", "lockstep", patience))
}

// Killing the daemon before and after each phase, in one delivery, ends in
// the same state, and the migration ran once.
func TestADaemonThatIsKilledEverywhereDeliversAllTheSame(t *testing.T) {
	runs := migrationRuns(t)
	points := ""
	for _, phase := range []string{"Fetch", "Render", "Plan", "Foundation", "Migrate", "Rollout", "Verify", "Settled"} {
		points += "before:" + phase + ",after:" + phase + ","
	}
	assert.NilError(t, shared.cluster.InstallDaemon(t.Context(), harness.LockstepThatDies(), corev1.EnvVar{Name: "LOCKSTEP_FAILPOINTS", Value: points}))
	assert.NilError(t, shared.repo.Write("migrations/000004_once.up.sql", "CREATE TABLE once (at timestamptz NOT NULL DEFAULT now());\nINSERT INTO once DEFAULT VALUES;\n"))
	commit, err := shared.repo.Push(t.Context(), "Migrate once")
	assert.NilError(t, err)
	release, err := shared.cluster.WaitRelease(t.Context(), patience, nil, harness.Settled(commit))
	assert.NilError(t, err)
	assert.Equal(t, release.Status.Databases[0].Version, "4")
	assert.Equal(t, migrationRuns(t)-runs, 1)
	entries := 0
	for _, entry := range release.Status.Ledger {
		if entry.Revision == harness.Branch+"@sha1:"+commit {
			entries++
		}
	}
	assert.Equal(t, entries, 1)
	// The last of them comes after the Release is settled.
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if killed := failpoints(t); killed < 16 {
			return poll.Continue("killed at %d of 16 points", killed)
		}
		return poll.Success()
	}, poll.WithTimeout(time.Minute))
	assert.NilError(t, shared.cluster.InstallDaemon(t.Context(), harness.Lockstep()))
	release, err = shared.cluster.Release(t.Context())
	assert.NilError(t, err)
	assert.Assert(t, isReady(release))
}

// failpoints counts in the logs of the daemon how often it was killed.
func failpoints(t *testing.T) int {
	t.Helper()
	client := shared.cluster.Kube.CoreV1().Pods("lockstep-system")
	pods, err := client.List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=lockstep"})
	assert.NilError(t, err)
	killed := 0
	for i := range pods.Items {
		log, err := client.GetLogs(pods.Items[i].Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		assert.NilError(t, err)
		killed += strings.Count(string(log), "failpoint before:") + strings.Count(string(log), "failpoint after:")
	}
	return killed
}

func isReady(release *v1alpha1.Release) bool {
	for _, c := range release.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return c.Status == metav1.ConditionTrue
		}
	}
	return false
}
