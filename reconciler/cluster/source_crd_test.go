package cluster_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/controlplane"
)

// TestSourceFieldsAreChecked shows that the API server itself refuses what can
// be seen to be wrong.
func TestSourceFieldsAreChecked(t *testing.T) {
	controlplane.InstallCRD(t)
	w := newWorld(t)
	const url, path = "url: https://git.example/shop.git", "path: deploy"
	for name, test := range map[string]struct{ manifest, says string }{
		"a tag":                      {manifest(url, path, "tag: v1.2.3"), ""},
		"a range of versions":        {manifest(url, path, "semver: '>=1.0.0 <2.0.0'"), ""},
		"a branch and a tag":         {manifest(url, path, "branch: main", "tag: v1"), "branch, tag and semver exclude one another"},
		"a tag and a range":          {manifest(url, path, "tag: v1", "semver: 1.x"), "branch, tag and semver exclude one another"},
		"a tag that is an option":    {manifest(url, path, "tag: --force"), "tag must be a git tag name"},
		"signers without a name":     {manifest(url, path, "verify: {secretRef: {name: ''}}"), "spec.source.verify.secretRef.name"},
		"a webhook without a Secret": {manifest(url, path, "webhook: {}"), "spec.source.webhook.secretRef"},
		"variables":                  {manifest(url, path) + "\n  substitute: {A_1: x}", ""},
		"a variable that is none":    {manifest(url, path) + "\n  substitute: {1a: x}", "names of variables are letters"},
		"variables of a wrong kind":  {manifest(url, path) + "\n  substituteFrom: [{kind: Pod, name: x}]", "spec.substituteFrom[0].kind"},
		"decryption":                 {manifest(url, path) + "\n  decryption: {secretRef: {name: age}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.releases().Create(t.Context(), object(t, "", test.manifest).Unstructured, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if test.says == "" {
				assert.NilError(t, err)
				return
			}
			assert.Assert(t, apierrors.IsInvalid(err), "%v", err)
			assert.ErrorContains(t, err, test.says)
		})
	}
}
