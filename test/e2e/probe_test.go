//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/test/harness"
)

// probe is a client inside the cluster that asks Unity all the time.
type probe struct{ name string }

func startProbe(t *testing.T) probe {
	t.Helper()
	pods := shared.cluster.Kube.CoreV1().Pods(harness.Namespace)
	p := probe{name: "probe-" + strconv.FormatInt(time.Now().UnixNano(), 36)}
	_, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.name},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(65534)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: harness.Unity("1").Ref, Command: []string{"/unity"},
				Args: []string{"probe", "http://unity-backend:8000/api/users", "--rate", "20", "--for", "10m"},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}, metav1.CreateOptions{})
	assert.NilError(t, err)
	p.await(t, func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
	return p
}

func (p probe) await(t *testing.T, wanted func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		var err error
		pod, err = shared.cluster.Kube.CoreV1().Pods(harness.Namespace).Get(t.Context(), p.name, metav1.GetOptions{})
		switch {
		case err != nil:
			return poll.Error(err)
		case !wanted(pod):
			return poll.Continue("Pod %s is %s", p.name, pod.Status.Phase)
		default:
			return poll.Success()
		}
	}, poll.WithTimeout(time.Minute))
	return pod
}

// assertNoneFailed ends the probe and reads what it counted from its log.
func (p probe) assertNoneFailed(t *testing.T) {
	t.Helper()
	pods := shared.cluster.Kube.CoreV1().Pods(harness.Namespace)
	stream, err := pods.GetLogs(p.name, &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	assert.NilError(t, err)
	defer func() { _ = stream.Close() }()
	assert.NilError(t, pods.Delete(t.Context(), p.name, metav1.DeleteOptions{}))
	var counted struct {
		Requests     int
		Failed       int
		LongestGapMs float64
	}
	assert.NilError(t, json.NewDecoder(stream).Decode(&counted))
	assert.Assert(t, counted.Requests > 20, "only %d requests were made: nothing is proven", counted.Requests)
	assert.Equal(t, counted.Failed, 0, "%+v", counted)
	t.Logf("%+v", counted)
	fmt.Printf("figure failed-requests %d of-%d goal 0 ok\n", counted.Failed, counted.Requests)
}

// metric reads a series without labels from the leading replica.
func metric(t *testing.T, name string) float64 {
	t.Helper()
	lease, err := shared.cluster.Kube.CoordinationV1().Leases("lockstep-system").Get(t.Context(), "lockstep", metav1.GetOptions{})
	assert.NilError(t, err)
	text, err := shared.cluster.Get(t.Context(), "lockstep-system", *lease.Spec.HolderIdentity, 8080, "/metrics")
	assert.NilError(t, err)
	for line := range strings.SplitSeq(text, "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			number, err := strconv.ParseFloat(value, 64)
			assert.NilError(t, err)
			return number
		}
	}
	t.Fatalf("no series %s", name)
	return 0
}

func stateFile(t *testing.T) string {
	t.Helper()
	path, err := shared.cluster.StateKubeconfig(t.Context())
	assert.NilError(t, err)
	return path
}
