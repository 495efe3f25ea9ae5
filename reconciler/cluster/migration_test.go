package cluster_test

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// migrationRun is a run with an archive of so many bytes that do not compress.
func (w *world) migrationRun(name string, attempt int64, size int) reconciler.MigrationRun {
	archive := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(archive)
	return reconciler.MigrationRun{
		Name: name, Labels: map[string]string{"lockstep.dev/release": "web"}, Attempt: attempt,
		Database: "shop", SecretName: "shop-db",
		Set: reconciler.MigrationSet{Digest: "abc", Versions: []uint64{1}, Archive: archive},
		Guard: v1alpha1.Guard{
			LockTimeout: metav1.Duration{Duration: 2 * time.Second}, StatementTimeout: metav1.Duration{Duration: 15 * time.Minute},
		},
		Owner: w.release,
	}
}

func (w *world) job(t *testing.T, name string) *batchv1.Job {
	t.Helper()
	job, err := w.kube.BatchV1().Jobs(w.namespace).Get(t.Context(), name, metav1.GetOptions{})
	assert.NilError(t, err)
	return job
}

// stored makes the Release real, so that the garbage collector leaves alone
// what it owns.
func (w *world) stored(t *testing.T) {
	t.Helper()
	controlplane.InstallCRD(t)
	w.release = storedRelease(t, w.releases(), w.release.Name)
	w.tenant = w.as(t)
}

// TestStartMigrationTwiceMakesOneJob covers P8 and P11: every step may be
// done again, by a daemon that was killed half-way or by its successor.
func TestStartMigrationTwiceMakesOneJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	run := w.migrationRun("web-shop-1", 7, 100)
	assert.NilError(t, w.tenant.StartMigration(t.Context(), run))
	first := w.job(t, run.Name)
	assert.NilError(t, w.as(t).StartMigration(t.Context(), run))
	second := w.job(t, run.Name)
	assert.Equal(t, first.UID, second.UID)

	jobs, err := w.tenant.Jobs(t.Context(), run.Labels)
	assert.NilError(t, err)
	assert.Equal(t, len(jobs), 1)
	assert.Equal(t, jobs[0].Name, run.Name)
	assert.Equal(t, jobs[0].Attempt, int64(7))
	assert.Equal(t, jobs[0].Phase, reconciler.JobRunning)
	assert.Equal(t, jobs[0].ExitCode, int32(-1))
	assert.Assert(t, !*second.Spec.Suspend)
	assert.Equal(t, *second.Spec.BackoffLimit, int32(0))
	assert.Equal(t, *second.Spec.PodReplacementPolicy, batchv1.Failed)
	assert.Equal(t, second.OwnerReferences[0].UID, w.release.UID)
}

// TestStartMigrationGoesOnAfterAKill covers P11: the Job was made and its
// files were not.
func TestStartMigrationGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	run := w.migrationRun("web-shop-1", 1, 100)
	assert.NilError(t, w.tenant.StartMigration(t.Context(), run))
	whole := w.job(t, run.Name)
	background := metav1.DeletePropagationBackground
	assert.NilError(t, w.kube.BatchV1().Jobs(w.namespace).Delete(t.Context(), run.Name, metav1.DeleteOptions{PropagationPolicy: &background}))
	half := whole.DeepCopy()
	half.ObjectMeta = metav1.ObjectMeta{Name: run.Name, Namespace: w.namespace, Labels: run.Labels, OwnerReferences: whole.OwnerReferences}
	half.Spec.Suspend, half.Spec.Selector, half.Spec.Template.Labels = new(true), nil, run.Labels
	made, err := w.kube.BatchV1().Jobs(w.namespace).Create(t.Context(), half, metav1.CreateOptions{})
	assert.NilError(t, err)

	assert.NilError(t, w.as(t).StartMigration(t.Context(), run))
	job := w.job(t, run.Name)
	assert.Equal(t, job.UID, made.UID)
	assert.Assert(t, !*job.Spec.Suspend)
	assert.Assert(t, bytes.Equal(w.archiveOf(t, job), run.Set.Archive))
}

// archiveOf puts the archive together as the Pod finds it in its volume.
func (w *world) archiveOf(t *testing.T, job *batchv1.Job) []byte {
	t.Helper()
	files := map[string][]byte{}
	for _, volume := range job.Spec.Template.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			config, err := w.kube.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), source.ConfigMap.Name, metav1.GetOptions{})
			assert.NilError(t, err)
			assert.Equal(t, len(config.OwnerReferences), 1)
			assert.Equal(t, config.OwnerReferences[0].Kind, "Job")
			assert.Equal(t, config.OwnerReferences[0].UID, job.UID)
			maps.Copy(files, config.BinaryData)
		}
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var archive []byte
	for _, name := range names {
		archive = append(archive, files[name]...)
	}
	return archive
}

// TestLargeArchiveIsSplit covers A24: the API takes no object over 1 MiB.
func TestLargeArchiveIsSplit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ size, chunks int }{
		"exactly one":   {700 << 10, 1},
		"one byte over": {700<<10 + 1, 2},
		"2 MiB":         {2 << 20, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.stored(t)
			run := w.migrationRun("web-shop-1", 1, test.size)
			assert.NilError(t, w.tenant.StartMigration(t.Context(), run))
			list, err := w.kube.CoreV1().ConfigMaps(w.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "lockstep.dev/release=web"})
			assert.NilError(t, err)
			assert.Equal(t, len(list.Items), test.chunks)
			assert.Assert(t, bytes.Equal(w.archiveOf(t, w.job(t, run.Name)), run.Set.Archive))
		})
	}
}

// TestMigrationPodIsRestricted shows that a namespace which enforces the
// strictest Pod security standard takes the Job and its Pod without a word.
func TestMigrationPodIsRestricted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	_, err := w.kube.CoreV1().Namespaces().Patch(t.Context(), w.namespace, types.MergePatchType, []byte(`{"metadata":{"labels":{
		"pod-security.kubernetes.io/enforce":"restricted","pod-security.kubernetes.io/warn":"restricted"}}}`), metav1.PatchOptions{})
	assert.NilError(t, err)
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		probe := deployment(t, "probe", "image:1")
		changes, err := w.tenant.Compare(t.Context(), []reconciler.Object{probe})
		if err != nil {
			return poll.Error(err)
		}
		if len(changes[0].Warnings) == 0 {
			return poll.Continue("the label is not in force yet")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
	before := len(w.warnings.all())

	assert.NilError(t, w.tenant.StartMigration(t.Context(), w.migrationRun("web-shop-1", 1, 10)))
	assert.Equal(t, len(w.warnings.all()), before, "%v", w.warnings.all())
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		pods, err := w.kube.CoreV1().Pods(w.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=web-shop-1"})
		if err != nil {
			return poll.Error(err)
		}
		if len(pods.Items) != 1 {
			return poll.Continue("no Pod yet")
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
}

// ended is the answer of AwaitJob.
type ended struct {
	state reconciler.JobState
	err   error
}

func (w *world) awaitingJob(ctx context.Context, name string) <-chan ended {
	answer := make(chan ended, 1)
	go func() {
		state, err := w.tenant.AwaitJob(ctx, w.namespace, name)
		answer <- ended{state, err}
	}()
	return answer
}

func TestAwaitJobReadsTheResult(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ended   corev1.ContainerStateTerminated
		phase   reconciler.JobPhase
		message string
	}{
		"complete": {
			corev1.ContainerStateTerminated{ExitCode: 0, Message: `{"version":3}`}, reconciler.JobComplete, "",
		},
		"failed": {
			corev1.ContainerStateTerminated{ExitCode: 4, Message: `{"error":"dirty"}`}, reconciler.JobFailed,
			"BackoffLimitExceeded: Job has reached the specified backoff limit",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.stored(t)
			run := w.migrationRun("web-shop-1", 3, 10)
			assert.NilError(t, w.tenant.StartMigration(t.Context(), run))
			answer := w.awaitingJob(t.Context(), run.Name)
			w.endPods(t, batchv1.JobNameLabel+"="+run.Name, test.ended)
			got := answered(t, answer)
			assert.NilError(t, got.err)
			assert.Assert(t, !got.state.StartedAt.IsZero() && !got.state.FinishedAt.Before(got.state.StartedAt))
			got.state.StartedAt, got.state.FinishedAt = time.Time{}, time.Time{}
			assert.DeepEqual(t, got.state, reconciler.JobState{
				Name: run.Name, Phase: test.phase, Attempt: 3, Message: test.message,
				ExitCode: test.ended.ExitCode, Result: test.ended.Message,
			})
		})
	}
}

// TestAwaitJobThatVanishes covers J4 and J8: a Job that was deleted while it
// was watched, or before, is neither a success nor a failure.
func TestAwaitJobThatVanishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	run := w.migrationRun("web-shop-1", 1, 10)
	assert.NilError(t, w.tenant.StartMigration(t.Context(), run))
	answer := w.awaitingJob(t.Context(), run.Name)
	background := metav1.DeletePropagationBackground
	assert.NilError(t, w.kube.BatchV1().Jobs(w.namespace).Delete(t.Context(), run.Name, metav1.DeleteOptions{PropagationPolicy: &background}))
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		_, err := w.kube.BatchV1().Jobs(w.namespace).Get(t.Context(), run.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return poll.Success()
		}
		return poll.Continue("still there: %v", err)
	}, poll.WithTimeout(patience))
	for name, got := range map[string]ended{
		"while it is watched": answered(t, answer),
		"before":              answered(t, w.awaitingJob(t.Context(), run.Name)),
	} {
		assert.Error(t, got.err, "job "+w.namespace+"/web-shop-1: Job "+w.namespace+"/web-shop-1 was deleted before its result was read", name)
		assert.Equal(t, reconciler.ReasonOf(got.err, ""), "JobVanished", name)
		assert.Assert(t, !reconciler.IsTerminal(got.err), name)
		assert.Equal(t, got.state.Phase, reconciler.JobRunning, name)
	}
}

func TestAwaitJobEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	run := w.migrationRun("web-shop-1", 1, 10)
	assert.NilError(t, w.tenant.StartMigration(t.Context(), run))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := answered(t, w.awaitingJob(ctx, run.Name))
	assert.ErrorContains(t, got.err, "job "+w.namespace+"/web-shop-1: ")
}

// TestJobsComeOldestFirst makes several Jobs within one second, which is as
// fine as their times are.
func TestJobsComeOldestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stored(t)
	var want []int64
	for attempt := int64(1); attempt <= 12; attempt++ {
		// The names are in the opposite order, so that they are no help.
		run := w.migrationRun("web-shop-"+strconv.Itoa(int(100-attempt)), attempt, 10)
		assert.NilError(t, w.tenant.StartMigration(t.Context(), run))
		want = append(want, attempt)
	}
	jobs, err := w.tenant.Jobs(t.Context(), map[string]string{"lockstep.dev/release": "web"})
	assert.NilError(t, err)
	var got []int64
	for _, job := range jobs {
		got = append(got, job.Attempt)
	}
	assert.DeepEqual(t, got, want)
	none, err := w.tenant.Jobs(t.Context(), map[string]string{"lockstep.dev/release": "other"})
	assert.NilError(t, err)
	assert.Equal(t, len(none), 0)
}
