package render_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
	"github.com/lockstep-gitops/lockstep/reconciler/render/sops"
)

func encrypted(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("sops", "testdata", name))
	assert.NilError(t, err)
	return string(content)
}

func ageKeys(t testing.TB) *sops.Keys {
	t.Helper()
	keys, err := sops.NewKeys(reconciler.Secret{"key.agekey": []byte(encrypted(t, "key.agekey"))})
	assert.NilError(t, err)
	return keys
}

// canary is a value of the encrypted files.
const canary = "correct horse battery staple"

// Resources, files of generators and files of variables are decrypted, and
// named objects come from where they are written.
func TestEncryptedFilesAreRenderedAsPlaintext(t *testing.T) {
	commit := tree(map[string]string{
		"o/kustomization.yaml": "resources: [secret.enc.yaml]\nsecretGenerator: [{name: g, files: [config.enc.json, pem=binary.enc], options: {disableNameSuffixHash: true}}, {name: e, envs: [app.enc.env], options: {disableNameSuffixHash: true}}]\n",
		"o/secret.enc.yaml":    encrypted(t, "secret.enc.yaml"), "o/config.enc.json": encrypted(t, "config.enc.json"),
		"o/app.enc.env": encrypted(t, "app.enc.env"), "o/binary.enc": encrypted(t, "binary.enc"),
	})
	objects, err := newRenderer().Render(t.Context(), render.Decrypted(commit, ageKeys(t)), "o")
	assert.NilError(t, err)
	assert.Equal(t, len(objects), 3)
	found := map[string]reconciler.Object{}
	for _, o := range objects {
		found[o.GetName()] = o
	}
	password, _, err := unstructured.NestedString(found["db"].Object, "stringData", "password")
	assert.NilError(t, err)
	assert.Equal(t, password, canary)
	assert.Equal(t, found["db"].Origin, "o/secret.enc.yaml")
	_, kept := found["db"].Object["sops"]
	assert.Assert(t, !kept)
	data := func(name, key string) string {
		text, _, err := unstructured.NestedString(found[name].Object, "data", key)
		assert.NilError(t, err)
		plain, err := base64.StdEncoding.DecodeString(text)
		assert.NilError(t, err)
		return string(plain)
	}
	assert.Equal(t, data("g", "config.enc.json"), encrypted(t, "config.dec.json"))
	assert.Equal(t, data("g", "pem"), encrypted(t, "binary.dec"))
	assert.Equal(t, data("e", "PASSWORD"), "p=a=s=s")
}

// An encrypted Secret is never applied as it is.
func TestEncryptedSecretWithoutKeysIsRefused(t *testing.T) {
	commit := tree(map[string]string{"o/kustomization.yaml": "resources: [s.yaml]\n", "o/s.yaml": encrypted(t, "secret.enc.yaml")})
	_, err := newRenderer().Render(t.Context(), commit, "o")
	reason, text := failure(t, err)
	assert.Equal(t, reason, render.ReasonDecryption)
	assert.Equal(t, text, "o/s.yaml: Secret db is encrypted with SOPS, and no keys were given to open it")
}

// What was decrypted for one Release is not remembered for another.
func TestMemoTellsKeysApart(t *testing.T) {
	files := map[string]string{"o/kustomization.yaml": "resources: [s.yaml]\n", "o/s.yaml": encrypted(t, "secret.enc.yaml")}
	renderer := newRenderer()
	_, err := renderer.Render(t.Context(), render.Decrypted(identify(tree(files)), ageKeys(t)), "o")
	assert.NilError(t, err)
	other, err := sops.NewKeys(reconciler.Secret{"key.asc": []byte(encrypted(t, "key.asc"))})
	assert.NilError(t, err)
	for _, commit := range []reconciler.Tree{
		identify(tree(files)), tree(files), render.Decrypted(identify(tree(files)), other), render.Decrypted(tree(files), other),
	} {
		_, err := renderer.Render(t.Context(), commit, "o")
		reason, _ := failure(t, err)
		assert.Equal(t, reason, render.ReasonDecryption)
	}
	again := identify(tree(files))
	objects, err := renderer.Render(t.Context(), render.Decrypted(again, ageKeys(t)), "o")
	assert.NilError(t, err)
	assert.Equal(t, len(objects), 1)
	assert.Equal(t, len(*again.reads), 0)
}

// No failure after decryption shows what was decrypted.
func TestErrorsDoNotShowPlaintext(t *testing.T) {
	secret := encrypted(t, "secret.enc.yaml")
	same := "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: n2}\n"
	for name, files := range map[string]map[string]string{
		"the same object twice":        {"o/kustomization.yaml": "resources: [s.yaml, t.yaml]\n", "o/t.yaml": secret},
		"a namespace makes them equal": {"o/kustomization.yaml": "namespace: n1\nresources: [s.yaml, t.yaml]\n", "o/t.yaml": same},
		"used as a patch":              {"o/kustomization.yaml": "resources: [t.yaml]\npatches: [{path: s.yaml}]\n", "o/t.yaml": configMap("x")},
		"used as a kustomization":      {"o/kustomization.yaml": "resources: [../k]\n", "k/kustomization.yaml": secret},
		"used as a transformer":        {"o/kustomization.yaml": "resources: [t.yaml]\ntransformers: [s.yaml]\n", "o/t.yaml": configMap("x")},
		"used as a configuration":      {"o/kustomization.yaml": "resources: [t.yaml]\nconfigurations: [s.yaml]\n", "o/t.yaml": configMap("x")},
		"used as a CRD":                {"o/kustomization.yaml": "resources: [t.yaml]\ncrds: [s.yaml]\n", "o/t.yaml": configMap("x")},
		"used as replacements":         {"o/kustomization.yaml": "resources: [t.yaml]\nreplacements: [{path: s.yaml}]\n", "o/t.yaml": configMap("x")},
		"a value made a number":        {"o/kustomization.yaml": "resources: [s.yaml]\nreplacements: [{source: {kind: Secret, fieldPath: stringData.password}, targets: [{select: {kind: Secret}, fieldPaths: [spec.none.there]}]}]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			files["o/s.yaml"] = secret
			_, err := newRenderer().Render(t.Context(), render.Decrypted(tree(files), ageKeys(t)), "o")
			_, text := failure(t, err)
			for _, part := range []string{canary, "horse", base64.StdEncoding.EncodeToString([]byte(canary)), "first line", "second: line", "0123"} {
				assert.Assert(t, !strings.Contains(text, part), text)
			}
		})
	}
}
