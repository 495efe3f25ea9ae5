package cluster

import (
	"testing"

	"gotest.tools/v3/assert"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// TestReleaseThatCannotBeRead covers P12: one bad duration is the matter of one
// Release.
func TestReleaseThatCannotBeRead(t *testing.T) {
	bad := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "bad"}, "spec": map[string]any{"source": map[string]any{"interval": "1x"}},
	}}
	kept, err := readRelease(bad)
	assert.NilError(t, err)
	assert.Equal(t, kept.(*unstructured.Unstructured).GetName(), "bad")
	_, err = decodeRelease(bad)
	assert.ErrorContains(t, err, "1x")

	good := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "good", "managedFields": []any{map[string]any{"manager": "m"}}},
		"spec":     map[string]any{"source": map[string]any{"interval": "1m"}},
	}}
	read, err := readRelease(good)
	assert.NilError(t, err)
	assert.Equal(t, read.(*v1alpha1.Release).Name, "good")
	assert.Equal(t, len(read.(*v1alpha1.Release).ManagedFields), 0)
}
