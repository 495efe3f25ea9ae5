package cluster_test

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// newWorldWithPods lets the account write Pods, too.
func newWorldWithPods(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, append(controlplane.DeployerRules(t),
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: allVerbs()})...)
}

func deploymentsWithoutWatch() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "create", "patch"}}
}

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }

// playKubelet waits for the Pods of an app and writes their status: there is
// no kubelet under this control plane.
func (w *world) playKubelet(t *testing.T, app string, count int, write func(*corev1.PodStatus, string)) {
	t.Helper()
	pods := w.kube.CoreV1().Pods(w.namespace)
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: app})
		switch {
		case err != nil:
			return poll.Error(err)
		case len(list.Items) < count:
			return poll.Continue("%d of %d Pods", len(list.Items), count)
		}
		for i := range list.Items {
			pod := &list.Items[i]
			write(&pod.Status, pod.Spec.Containers[0].Name)
			if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
				return poll.Continue("status of Pod %s: %v", pod.Name, err)
			}
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
}

// readyPods says that the Pods of an app are ready.
func (w *world) readyPods(t *testing.T, app string, count int) {
	t.Helper()
	w.playKubelet(t, "app="+app, count, func(status *corev1.PodStatus, _ string) {
		status.Phase = corev1.PodRunning
		status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	})
}

// updated waits until the controllers have made so many Pods of a generation.
func (w *world) updated(t *testing.T, name string, generation int64, count int32) {
	t.Helper()
	w.waitFor(t, func() bool {
		live, err := w.kube.AppsV1().Deployments(w.namespace).Get(t.Context(), name, metav1.GetOptions{})
		return err == nil && live.Status.ObservedGeneration == generation && live.Status.UpdatedReplicas == count
	})
}

// pullFails says that the image of the Pods of an app cannot be had.
func (w *world) pullFails(t *testing.T, app string) {
	t.Helper()
	w.playKubelet(t, "app="+app, 2, func(status *corev1.PodStatus, container string) {
		status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
		}}}
	})
}

// endPods says that the container of the Pods with a label ended.
func (w *world) endPods(t *testing.T, selector string, ended corev1.ContainerStateTerminated) {
	t.Helper()
	ended.FinishedAt, ended.StartedAt = metav1.Now(), metav1.Now()
	w.playKubelet(t, selector, 1, func(status *corev1.PodStatus, container string) {
		status.Phase = corev1.PodSucceeded
		if ended.ExitCode != 0 {
			status.Phase = corev1.PodFailed
		}
		status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{Terminated: &ended}}}
	})
}
