package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// attemptAnnotation on a Job is the attempt of the Release that started it.
const attemptAnnotation = "lockstep.dev/attempt"

// Bounds of the log that is kept of a container that failed.
const (
	logLines = 40
	logBytes = 4 << 10
)

func (t *tenant) jobs(namespace string) dynamic.ResourceInterface {
	return t.client.Resource(schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}).Namespace(namespace)
}

// Jobs lists the Jobs with these labels, oldest first. Their times are whole
// seconds, so Jobs of one second are in the order of their attempts.
func (t *tenant) Jobs(ctx context.Context, wanted map[string]string) ([]reconciler.JobState, error) {
	list, err := t.jobs(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(wanted).String()})
	if err != nil {
		return nil, fmt.Errorf("list Jobs of %s: %w", t.namespace, t.explain(err))
	}
	slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int {
		first, second := a.GetCreationTimestamp(), b.GetCreationTimestamp()
		return cmp.Or(first.Compare(second.Time), cmp.Compare(attemptOf(&a), attemptOf(&b)), cmp.Compare(a.GetName(), b.GetName()))
	})
	states := make([]reconciler.JobState, 0, len(list.Items))
	for i := range list.Items {
		state, err := t.state(ctx, &list.Items[i])
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}

// AwaitJob watches a Job until it ends. A Job that is deleted meanwhile is
// neither a success nor a failure: the caller looks at the database (J4, J8).
func (t *tenant) AwaitJob(ctx context.Context, namespace, name string) (reconciler.JobState, error) {
	var ended *unstructured.Unstructured
	selector := fields.OneTermEqualSelector("metadata.name", name).String()
	vanished := reconciler.Transientf("JobVanished", "Job %s/%s was deleted before its result was read", namespace, name)
	there := func(store cache.Store) (bool, error) {
		if len(store.ListKeys()) == 0 {
			return false, vanished
		}
		return false, nil
	}
	err := t.until(ctx, t.jobs(namespace), selector, there, func(event watch.Event) (bool, error) {
		object, ok := event.Object.(*unstructured.Unstructured)
		switch {
		case !ok || object.GetName() != name:
			return false, nil
		case event.Type == watch.Deleted:
			return false, vanished
		}
		ended = object
		return jobPhase(object) != reconciler.JobRunning, nil
	})
	if err != nil {
		return reconciler.JobState{Name: name, Phase: reconciler.JobRunning}, fmt.Errorf("job %s/%s: %w", namespace, name, err)
	}
	return t.state(ctx, ended)
}

func jobPhase(object *unstructured.Unstructured) reconciler.JobPhase {
	job, err := decodeJob(object)
	if err != nil {
		return reconciler.JobRunning
	}
	phase, _ := ending(job)
	return phase
}

// ending reads the conditions of a Job and their status: their mere presence
// says nothing.
func ending(job *batchv1.Job) (reconciler.JobPhase, batchv1.JobCondition) {
	for _, c := range job.Status.Conditions {
		switch {
		case c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue:
			return reconciler.JobComplete, c
		case c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue:
			return reconciler.JobFailed, c
		}
	}
	return reconciler.JobRunning, batchv1.JobCondition{}
}

// state gathers what a Job and its Pods say. The Pods of a Job that runs are
// not asked.
func (t *tenant) state(ctx context.Context, object *unstructured.Unstructured) (reconciler.JobState, error) {
	job, err := decodeJob(object)
	if err != nil {
		return reconciler.JobState{}, err
	}
	phase, condition := ending(job)
	state := reconciler.JobState{Name: job.Name, Phase: phase, Attempt: attemptOf(object), ExitCode: -1}
	if job.Status.StartTime != nil {
		state.StartedAt = job.Status.StartTime.Time
	}
	if phase == reconciler.JobRunning {
		return state, nil
	}
	state.FinishedAt = condition.LastTransitionTime.Time
	if phase == reconciler.JobFailed {
		state.Message = strings.TrimSpace(condition.Reason + ": " + condition.Message)
	}
	pods, err := t.pods(ctx, job.Namespace, labels.SelectorFromSet(labels.Set{batchv1.JobNameLabel: job.Name}).String())
	if err != nil {
		return state, fmt.Errorf("pods of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	t.addEvidence(ctx, &state, pods)
	return state, nil
}

// addEvidence takes the exit code, the termination message and the end of the
// log from the container that decided: the last one that ended, a failed one
// before a good one.
func (t *tenant) addEvidence(ctx context.Context, state *reconciler.JobState, pods []corev1.Pod) {
	var at time.Time
	for i := range pods {
		for _, status := range slices.Concat(pods[i].Status.InitContainerStatuses, pods[i].Status.ContainerStatuses) {
			ended := status.State.Terminated
			if ended == nil || (ended.ExitCode == 0 && state.Phase == reconciler.JobFailed) || ended.FinishedAt.Time.Before(at) {
				continue
			}
			at = ended.FinishedAt.Time
			state.ExitCode, state.Result = ended.ExitCode, ended.Message
			if state.Phase == reconciler.JobFailed && ended.Message == "" {
				state.Log = t.tail(ctx, &pods[i], status.Name)
			}
		}
		if trouble := podTrouble(&pods[i]); trouble != "" && state.ExitCode < 0 {
			state.Message += "; " + trouble
		}
	}
}

// tail reads the end of a container's log, for the person who has to find out
// why it failed. Without the right to read logs, the message says so.
func (t *tenant) tail(ctx context.Context, pod *corev1.Pod, container string) string {
	client, err := kubernetes.NewForConfig(t.config)
	if err != nil {
		return ""
	}
	lines, bytes := int64(logLines), int64(logBytes)
	text, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, TailLines: &lines, LimitBytes: &bytes,
	}).DoRaw(ctx)
	if err != nil {
		return "its log could not be read: " + t.explain(err).Error()
	}
	return string(text)
}

// attemptOf is the attempt that started a Job, zero for one that is not ours.
func attemptOf(object *unstructured.Unstructured) int64 {
	attempt, err := strconv.ParseInt(object.GetAnnotations()[attemptAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return attempt
}

func decodeJob(object *unstructured.Unstructured) (*batchv1.Job, error) {
	if object == nil {
		return nil, errors.New("no Job")
	}
	job := &batchv1.Job{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, job); err != nil {
		return nil, fmt.Errorf("job %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	return job, nil
}
