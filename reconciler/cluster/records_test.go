package cluster_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// records are what a tenant keeps beside a Release.
type records interface {
	SaveRecord(ctx context.Context, owner *v1alpha1.Release, name string, content []byte) (string, error)
	LoadRecord(ctx context.Context, owner *v1alpha1.Release, pointer string) ([]byte, error)
	DropRecord(ctx context.Context, owner *v1alpha1.Release, pointer string) error
	DropRecords(ctx context.Context, owner *v1alpha1.Release, keep []string) error
}

// recordRules are all that an account needs for records.
func recordRules() rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "get", "list", "delete"}}
}

func (w *world) records(t *testing.T) records {
	t.Helper()
	out, ok := w.tenant.(records)
	assert.Assert(t, ok, "%T keeps no records", w.tenant)
	return out
}

// secrets are those with records in the namespace.
func (w *world) recordSecrets(t *testing.T) []corev1.Secret {
	t.Helper()
	list, err := w.kube.CoreV1().Secrets(w.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "lockstep.dev/record-of"})
	assert.NilError(t, err)
	slices.SortFunc(list.Items, func(a, b corev1.Secret) int { return strings.Compare(a.Name, b.Name) })
	return list.Items
}

// noise is what no compressor makes smaller.
func noise(size int) []byte {
	out := make([]byte, size)
	seed := rand.NewChaCha8([32]byte{1})
	_, _ = seed.Read(out)
	return out
}

// TestRecordComesBackAsItWas saves values from nothing to several Secrets.
func TestRecordComesBackAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, recordRules())
	w.stored(t)
	r := w.records(t)
	for name, test := range map[string]struct {
		content []byte
		secrets int
	}{
		"empty":  {[]byte{}, 1},
		"short":  {[]byte("x"), 1},
		"text":   {bytes.Repeat([]byte("kind: ConfigMap\n"), 1<<17), 1},
		"secure": {noise(2 << 20), 3},
	} {
		at, err := r.SaveRecord(t.Context(), w.release, name, test.content)
		assert.NilError(t, err, name)
		got, err := r.LoadRecord(t.Context(), w.release, at)
		assert.NilError(t, err, name)
		assert.Assert(t, bytes.Equal(got, test.content), name)
		secrets := w.recordSecrets(t)
		assert.Equal(t, len(secrets), test.secrets, name)
		for _, secret := range secrets {
			assert.Equal(t, string(secret.Type), "lockstep.dev/record")
			assert.Assert(t, *secret.Immutable)
			assert.Assert(t, len(secret.Data["chunk"]) <= 900<<10)
			assert.Equal(t, secret.OwnerReferences[0].UID, w.release.UID)
			assert.Equal(t, secret.Labels["lockstep.dev/record-of"], "web")
			_, watched := secret.Labels[reconciler.ReleaseLabel]
			assert.Assert(t, !watched, "the Sentry watches the Secret")
		}
		assert.NilError(t, r.DropRecords(t.Context(), w.release, nil))
		assert.Equal(t, len(w.recordSecrets(t)), 0, name)
	}
}

// TestRecordOfTheSameContentIsOne shows that what is there is not written
// again, and that each new content is a record of its own until the old one
// is dropped.
func TestRecordOfTheSameContentIsOne(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, recordRules())
	w.stored(t)
	r := w.records(t)
	save := func(name, content string) string {
		at, err := r.SaveRecord(t.Context(), w.release, name, []byte(content))
		assert.NilError(t, err)
		return at
	}
	first := save("inventory", "one")
	before := w.recordSecrets(t)
	assert.Equal(t, save("inventory", "one"), first)
	assert.DeepEqual(t, w.recordSecrets(t), before)
	second, report := save("inventory", "two"), save("report", "one")
	assert.Equal(t, len(w.recordSecrets(t)), 3)

	assert.NilError(t, r.DropRecords(t.Context(), w.release, []string{second, report}))
	assert.Equal(t, len(w.recordSecrets(t)), 2)
	_, err := r.LoadRecord(t.Context(), w.release, first)
	assert.ErrorIs(t, err, reconciler.ErrRecordMissing)
	assert.ErrorContains(t, err, "record in Secret "+w.namespace+"/lockstep-web-inventory-")
	got, err := r.LoadRecord(t.Context(), w.release, second)
	assert.NilError(t, err)
	assert.Equal(t, string(got), "two")
	assert.ErrorContains(t, r.DropRecords(t.Context(), w.release, []string{"what is this"}), `"what is this" does not point to a record`)
	assert.Equal(t, len(w.recordSecrets(t)), 2)
}

// TestRecordsOfOthersStay shows that a Release drops its own records only,
// whatever its name begins with, and that a Release made anew under its name
// takes nothing over.
func TestRecordsOfOthersStay(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, recordRules())
	w.stored(t)
	r := w.records(t)
	long := strings.Repeat("a-long.name-", 5)
	first, second := storedRelease(t, w.releases(), long+"one"), storedRelease(t, w.releases(), long+"two")
	at, err := r.SaveRecord(t.Context(), first, "inventory", []byte("one"))
	assert.NilError(t, err)
	_, err = r.SaveRecord(t.Context(), second, "inventory", []byte("one"))
	assert.NilError(t, err)
	assert.Equal(t, len(w.recordSecrets(t)), 2)
	assert.NilError(t, r.DropRecords(t.Context(), second, nil))
	assert.NilError(t, r.DropRecords(t.Context(), w.release, nil))
	got, err := r.LoadRecord(t.Context(), first, at)
	assert.NilError(t, err)
	assert.Equal(t, string(got), "one")

	anew := first.DeepCopy()
	anew.UID = second.UID
	_, err = r.LoadRecord(t.Context(), anew, at)
	assert.ErrorIs(t, err, reconciler.ErrRecordMissing)
	assert.NilError(t, r.DropRecords(t.Context(), anew, nil))
	assert.Equal(t, len(w.recordSecrets(t)), 1)

	assert.NilError(t, w.releases().Delete(t.Context(), first.Name, metav1.DeleteOptions{}))
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		if left := w.recordSecrets(t); len(left) > 0 {
			return poll.Continue("%s outlives its Release", left[0].Name)
		}
		return poll.Success()
	}, poll.WithTimeout(patience))
}

// TestRecordThatIsDamaged shows that damage is found and named, and that
// writing the value anew repairs it.
func TestRecordThatIsDamaged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(secrets []corev1.Secret)
		says   string
	}{
		"a chunk is gone":            {func(s []corev1.Secret) { s[1].Name = "elsewhere" }, "there is no such Secret"},
		"a chunk is cut short":       {func(s []corev1.Secret) { s[1].Data["chunk"] = s[1].Data["chunk"][:100] }, "the sha256 of data.chunk is not that of annotation"},
		"a bit is flipped":           {func(s []corev1.Secret) { s[1].Data["chunk"][5] ^= 1 }, "the sha256 of data.chunk is not that of annotation"},
		"the key is another":         {func(s []corev1.Secret) { s[1].Data = map[string][]byte{"other": {1}} }, "it holds no data.chunk"},
		"the type is another":        {func(s []corev1.Secret) { s[1].Type = corev1.SecretTypeOpaque }, `its type is "Opaque", not lockstep.dev/record`},
		"two chunks are swapped":     {func(s []corev1.Secret) { s[1].Data, s[2].Data = s[2].Data, s[1].Data }, "the sha256 of data.chunk is not that of annotation"},
		"swapped with their digests": {func(s []corev1.Secret) { s[1].Name, s[2].Name = s[2].Name, s[1].Name }, "the sha256 of data.chunk is not that of annotation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, recordRules())
			w.stored(t)
			r := w.records(t)
			content := noise(2 << 20)
			at, err := r.SaveRecord(t.Context(), w.release, "good", content)
			assert.NilError(t, err)
			secrets := w.recordSecrets(t)
			named := secrets[1].Name
			for _, secret := range secrets {
				assert.NilError(t, w.kube.CoreV1().Secrets(w.namespace).Delete(t.Context(), secret.Name, metav1.DeleteOptions{}))
			}
			test.damage(secrets)
			for _, secret := range secrets {
				secret.ResourceVersion, secret.UID = "", ""
				_, err := w.kube.CoreV1().Secrets(w.namespace).Create(t.Context(), &secret, metav1.CreateOptions{})
				assert.NilError(t, err)
			}
			_, err = r.LoadRecord(t.Context(), w.release, at)
			assert.ErrorIs(t, err, reconciler.ErrRecordMissing)
			assert.ErrorContains(t, err, "record in Secret "+w.namespace+"/"+named)
			assert.ErrorContains(t, err, test.says)
			assert.Assert(t, !reconciler.IsTerminal(err))

			again, err := r.SaveRecord(t.Context(), w.release, "good", content)
			assert.NilError(t, err)
			assert.Equal(t, again, at)
			got, err := r.LoadRecord(t.Context(), w.release, at)
			assert.NilError(t, err)
			assert.Assert(t, bytes.Equal(got, content))
		})
	}
}

// TestRecordWithoutTheRight names the account and the Secret.
func TestRecordWithoutTheRight(t *testing.T) {
	t.Parallel()
	rule := recordRules()
	rule.Verbs = []string{"get"}
	w := newWorldWith(t, rule)
	_, err := w.records(t).SaveRecord(t.Context(), w.release, "inventory", []byte("hush-hush"))
	assert.ErrorContains(t, err, "record in Secret "+w.namespace+"/lockstep-web-inventory-")
	assert.ErrorContains(t, err, "as ServiceAccount "+w.namespace+"/deployer: secrets is forbidden")
	assert.Assert(t, !strings.Contains(err.Error(), "hush"), err.Error())
	assert.ErrorContains(t, w.records(t).DropRecords(t.Context(), w.release, nil), "as ServiceAccount "+w.namespace+"/deployer")
}
