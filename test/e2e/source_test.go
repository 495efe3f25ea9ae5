//go:build e2e

package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/test/harness"
)

// edit changes the Release and waits until it settled with that change.
func edit(t *testing.T, patch string) {
	t.Helper()
	before, err := shared.cluster.Release(t.Context())
	assert.NilError(t, err)
	assert.NilError(t, shared.cluster.Edit(t.Context(), patch))
	_, err = shared.cluster.WaitRelease(t.Context(), patience, nil, func(release *v1alpha1.Release) bool {
		return release.Generation > before.Generation && release.Status.ObservedGeneration == release.Generation && release.Status.Phase == "Settled"
	})
	assert.NilError(t, err)
}

// A webhook delivers at once although the branch is looked at once an hour,
// whichever replica it comes to; one that is not signed does nothing.
func TestAWebhookDeliversAtOnce(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hook"}, StringData: map[string]string{"token": "an-e2e-token"}}
	_, err := shared.cluster.Kube.CoreV1().Secrets(harness.Namespace).Create(t.Context(), secret, metav1.CreateOptions{})
	assert.NilError(t, err)
	edit(t, `{"spec":{"source":{"interval":"1h","webhook":{"secretRef":{"name":"hook"}}}}}`)
	defer edit(t, `{"spec":{"source":{"interval":"5s","webhook":null}}}`)

	pods, err := shared.cluster.Kube.CoreV1().Pods("lockstep-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=lockstep"})
	assert.NilError(t, err)
	told := 0
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			continue
		}
		told++
		commit, err := shared.repo.Push(t.Context(), "Told by a webhook to "+pod.Name)
		assert.NilError(t, err)
		body := []byte(`{"ref":"refs/heads/` + harness.Branch + `"}`)
		began := time.Now()
		assert.Equal(t, hook(t, pod.Name, "a-stranger's-token", body), http.StatusUnauthorized)
		assert.Equal(t, hook(t, pod.Name, "an-e2e-token", body), http.StatusAccepted)
		_, err = shared.cluster.WaitRelease(t.Context(), patience, nil, harness.Settled(commit))
		assert.NilError(t, err)
		figure("webhook-to-settled", time.Since(began).Seconds(), "s", 15)
	}
	assert.Equal(t, told, 2, "the leader and the other one")
}

// hook sends what GitHub sends on a push and returns the status of the answer.
func hook(t *testing.T, pod, token string, body []byte) int {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(token))
	_, _ = mac.Write(body)
	header := http.Header{"X-Github-Event": {"push"}, "X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}}
	status, err := shared.cluster.Post(t.Context(), "lockstep-system", pod, 8082, "/hook/unity/unity", header, body)
	assert.NilError(t, err)
	return status
}

// A commit that nobody trusted has signed is held before anything of it is
// rendered, and what is deployed stays.
func TestAnUnsignedCommitIsHeld(t *testing.T) {
	before, err := shared.cluster.Release(t.Context())
	assert.NilError(t, err)
	const signer = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINw+x7769AwqBCMxch+L8zkLuKaT9VuLILjhn9TAAZe8 ada@example.org"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "signers"}, StringData: map[string]string{"ada": signer}}
	_, err = shared.cluster.Kube.CoreV1().Secrets(harness.Namespace).Create(t.Context(), secret, metav1.CreateOptions{})
	assert.NilError(t, err)
	assert.NilError(t, shared.cluster.Edit(t.Context(), `{"spec":{"source":{"verify":{"secretRef":{"name":"signers"}}}}}`))
	defer edit(t, `{"spec":{"source":{"verify":null}}}`)
	held, err := shared.cluster.WaitRelease(t.Context(), patience, nil, func(release *v1alpha1.Release) bool { return release.Status.HeldRevision != "" })
	assert.NilError(t, err)
	assert.Check(t, cmp.Contains(harness.Message(held), "is not signed; sign it with `git commit -S`"))
	assert.Equal(t, held.Status.LastGoodRevision, before.Status.LastGoodRevision)
}
