package render

import (
	"slices"
	"testing"

	"gotest.tools/v3/assert"
)

// FuzzIdentities holds the two ways to find objects in a file together: what
// is skimmed must be what kustomize parses.
func FuzzIdentities(f *testing.F) {
	for _, text := range []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  labels: {name: x}\n  name: a\n  namespace: n\nspec:\n  name: b\n---\nkind: X\napiVersion: v1\nmetadata:\n    name: \"c\"\n",
		"---\n# comment\napiVersion: v1 # here\nkind: X\nmetadata:\n  annotations:\n    name: no\n  name: a\n...\n",
		"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: X, metadata: {name: a}}\n",
		"{\"apiVersion\": \"v1\", \"kind\": \"X\", \"metadata\": {\"name\": \"a\"}}",
		"apiVersion: v1\nkind: X\nmetadata: {name: a}\n", "apiVersion: v1\nkind: X\nmetadata:\n  ? name\n  : a\n",
		"apiVersion: v1\nkind: X\nmetadata:\n  name: |\n    a\n", "apiVersion: v1\nkind: X\nmetadata:\n  name:\n    a\n",
		"apiVersion: v1\nkind: X\nmetadata:\n  name: 1\n", "apiVersion: v1\nkind: X\nmetadata:\n  name: null\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: |\n    ---\n    kind: Y\n", "%YAML 1.2\n---\nkind: X\n",
		"apiVersion: 0\nkind: 0\nmetadata:\n name: 0\n---\n 00", "apiVersion: 0\nkind: 0\nmetadata:\n name: 0\n  00", "apiVersion: 0\nkind: 0\nmetadata: \n  name: 0\n---\n-",
		"apiVersion: v1\r\nkind: X\r\nmetadata:\r\n  name: a\r\n", "\ufeffapiVersion: v1\nkind: X\nmetadata:\n  name: a\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, ok := skim([]byte(text))
		if !ok || len(parts) == 0 {
			return
		}
		var skimmed []identity
		for _, part := range parts {
			skimmed = append(skimmed, part.ids...)
		}
		parsed, err := parse([]byte(text))
		if err != nil || slices.ContainsFunc(parsed, func(id identity) bool { return id.kind == "" || id.name == "" }) {
			// No build succeeds with such a file.
			return
		}
		assert.Assert(t, slices.Equal(skimmed, parsed), "skimmed %v, parsed %v", skimmed, parsed)
		for _, part := range parts {
			alone, err := parse(part.text)
			assert.NilError(t, err)
			assert.Assert(t, slices.Equal(alone, part.ids), "%q holds %v, not %v", part.text, alone, part.ids)
		}
	})
}
