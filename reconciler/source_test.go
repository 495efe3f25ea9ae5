package reconciler_test

import (
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"gotest.tools/v3/assert"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

func secretNamed(name string) v1alpha1.SecretReference { return v1alpha1.SecretReference{Name: name} }

func TestWhatIsFollowed(t *testing.T) {
	for name, test := range map[string]struct {
		source v1alpha1.Source
		want   reconciler.Reference
	}{
		"a branch":                   {v1alpha1.Source{Branch: "main"}, reconciler.Reference{Branch: "main"}},
		"a tag":                      {v1alpha1.Source{Tag: "v1"}, reconciler.Reference{Tag: "v1"}},
		"a range of versions":        {v1alpha1.Source{Semver: "1.x"}, reconciler.Reference{Semver: "1.x"}},
		"the default, named nowhere": {v1alpha1.Source{}, reconciler.Reference{Branch: "clean-k8s-deploy"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, release := newWorld(), newRelease()
			test.source.URL, test.source.Path, test.source.Interval = "https://git.example/unity.git", "overlay", release.Spec.Source.Interval
			release.Spec.Source = test.source
			pass(t, w, release)
			assert.DeepEqual(t, w.asked.Reference, test.want)
		})
	}
}

// One look serves all who follow a repository, unless a person or a webhook
// asks for a new one; each wish is acted upon once.
func TestAnAnswerIsSharedUnlessALookIsAskedFor(t *testing.T) {
	w, release := newWorld(), newRelease()
	pass(t, w, release)
	assert.Equal(t, w.asked.MaxAge, 27*time.Second)

	release.Annotations = map[string]string{v1alpha1.RequestedAtAnnotation: "now"}
	pass(t, w, release)
	assert.Equal(t, w.asked.MaxAge, time.Duration(0))
	assert.Equal(t, w.saved.Status.LastHandledRequestedAt, "now")

	pass(t, w, release)
	assert.Equal(t, w.asked.MaxAge, 27*time.Second)
}

// A wish that met an outage is still one: it is not left to the next interval,
// which may be a day away. One that only an edit can fulfil is done with.
func TestAWishOutlivesAnOutage(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.tipErr = reconciler.Transientf("ServerUnreachable", "no route to host")
	release.Annotations = map[string]string{v1alpha1.RequestedAtAnnotation: "now"}
	next := pass(t, w, release)
	assert.Assert(t, next.Retry)
	assert.Equal(t, w.saved.Status.LastHandledRequestedAt, "")
	assert.Assert(t, w.expired > 0, "an answer under way may be from before the wish")

	w.tipErr = reconciler.Terminalf("CredentialsInvalid", "no password")
	next = pass(t, w, release)
	assert.Assert(t, !next.Retry)
	assert.Equal(t, w.saved.Status.LastHandledRequestedAt, "now")
}

func TestSignatures(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.secrets["signers"] = reconciler.Secret{"key": []byte("ada")}
	w.signedBy = "ada"
	release.Spec.Source.Verify = &v1alpha1.SignatureVerification{SecretRef: secretNamed("signers")}
	pass(t, w, release)
	good := w.saved.Status.LastGoodRevision
	assert.Equal(t, good, "main@sha1:"+commitA)
	assert.Equal(t, w.saved.Status.Signer, "ada")

	w.tip, w.signedBy, w.trace = commitB, "mallory", nil
	pass(t, w, release)
	assert.Equal(t, w.saved.Status.HeldRevision, "main@sha1:"+commitB)
	assert.Equal(t, w.saved.Status.LastGoodRevision, good, "the last good revision stays")
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Message, "Fetch failed: signed by mallory, whom nobody trusts")
	assert.Equal(t, w.saved.Status.Signer, "")
	assert.DeepEqual(t, w.writes(), []string(nil))
	assert.Assert(t, !slices.Contains(w.trace, "Render succeeded"), "a commit of a stranger was rendered")
}

// Without the Secret of the signers nobody is trusted, and nothing is held
// that may be right.
func TestMissingSignersAreWaitedFor(t *testing.T) {
	w, release := newWorld(), newRelease()
	release.Spec.Source.Verify = &v1alpha1.SignatureVerification{SecretRef: secretNamed("signers")}
	next := pass(t, w, release)
	assert.Assert(t, next.Retry)
	assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Message, "Fetch: spec.source.verify.secretRef: no Secret signers")
	assert.DeepEqual(t, w.writes(), []string(nil))
}

func TestDecryptionReadsTheKeysForEachAttempt(t *testing.T) {
	w, release := newWorld(), newRelease()
	w.secrets["age"] = reconciler.Secret{"key": []byte("k1")}
	release.Spec.Decryption = &v1alpha1.Decryption{SecretRef: secretNamed("age")}
	pass(t, w, release)
	assert.Assert(t, slices.Contains(w.trace, "decrypt with k1"), "%v", w.trace)
	w.secrets["age"] = reconciler.Secret{"key": []byte("k2")}
	w.tip = commitB
	pass(t, w, release)
	assert.Assert(t, slices.Contains(w.trace, "decrypt with k2"), "%v", w.trace)
}

func TestSubstitution(t *testing.T) {
	configMap := v1alpha1.SubstituteSource{Kind: "ConfigMap", Name: "settings"}
	secret := v1alpha1.SubstituteSource{Kind: "Secret", Name: "secrets"}
	optional := v1alpha1.SubstituteSource{Kind: "ConfigMap", Name: "more", Optional: true}
	for name, test := range map[string]struct {
		own  map[string]string
		from []v1alpha1.SubstituteSource
		want string
	}{
		"off unless asked for":            {nil, nil, ""},
		"of the spec":                     {map[string]string{"A": "1"}, nil, "substitute map[A:1]"},
		"of objects":                      {nil, []v1alpha1.SubstituteSource{configMap}, "substitute map[A:c B:c]"},
		"later objects override":          {nil, []v1alpha1.SubstituteSource{configMap, secret}, "substitute map[A:c B:s]"},
		"the spec overrides":              {map[string]string{"B": "1"}, []v1alpha1.SubstituteSource{secret, configMap}, "substitute map[A:c B:1]"},
		"what is optional may be missing": {nil, []v1alpha1.SubstituteSource{optional}, "substitute map[]"},
	} {
		t.Run(name, func(t *testing.T) {
			w, release := newWorld(), newRelease()
			w.values = map[string]map[string]string{"ConfigMap settings": {"A": "c", "B": "c"}, "Secret secrets": {"B": "s"}}
			release.Spec.Substitute, release.Spec.SubstituteFrom = test.own, test.from
			pass(t, w, release)
			assert.Equal(t, condition(w.saved, v1alpha1.ConditionReady).Status, metav1.ConditionTrue)
			at := slices.IndexFunc(w.trace, func(line string) bool { return len(line) > 10 && line[:10] == "substitute" })
			if test.want == "" {
				assert.Equal(t, at, -1)
				return
			}
			assert.Equal(t, w.trace[at], test.want)
		})
	}
}

func TestMissingVariablesAreWaitedFor(t *testing.T) {
	w, release := newWorld(), newRelease()
	release.Spec.SubstituteFrom = []v1alpha1.SubstituteSource{{Kind: "ConfigMap", Name: "settings"}}
	next := pass(t, w, release)
	assert.Assert(t, next.Retry)
	ready := condition(w.saved, v1alpha1.ConditionReady)
	assert.Equal(t, ready.Reason, "VariablesMissing")
	assert.Equal(t, ready.Message, "Render: spec.substituteFrom[0]: there is no ConfigMap unity/settings: make it, or mark it optional")
}

func TestPreviewRendersWithoutWriting(t *testing.T) {
	w, release := newWorld(), newRelease()
	release.Spec.Substitute = map[string]string{"A": "1"}
	preview, err := w.reconciler().Preview(t.Context(), release, nil)
	assert.NilError(t, err)
	assert.Equal(t, preview.Revision, "main@sha1:"+commitA)
	assert.Equal(t, len(preview.Objects), len(w.objects))
	assert.DeepEqual(t, w.trace, []string{"read secret git", "substitute map[A:1]"})
	assert.Assert(t, w.saved == nil, "the status was written")
	assert.DeepEqual(t, release, func() *v1alpha1.Release { r := newRelease(); r.Spec.Substitute = release.Spec.Substitute; return r }())

	w.tips = 0
	preview, err = w.reconciler().Preview(t.Context(), release, fstest.MapFS{})
	assert.NilError(t, err)
	assert.Equal(t, preview.Revision, "")
	assert.Equal(t, w.tips, 0, "a tree that was given needs no git server")
}
