package cluster

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"gotest.tools/v3/assert"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// manifest reads YAML with whole numbers, as the API is read.
func manifest(t *testing.T, text string) map[string]any {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(text))
	assert.NilError(t, err)
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "X"}}
	assert.NilError(t, object.UnmarshalJSON([]byte(strings.Replace(string(body), "{", `{"apiVersion":"v1","kind":"X",`, 1))))
	return object.Object
}

func TestFieldChanges(t *testing.T) {
	t.Parallel()
	// A change is a path, the value before and the value after.
	type change = [3]string
	long := strings.Repeat("ä", 200)
	for name, test := range map[string]struct {
		before, after string
		want          []change
	}{
		"nothing": {"spec: {a: 1}", "spec: {a: 1}", nil},
		"what the API server keeps for itself": {
			"metadata: {uid: a, resourceVersion: '1', generation: 1, creationTimestamp: x, managedFields: [{manager: a}]}\nstatus: {a: 1}",
			"metadata: {uid: b, resourceVersion: '2', generation: 2, creationTimestamp: w, managedFields: [{manager: b}]}\nstatus: {a: 2}",
			nil,
		},
		"our own marks": {
			"metadata: {name: a}",
			"metadata: {name: a, labels: {lockstep.dev/release: a}, annotations: {lockstep.dev/owner: a/b, lockstep.dev/claimed-by: a/c}}",
			nil,
		},
		"a label beside our own": {
			"metadata: {labels: {lockstep.dev/release: a}}", "metadata: {labels: {lockstep.dev/release: a, app.example/x: w}}",
			[]change{{"metadata.labels[app.example/x]", "", `"w"`}},
		},
		"a value, one that comes and one that goes": {
			"spec: {a: 1, b: true}", "spec: {a: 2, c: x}",
			[]change{{"spec.a", "1", "2"}, {"spec.b", "true", ""}, {"spec.c", "", `"x"`}},
		},
		"a map that comes is told by its fields": {
			"spec: {}", "spec: {a: {b: 1, c: {d: 2}}}", []change{{"spec.a.b", "", "1"}, {"spec.a.c.d", "", "2"}},
		},
		"an empty map that comes": {"spec: {}", "spec: {a: {}}", []change{{"spec.a", "", "{}"}}},
		"an item by its name, wherever it stands": {
			"spec: {containers: [{name: a, image: x}, {name: b, image: w}]}",
			"spec: {containers: [{name: new}, {name: a, image: x}, {name: b, image: z}]}",
			[]change{{"spec.containers[name=b].image", `"w"`, `"z"`}, {"spec.containers[name=new]", "", `{"name":"new"}`}},
		},
		"an item by its key": {
			"spec: {items: [{key: a, path: x}]}", "spec: {items: [{key: a, path: w}]}",
			[]change{{"spec.items[key=a].path", `"x"`, `"w"`}},
		},
		"ports without a name": {
			"spec: {ports: [{port: 80, protocol: TCP, targetPort: 1}, {port: 80, protocol: UDP, targetPort: 1}]}",
			"spec: {ports: [{port: 80, protocol: TCP, targetPort: 1}, {port: 80, protocol: UDP, targetPort: 2}]}",
			[]change{{"spec.ports[port=80,protocol=UDP].targetPort", "1", "2"}},
		},
		"names that are there twice count by their place": {
			"spec: {items: [{name: a, v: 1}, {name: a, v: 2}]}", "spec: {items: [{name: a, v: 1}, {name: a, v: 3}]}",
			[]change{{"spec.items[1].v", "2", "3"}},
		},
		"an order that changes": {
			"spec: {initContainers: [{name: a}, {name: b}]}", "spec: {initContainers: [{name: b}, {name: a}]}",
			[]change{{"spec.initContainers", `["name=a","name=b"]`, `["name=b","name=a"]`}},
		},
		"plain items": {
			"spec: {args: [a, b, c]}", "spec: {args: [a, x]}", []change{{"spec.args[1]", `"b"`, `"x"`}, {"spec.args[2]", `"c"`, ""}},
		},
		"a type that changes": {"spec: {a: [1]}", "spec: {a: {b: 1}}", []change{{"spec.a", "[1]", `{"b":1}`}}},
		"a long value is clipped between characters": {
			"data: {a: x}", "data: {a: " + long + "}", []change{{"data.a", `"x"`, `"` + strings.Repeat("ä", 99) + "…"}},
		},
		"variables that sound secret": {
			"env: [{name: DB_PASSWORD, value: one}, {name: PLAIN, value: one}]",
			"env: [{name: DB_PASSWORD, value: two}, {name: PLAIN, value: two}, {name: api_token, value: three}, {name: REF_KEY, valueFrom: {x: w}}]",
			[]change{
				{"env[name=DB_PASSWORD].value", "(masked, 3 bytes)", "(masked, 3 bytes, another value)"},
				{"env[name=PLAIN].value", `"one"`, `"two"`},
				{"env[name=REF_KEY]", "", `{"name":"REF_KEY","valueFrom":{"x":"w"}}`},
				{"env[name=api_token]", "", `{"name":"api_token","value":"(masked, 5 bytes)"}`},
			},
		},
		"a password in an address": {
			"spec: {url: 'postgres://u:old@h/d'}", "spec: {url: 'postgres://u:new@h/d'}",
			[]change{{"spec.url", `"postgres://u:(masked)@h/d"`, `"postgres://u:(masked)@h/d"`}},
		},
		"what kubectl keeps": {
			"metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: abc}}", "metadata: {}",
			[]change{{"metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]", "(masked, 3 bytes)", ""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []change
			for _, field := range fieldChanges(manifest(t, test.before), manifest(t, test.after)) {
				got = append(got, change{field.Path, field.Before, field.After})
			}
			assert.DeepEqual(t, got, test.want)
		})
	}
}

func TestFieldsOfASecretAreMasked(t *testing.T) {
	t.Parallel()
	secret := func(data string) map[string]any {
		object := manifest(t, data)
		object["kind"] = "Secret"
		return object
	}
	got := fieldChanges(secret("data: {a: b25l, b: dHdv, same: eA==}\ntype: x"), secret("data: {a: b25lIQ==, c: dGhyZWU=, same: eA==}\ntype: w"))
	assert.DeepEqual(t, got, []reconciler.FieldChange{
		{Path: "data.a", Before: "(masked, 3 bytes)", After: "(masked, 4 bytes)"},
		{Path: "data.b", Before: "(masked, 3 bytes)"},
		{Path: "data.c", After: "(masked, 5 bytes)"},
		{Path: "type", Before: `"x"`, After: `"w"`},
	})
	assert.DeepEqual(t, fieldChanges(secret("type: x"), secret("{type: x, data: {a: b25l}}")), []reconciler.FieldChange{{Path: "data.a", After: "(masked, 3 bytes)"}})
	assert.DeepEqual(t, fieldChanges(secret("data: {a: b25l}"), secret("data: [b25l]")), []reconciler.FieldChange{
		{Path: "data", Before: `{"a":"(masked, 3 bytes)"}`, After: "(masked)"},
	})
}

func TestManyFieldsAreCounted(t *testing.T) {
	t.Parallel()
	before, after := map[string]any{}, map[string]any{}
	for i := range 130 {
		after[fmt.Sprintf("f%03d", i)] = int64(i)
	}
	got := fieldChanges(before, after)
	assert.Equal(t, len(got), 101)
	assert.DeepEqual(t, got[99], reconciler.FieldChange{Path: "f099", After: "99"})
	assert.DeepEqual(t, got[100], reconciler.FieldChange{Path: "and 30 more fields"})
}

// entry is what a manager owns, as JSON.
func entry(manager string, operation metav1.ManagedFieldsOperationType, subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: operation, Subresource: subresource, APIVersion: "apps/v1",
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

const (
	byApply  = metav1.ManagedFieldsOperationApply
	byUpdate = metav1.ManagedFieldsOperationUpdate
)

func TestForeignFields(t *testing.T) {
	t.Parallel()
	ours := entry("lockstep", byApply, "", `{"f:spec":{"f:replicas":{},"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:name":{},"f:image":{}}}}}`)
	for name, test := range map[string]struct {
		theirs metav1.ManagedFieldsEntry
		want   []string
	}{
		"the same fields":             {entry("x", byApply, "", `{"f:spec":{"f:replicas":{}}}`), nil},
		"a map around fields of ours": {entry("x", byUpdate, "", `{"f:spec":{".":{},"f:containers":{".":{}}}}`), nil},
		"a field in an item":          {entry("x", byUpdate, "", `{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:args":{}}}}}`), []string{"spec.containers[name=main].args"}},
		"an item":                     {entry("x", byUpdate, "", `{"f:spec":{"f:containers":{"k:{\"name\":\"side\"}":{".":{},"f:name":{}}}}}`), []string{"spec.containers[name=side].name"}},
		"an item by its port":         {entry("x", byUpdate, "", `{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{}}}}`), []string{"ports[port=80,protocol=TCP]"}},
		"an item that is a value":     {entry("x", byUpdate, "", `{"f:list":{"v:\"a\"":{}}}`), []string{"list[=a]"}},
		"an annotation":               {entry("x", byUpdate, "", `{"f:metadata":{"f:annotations":{".":{},"f:a.b/c":{}}}}`), []string{"metadata.annotations[a.b/c]"}},
		"the status":                  {entry("x", byUpdate, "status", `{"f:spec":{"f:x":{}}}`), nil},
		"a status that is no part":    {entry("x", byUpdate, "", `{"f:status":{"f:x":{}}}`), nil},
		"an autoscaler":               {entry("x", byUpdate, "scale", `{"f:spec":{"f:replicas":{}}}`), nil},
		"a controller":                {entry("kube-controller-manager", byUpdate, "", `{"f:spec":{"f:volumeName":{}}}`), nil},
		"a finalizer":                 {entry("x", byUpdate, "", `{"f:metadata":{"f:finalizers":{"v:\"a\"":{}}}}`), nil},
		"a claim":                     {entry("lockstep-claim", byUpdate, "", `{"f:metadata":{"f:annotations":{"f:lockstep.dev/claimed-by":{}}}}`), nil},
		"what cannot be read":         {entry("x", byUpdate, "", `{`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, field := range foreignFields([]metav1.ManagedFieldsEntry{ours, test.theirs}, fieldsOf(ours)) {
				assert.Equal(t, field.Manager, "x")
				got = append(got, field.Path)
			}
			assert.DeepEqual(t, got, test.want)
		})
	}
}

func TestManyForeignFieldsAreCounted(t *testing.T) {
	t.Parallel()
	set := &fieldpath.Set{}
	for i := range 60 {
		set.Insert(fieldpath.MakePathOrDie("data", fmt.Sprintf("k%02d", i)))
	}
	content, err := set.ToJSON()
	assert.NilError(t, err)
	got := foreignFields([]metav1.ManagedFieldsEntry{entry("x", byUpdate, "", string(content))}, &fieldpath.Set{})
	assert.Equal(t, len(got), 51)
	assert.DeepEqual(t, got[50], reconciler.ForeignField{Path: "and 10 more fields"})
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		entries  []metav1.ManagedFieldsEntry
		replaced []string
		ours     string
	}{
		"nobody is there": {nil, nil, ""},
		"a person":        {[]metav1.ManagedFieldsEntry{entry("kubectl-edit", byUpdate, "", `{"f:a":{}}`)}, nil, ""},
		"kubectl":         {[]metav1.ManagedFieldsEntry{entry("kubectl-client-side-apply", byUpdate, "", `{"f:a":{}}`)}, []string{"kubectl-client-side-apply"}, `{"f:a":{}}`},
		"two of them, one on both sides": {
			[]metav1.ManagedFieldsEntry{
				entry("helm", byUpdate, "", `{"f:a":{}}`), entry("helm", byApply, "", `{"f:b":{}}`), entry("argocd-controller", byApply, "", `{"f:c":{}}`),
			},
			[]string{"helm", "argocd-controller"}, `{"f:a":{},"f:b":{},"f:c":{}}`,
		},
		"the status of one": {[]metav1.ManagedFieldsEntry{entry("helm", byUpdate, "status", `{"f:a":{}}`)}, nil, ""},
		"kubectl after our contact": {
			[]metav1.ManagedFieldsEntry{entry("lockstep", byApply, "", `{"f:a":{}}`), entry("kubectl-client-side-apply", byUpdate, "", `{"f:b":{}}`)}, nil, `{"f:a":{}}`,
		},
		"what was before any manager, after our contact": {
			[]metav1.ManagedFieldsEntry{entry("lockstep", byApply, "", `{"f:a":{}}`), entry("before-first-apply", byUpdate, "", `{"f:b":{}}`)},
			[]string{"before-first-apply"}, `{"f:a":{},"f:b":{}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries, replaced, err := takeover(test.entries, formerManagers())
			assert.NilError(t, err)
			assert.DeepEqual(t, replaced, test.replaced)
			got := ""
			if ours := applied(entries); ours != nil {
				got = ours.GetRawString()
			}
			assert.Equal(t, got, test.ours)
		})
	}
}

func TestRemoveFields(t *testing.T) {
	t.Parallel()
	const object = `
spec:
  replicas: 2
  labels: {a: x}
  containers: [{name: main, image: i, env: [{name: A, value: x}]}, {name: side, image: s, args: [w]}]
  list: [one, two]`
	for name, test := range map[string]struct{ set, kept, want string }{
		"a field":                       {`{"f:spec":{"f:replicas":{}}}`, `{}`, "replicas: 2"},
		"a map with a field that stays": {`{"f:spec":{"f:labels":{".":{}}}}`, `{"f:spec":{"f:labels":{"f:a":{}}}}`, ""},
		"a map with all its fields":     {`{"f:spec":{"f:labels":{".":{},"f:a":{}}}}`, `{}`, "labels: {a: x}"},
		"an item":                       {`{"f:spec":{"f:containers":{"k:{\"name\":\"side\"}":{".":{},"f:name":{},"f:image":{}}}}}`, `{}`, ", {name: side, image: s, args: [w]}"},
		"an item of which others own a field": {
			`{"f:spec":{"f:containers":{"k:{\"name\":\"side\"}":{".":{},"f:name":{},"f:image":{}}}}}`,
			`{"f:spec":{"f:containers":{"k:{\"name\":\"side\"}":{"f:args":{}}}}}`, ", image: s",
		},
		"a field in an item":   {`{"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{"f:env":{"k:{\"name\":\"A\"}":{"f:value":{}}}}}}}`, `{}`, ", value: x"},
		"an item by its value": {`{"f:spec":{"f:list":{"v:\"two\"":{}}}}`, `{}`, ", two"},
		"what is not there":    {`{"f:spec":{"f:nothing":{"f:x":{}}}}`, `{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := manifest(t, object)
			set, kept := fieldsOf(entry("x", byApply, "", test.set)), fieldsOf(entry("w", byApply, "", test.kept))
			assert.Equal(t, removeFields(got, set, kept), test.want != "")
			want := manifest(t, strings.Replace(object, test.want, "", 1))
			assert.DeepEqual(t, got, want)
		})
	}
}

func TestScaling(t *testing.T) {
	t.Parallel()
	const replicas = `{"f:spec":{"f:replicas":{}}}`
	hpa := entry("kube-controller-manager", byUpdate, "scale", replicas)
	person := entry("kubectl", byUpdate, "scale", replicas)
	ours := entry("lockstep", byApply, "", replicas)
	for name, test := range map[string]struct {
		replicas string
		entries  []metav1.ManagedFieldsEntry
		targeted bool
		want     scaling
	}{
		"no autoscaler":                           {"3", []metav1.ManagedFieldsEntry{ours}, false, scaling{}},
		"an autoscaler that has not scaled":       {"3", []metav1.ManagedFieldsEntry{ours}, true, scaling{hold: 3}},
		"one that has":                            {"3", []metav1.ManagedFieldsEntry{hpa}, true, scaling{leave: true}},
		"one that has, and is not in the commit":  {"3", []metav1.ManagedFieldsEntry{hpa}, false, scaling{leave: true}},
		"one that set the number that we had set": {"3", []metav1.ManagedFieldsEntry{ours, hpa}, false, scaling{leave: true}},
		"a person":                                    {"3", []metav1.ManagedFieldsEntry{person}, false, scaling{}},
		"a person, beside an autoscaler":              {"3", []metav1.ManagedFieldsEntry{person}, true, scaling{leave: true}},
		"nobody owns the default":                     {"1", nil, true, scaling{leave: true}},
		"switched off by us":                          {"0", []metav1.ManagedFieldsEntry{ours}, true, scaling{}},
		"switched off through the autoscaler's place": {"0", []metav1.ManagedFieldsEntry{hpa}, true, scaling{leave: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := &unstructured.Unstructured{Object: manifest(t, "spec: {replicas: "+test.replicas+"}")}
			assert.Equal(t, scalingOf(live, test.entries, test.targeted), test.want)
		})
	}
	assert.Equal(t, scalingOf(nil, nil, true), scaling{})
}

func TestWaves(t *testing.T) {
	t.Parallel()
	kinds := func(names ...string) []schema.GroupKind {
		var out []schema.GroupKind
		for _, name := range names {
			out = append(out, schema.ParseGroupKind(name))
		}
		return out
	}
	assert.DeepEqual(t, waves(kinds("Namespace", "Namespace", "ConfigMap", "Secret", "Secret", "StatefulSet.apps",
		"Deployment.apps", "HorizontalPodAutoscaler.autoscaling", "CronJob.batch", "Thing.example.org", "Deployment.apps")),
		[][]int{{0, 1}, {2}, {3, 4}, {5}, {6, 7, 8}, {9}, {10}})
	assert.Equal(t, len(waves(nil)), 0)
}

func TestLeave(t *testing.T) {
	t.Parallel()
	ours := fieldsOf(entry("lockstep", byApply, "", `{"f:spec":{"f:a":{},"f:m":{"f:x":{}}}}`))
	const live = "spec: {a: live, b: live, m: {x: live}, list: [{v: live}, {v: second}]}"
	for name, test := range map[string]struct{ pointer, wanted, want string }{
		"ours, with another value":       {"/spec/a", "spec: {a: git}", "spec: {a: live}"},
		"ours, dropped by git":           {"/spec/a", "spec: {z: git}", "spec: {z: git, a: live}"},
		"ours, dropped with its map":     {"/spec/m/x", "spec: {}", "spec: {m: {x: live}}"},
		"a map in which a field is ours": {"/spec/m", "spec: {m: {x: git}}", "spec: {m: {x: live}}"},
		"somebody else's":                {"/spec/b", "spec: {b: git, z: git}", "spec: {z: git}"},
		"not in the cluster":             {"/spec/none", "spec: {none: git, z: git}", "spec: {z: git}"},
		"in a list":                      {"/spec/list/1/v", "spec: {list: [{v: git}, {v: git}]}", "spec: {list: [{v: git}, {v: second}]}"},
		"in a list that git has not":     {"/spec/list/1/v", "spec: {list: []}", "spec: {list: []}"},
		"the kind":                       {"/kind", "spec: {}", "spec: {}"},
		"the name":                       {"/metadata/name", "metadata: {name: git}", "metadata: {name: git}"},
		"no pointer":                     {"spec", "spec: {a: git}", "spec: {a: git}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wanted := manifest(t, test.wanted)
			leave(wanted, manifest(t, live), ours, tokens(test.pointer))
			assert.DeepEqual(t, wanted, manifest(t, test.want))
		})
	}
	assert.DeepEqual(t, tokens("/metadata/annotations/a.b~1c~0d"), []string{"metadata", "annotations", "a.b/c~d"})
}
