package cluster_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// canary is a value that must not be in any text.
const canary = "Canary-7f3a"

// TestErrorsCarryNoSecret covers R5: the API repeats values in its refusals,
// and an error of ours never does.
func TestErrorsCarryNoSecret(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ manifest, want, secret string }{
		"a number in stringData": {
			"{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {pin: 73546712}}",
			"stringData must be a map of strings: put quotes around numbers and booleans", "73546712",
		},
		"a number in data": {
			"{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {pin: 73546712}}", "Secret s: ", "73546712",
		},
		"data that is not base64": {
			"{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {pin: '" + canary + "'}}", "Secret s: ", canary,
		},
		"a Secret of a kind that misses a key": {
			"{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: s}, stringData: {tls.key: " + canary + "}}",
			"data[tls.crt]", canary,
		},
		"an unknown field in a Secret": {
			"{apiVersion: v1, kind: Secret, metadata: {name: s}, password: " + canary + "}", "Secret s: ", canary,
		},
		"a number as variable": {
			podWith("{name: PIN, value: 73546712}"), "Pod p: ", "73546712",
		},
		"a list as variable": {
			podWith("{name: PIN, value: [" + canary + "]}"), "Pod p: ", canary,
		},
		"a variable with a value and a source": {
			podWith("{name: PIN, value: " + canary + ", valueFrom: {fieldRef: {fieldPath: metadata.name}}}"), "Pod p: ", canary,
		},
		"a number in a ConfigMap": {
			"{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {pin: 73546712}}", "ConfigMap c: ", "73546712",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWithPods(t)
			objects := []reconciler.Object{object(t, "overlay/x.yaml", test.manifest)}
			for _, err := range []error{dryRun(t.Context(), w.tenant, objects), writeAll(t.Context(), w.tenant, objects)} {
				assert.ErrorContains(t, err, "overlay/x.yaml: ")
				assert.ErrorContains(t, err, test.want)
				assert.Assert(t, reconciler.IsTerminal(err), "%v", err)
				assertSilent(t, err, test.secret)
			}
		})
	}
}

func podWith(variable string) string {
	return "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i, env: [" + variable + "]}]}}"
}

// assertSilent looks for a value in all the clothes that the API puts it in.
func assertSilent(t *testing.T, err error, secret string) {
	t.Helper()
	for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
		assert.Assert(t, !strings.Contains(err.Error(), form), "%q is in the error: %v", form, err)
	}
}

// TestImmutableJobTellsNoVariables covers A7 and R5: the refusal of a changed
// Job repeats its whole template, variables included.
func TestImmutableJobTellsNoVariables(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{
		"a plain value":                   canary,
		"a value with quotes":             `Can"ary`,
		"a value with a line break":       "Can\nary-tail",
		"a value with a backslash":        `Can\ary`,
		"a value with a tab and a umlaut": "Can\täry",
		"a value of three letters":        "xqz",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			job := func(image string) []reconciler.Object {
				made := object(t, "job.yaml", `
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: `+image+`, env: [{name: PASSWORD}]}]
`)
				spec := made.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
				spec["containers"].([]any)[0].(map[string]any)["env"].([]any)[0].(map[string]any)["value"] = secret
				return []reconciler.Object{made}
			}
			assert.NilError(t, writeAll(t.Context(), w.tenant, job("one")))
			err := writeAll(t.Context(), w.tenant, job("two"))
			assert.ErrorContains(t, err, "job.yaml: Job j: ")
			assert.ErrorContains(t, err, "field is immutable")
			assert.Assert(t, reconciler.IsTerminal(err))
			for _, part := range strings.FieldsFunc(secret, func(r rune) bool { return strings.ContainsRune("\"\n\\\t", r) }) {
				assert.Assert(t, !strings.Contains(err.Error(), part), "%q is in the error: %v", part, err)
			}
		})
	}
}
