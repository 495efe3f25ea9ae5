package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forward makes a port of a ready Pod with these labels answer on a port of
// this machine, which it returns, until stop is called.
func (c *Cluster) Forward(ctx context.Context, namespace, labels string, port int) (local int, stop func(), err error) {
	pods, err := c.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return 0, nil, err
	}
	for i := range pods.Items {
		if ready(&pods.Items[i]) {
			return c.forwardTo(namespace, pods.Items[i].Name, port)
		}
	}
	return 0, nil, fmt.Errorf("no ready Pod with %s in %s", labels, namespace)
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

func (c *Cluster) forwardTo(namespace, pod string, port int) (int, func(), error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.Config)
	if err != nil {
		return 0, nil, err
	}
	url := c.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	stopped, started, failed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, stopped, started, io.Discard, io.Discard)
	if err != nil {
		return 0, nil, err
	}
	go func() { failed <- forwarder.ForwardPorts() }()
	select {
	case err := <-failed:
		return 0, nil, errors.Join(fmt.Errorf("port %d of Pod %s/%s", port, namespace, pod), err)
	case <-started:
	}
	ports, err := forwarder.GetPorts()
	if err != nil || len(ports) != 1 {
		close(stopped)
		return 0, nil, errors.Join(fmt.Errorf("port %d of Pod %s/%s", port, namespace, pod), err)
	}
	return int(ports[0].Local), func() { close(stopped) }, nil
}
