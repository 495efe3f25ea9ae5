package cluster

import (
	"testing"
	"time"

	"gotest.tools/v3/assert"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTokenFollowsWhatACommitCanSet(t *testing.T) {
	deployment := metav1.ObjectMeta{Generation: 3, ResourceVersion: "10", Labels: map[string]string{"a": "1"}}
	plain := metav1.ObjectMeta{ResourceVersion: "10"}
	quota := metav1.ObjectMeta{ResourceVersion: "10", ManagedFields: []metav1.ManagedFieldsEntry{
		writtenBy("kubectl", "", `{"f:spec":{"f:hard":{"f:pods":{},"f:secrets":{}}}}`),
		writtenBy("kube-controller-manager", "status", `{"f:status":{}}`),
	}}
	const revision = "deployment.kubernetes.io/revision"
	for name, test := range map[string]struct {
		from   metav1.ObjectMeta
		change func(*metav1.ObjectMeta)
		moves  bool
	}{
		"a status is written":    {deployment, func(m *metav1.ObjectMeta) { m.ResourceVersion = "11" }, false},
		"a spec is written":      {deployment, func(m *metav1.ObjectMeta) { m.Generation = 4 }, true},
		"a label is changed":     {deployment, func(m *metav1.ObjectMeta) { m.Labels = map[string]string{"a": "2"} }, true},
		"an annotation is added": {deployment, func(m *metav1.ObjectMeta) { m.Annotations = map[string]string{"b": "1"} }, true},
		"a rollout is numbered":  {deployment, func(m *metav1.ObjectMeta) { m.Annotations = map[string]string{revision: "2"} }, false},
		"a quota is used up": {quota, func(m *metav1.ObjectMeta) {
			m.ResourceVersion = "11"
			m.ManagedFields = append(m.ManagedFields[:1:1], writtenBy("kube-controller-manager", "status", `{"f:status":{"f:used":{}}}`))
		}, false},
		"a quota is written by another": {quota, func(m *metav1.ObjectMeta) {
			m.ManagedFields = append(m.ManagedFields[:2:2], writtenBy("somebody", "", `{"f:spec":{}}`))
		}, true},
		"a field of a quota is taken away": {quota, func(m *metav1.ObjectMeta) {
			m.ManagedFields = append([]metav1.ManagedFieldsEntry{writtenBy("kubectl", "", `{"f:spec":{"f:hard":{"f:pods":{}}}}`)}, m.ManagedFields[1])
		}, true},
		"a client orders fields otherwise": {quota, func(m *metav1.ObjectMeta) {
			m.ManagedFields = append([]metav1.ManagedFieldsEntry{writtenBy("kubectl", "", `{"f:spec":{"f:hard":{"f:secrets":{}, "f:pods":{}}}}`)}, m.ManagedFields[1])
		}, false},
		"it is being deleted":                   {deployment, func(m *metav1.ObjectMeta) { m.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, true},
		"an object without a status is written": {plain, func(m *metav1.ObjectMeta) { m.ResourceVersion = "11" }, true},
		"nothing happens":                       {plain, func(*metav1.ObjectMeta) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := token(&test.from)
			assert.NilError(t, err)
			changed := test.from
			test.change(&changed)
			after, err := token(&changed)
			assert.NilError(t, err)
			assert.Equal(t, before != after, test.moves)
		})
	}
}

func writtenBy(manager, subresource, fields string) metav1.ManagedFieldsEntry {
	content := &metav1.FieldsV1{}
	content.SetRawString(fields)
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, FieldsV1: content}
}
