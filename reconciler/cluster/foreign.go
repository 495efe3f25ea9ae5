package cluster

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// maxForeign is how many fields of others are told of one object.
const maxForeign = 50

// fieldsOf reads the fields of a manager. What cannot be read is owned by
// nobody: the API server itself drops such entries.
func fieldsOf(entry metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := &fieldpath.Set{}
	if entry.FieldsV1 == nil || set.FromJSON(entry.FieldsV1.GetRawReader()) != nil {
		return &fieldpath.Set{}
	}
	return set
}

// isOurs tells whether an entry is what we applied.
func isOurs(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

// applied are the fields that we own by having applied them, as the API server
// writes them; nil when there is no entry of ours.
func applied(entries []metav1.ManagedFieldsEntry) *metav1.FieldsV1 {
	if i := slices.IndexFunc(entries, isOurs); i >= 0 {
		return entries[i].FieldsV1
	}
	return nil
}

// appliedSet is applied as a set, empty when there is no entry of ours.
func appliedSet(entries []metav1.ManagedFieldsEntry) *fieldpath.Set {
	if i := slices.IndexFunc(entries, isOurs); i >= 0 {
		return fieldsOf(entries[i])
	}
	return &fieldpath.Set{}
}

// takenBy is the manager that set fields last which were ours and are not any
// more: whoever changes a field of ours becomes its owner.
func takenBy(entries []metav1.ManagedFieldsEntry, lost *fieldpath.Set) string {
	var last *metav1.ManagedFieldsEntry
	for i, entry := range entries {
		if isOurs(entry) || fieldsOf(entry).Leaves().Intersection(lost).Empty() {
			continue
		}
		if last == nil || entry.Time != nil && last.Time != nil && last.Time.Before(entry.Time) {
			last = &entries[i]
		}
	}
	if last == nil {
		return ""
	}
	return last.Manager
}

// foreignFields lists what others own in an object and we do not (A2): the
// entries are those of the live object, ours those of the answer to an apply.
func foreignFields(entries []metav1.ManagedFieldsEntry, ours *fieldpath.Set) []reconciler.ForeignField {
	var out []reconciler.ForeignField
	for _, entry := range entries {
		if entry.Subresource != "" || slices.Contains(quietManagers(), entry.Manager) {
			continue
		}
		for path := range fieldsOf(entry).Leaves().Difference(ours).All() {
			if expected(path) || ownsBelow(ours, path) {
				continue
			}
			field := reconciler.ForeignField{Path: pathText(path), Manager: entry.Manager}
			if !slices.Contains(out, field) {
				out = append(out, field)
			}
		}
	}
	slices.SortFunc(out, func(a, b reconciler.ForeignField) int {
		return strings.Compare(a.Path+"\x00"+a.Manager, b.Path+"\x00"+b.Manager)
	})
	if more := len(out) - maxForeign; more > 0 {
		out = append(out[:maxForeign], reconciler.ForeignField{Path: fmt.Sprintf("and %d more fields", more)})
	}
	return out
}

// quietManagers are we ourselves and the parts of Kubernetes that complete
// objects: the volume of a claim, the revision of a Deployment.
func quietManagers() []string {
	return []string{
		FieldManager, ClaimManager,
		"kube-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver", "cloud-controller-manager",
	}
}

// expected tells whether a field is one that controllers are meant to write.
func expected(path fieldpath.Path) bool {
	switch first := fieldName(path, 0); first {
	case "status":
		return true
	case "metadata":
		second := fieldName(path, 1)
		return second == "finalizers" || second == "ownerReferences"
	}
	return false
}

func fieldName(path fieldpath.Path, i int) string {
	if i >= len(path) || path[i].FieldName == nil {
		return ""
	}
	return *path[i].FieldName
}

// ownsBelow tells whether a set has a field below a path.
func ownsBelow(set *fieldpath.Set, path fieldpath.Path) bool {
	for _, element := range path {
		set = set.WithPrefix(element)
	}
	return !set.Empty()
}

// pathText writes a path as fieldChanges does.
func pathText(path fieldpath.Path) string {
	text := ""
	for _, element := range path {
		switch {
		case element.FieldName != nil:
			text = joinPath(text, *element.FieldName)
		case element.Key != nil:
			var parts []string
			for _, field := range *element.Key {
				parts = append(parts, fmt.Sprintf("%s=%v", field.Name, field.Value.Unstructured()))
			}
			text += "[" + strings.Join(parts, ",") + "]"
		case element.Value != nil:
			text += fmt.Sprintf("[=%v]", (*element.Value).Unstructured())
		case element.Index != nil:
			text += fmt.Sprintf("[%d]", *element.Index)
		}
	}
	return text
}
