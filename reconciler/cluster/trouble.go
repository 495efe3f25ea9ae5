package cluster

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	corev1 "k8s.io/api/core/v1"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/verdict"
)

// troubles looks at the Pods of workloads that are not done and says why
// their containers do not run. It is evidence, not a verdict: when the Pods
// cannot be read, there is none.
func (t *tenant) troubles(ctx context.Context, objects []reconciler.Object) []string {
	var out []string
	for _, object := range objects {
		labels, found, err := unstructured.NestedStringMap(object.Object, "spec", "selector", "matchLabels")
		if err != nil || !found || !verdict.Waits(object.Unstructured) {
			continue
		}
		namespace := object.GetNamespace()
		if namespace == "" {
			namespace = t.namespace
		}
		pods, err := t.pods(ctx, namespace, metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels}))
		if err != nil {
			continue
		}
		for i := range pods {
			if trouble := podTrouble(&pods[i]); trouble != "" && !slices.Contains(out, trouble) {
				out = append(out, trouble)
			}
		}
	}
	return out
}

func (t *tenant) pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := t.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).
		Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, t.explain(err)
	}
	pods := make([]corev1.Pod, len(list.Items))
	for i := range list.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &pods[i]); err != nil {
			return nil, fmt.Errorf("pod %s/%s: %w", namespace, list.Items[i].GetName(), err)
		}
	}
	return pods, nil
}

// podTrouble says what keeps a Pod from being ready, or nothing.
func podTrouble(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("Pod %s: %s: %s", pod.Name, c.Reason, c.Message)
		}
	}
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, status := range statuses {
		waiting, last := status.State.Waiting, status.LastTerminationState.Terminated
		switch {
		case waiting != nil && last != nil:
			return fmt.Sprintf("Pod %s, container %s: %s after exit code %d, %d restarts", pod.Name, status.Name, waiting.Reason, last.ExitCode, status.RestartCount)
		case waiting != nil && waiting.Message != "":
			return fmt.Sprintf("Pod %s, container %s: %s: %s", pod.Name, status.Name, waiting.Reason, waiting.Message)
		case status.State.Terminated != nil && status.State.Terminated.ExitCode != 0:
			return fmt.Sprintf("Pod %s, container %s: exit code %d", pod.Name, status.Name, status.State.Terminated.ExitCode)
		}
	}
	return ""
}
