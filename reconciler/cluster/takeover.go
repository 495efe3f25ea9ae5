package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// beforeFirstApply is the manager under which the API server keeps what an
// object held before its first apply, when it knew no owner.
const beforeFirstApply = "before-first-apply"

// formerManagers wrote whole manifests before we did. What they own becomes
// ours at first contact, so that a field that git no longer holds goes away
// (A1). Those that change single fields, such as kubectl edit, are not among
// them: their fields are shown as foreign.
func formerManagers() []string {
	return []string{
		"kubectl", "kubectl-client-side-apply", "kubectl-create", "kubectl-replace", "kubectl-run", "kubectl-expose",
		beforeFirstApply,
		"helm", "Helm", "helm-controller",
		"kustomize-controller", "flux",
		"argocd-controller", "argocd-application-controller",
		"kapp-server-side-fieldmanager", "fleetagent", "Terraform", "HashiCorp", "pulumi-kubernetes",
	}
}

// takeover moves the ownership of former managers to us. It answers the
// entries as they shall be and who is replaced; nobody when there is nothing
// to move: after the first contact, what kubectl sets is a foreign change.
// Unlike csaupgrade of client-go it also knows managers that applied on the
// server's side, and loses no entry that is of another version of the API.
func takeover(entries []metav1.ManagedFieldsEntry, former []string) ([]metav1.ManagedFieldsEntry, []string, error) {
	contacted := slices.ContainsFunc(entries, isOurs)
	moves := func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Subresource == "" && slices.Contains(former, entry.Manager) && (!contacted || entry.Manager == beforeFirstApply)
	}
	var kept []metav1.ManagedFieldsEntry
	var replaced []string
	ours := metav1.ManagedFieldsEntry{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1"}
	union := &fieldpath.Set{}
	for _, entry := range entries {
		if !moves(entry) && !isOurs(entry) {
			kept = append(kept, entry)
			continue
		}
		union = union.Union(fieldsOf(entry))
		ours.APIVersion, ours.Time = cmp.Or(ours.APIVersion, entry.APIVersion), entry.Time
		if moves(entry) && !slices.Contains(replaced, entry.Manager) {
			replaced = append(replaced, entry.Manager)
		}
	}
	if len(replaced) == 0 {
		return entries, nil, nil
	}
	content, err := union.ToJSON()
	if err != nil {
		return nil, nil, fmt.Errorf("fields of %s: %w", strings.Join(replaced, ", "), err)
	}
	ours.FieldsV1 = &metav1.FieldsV1{}
	ours.FieldsV1.SetRawBytes(content)
	return append(kept, ours), replaced, nil
}

// take writes a takeover to the API server. It answers the object as it is
// then; nil when it is gone.
func (t *tenant) take(ctx context.Context, s *stamina, at target, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	for range maxConflicts {
		entries, replaced, err := takeover(live.GetManagedFields(), formerManagers())
		if err != nil || len(replaced) == 0 {
			return live, err
		}
		body, err := json.Marshal([]map[string]any{
			{"op": "replace", "path": "/metadata/managedFields", "value": entries},
			// A resourceVersion that is old makes the API answer a conflict.
			{"op": "replace", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()},
		})
		if err != nil {
			return nil, err
		}
		var taken *unstructured.Unstructured
		err = t.try(ctx, s, at.id, func(ctx context.Context) (err error) {
			taken, err = at.client.Patch(ctx, at.id.name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: ClaimManager})
			return err
		})
		switch {
		case err == nil:
			return taken, nil
		case !apierrors.IsConflict(err):
			return nil, err
		}
		if live, err = t.get(ctx, s, at); err != nil || live == nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("somebody changes %s faster than it can be taken over", describe(at.object))
}

// afterTakeover is how an object would stand once the fields that we take over
// and the commit does not hold are gone: the API server is asked in a dry run,
// since defaults come back in their place.
func (t *tenant) afterTakeover(ctx context.Context, s *stamina, at target, live, answer *unstructured.Unstructured, entries []metav1.ManagedFieldsEntry) (*unstructured.Unstructured, error) {
	kept := appliedSet(answer.GetManagedFields())
	for _, entry := range entries {
		if !isOurs(entry) {
			kept = kept.Union(fieldsOf(entry))
		}
	}
	wanted := answer.DeepCopy()
	if !removeFields(wanted.Object, appliedSet(entries).Difference(kept), kept) {
		return answer, nil
	}
	body, err := json.Marshal(replacement(live.Object, wanted.Object))
	if err != nil {
		return nil, err
	}
	var after *unstructured.Unstructured
	err = t.try(ctx, s, at.id, func(ctx context.Context) (err error) {
		after, err = at.client.Patch(ctx, at.id.name, types.JSONPatchType, body,
			metav1.PatchOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}})
		return err
	})
	return after, err
}

// removeFields takes the fields of a set out of an object: whole items of
// lists first, then fields, the deepest first. An item of which something is
// kept stays, and so does a map that is not empty then.
func removeFields(object map[string]any, set, kept *fieldpath.Set) bool {
	var items, fields []fieldpath.Path
	for path := range set.All() {
		switch last := path[len(path)-1]; {
		case last.FieldName == nil && !ownsBelow(kept, path):
			items = append(items, path.Copy())
		case last.FieldName != nil && !isKeyOfItem(path):
			fields = append(fields, path.Copy())
		}
	}
	slices.SortStableFunc(fields, func(a, b fieldpath.Path) int { return len(b) - len(a) })
	removed := false
	for _, path := range slices.Concat(items, fields) {
		removed = removeField(object, path, ownsBelow(set, path) || ownsBelow(kept, path)) || removed
	}
	return removed
}

// isKeyOfItem tells whether a field is what an item is known by: it stays as
// long as the item does.
func isKeyOfItem(path fieldpath.Path) bool {
	if len(path) < 2 || path[len(path)-2].Key == nil {
		return false
	}
	name := *path[len(path)-1].FieldName
	return slices.ContainsFunc(*path[len(path)-2].Key, func(field value.Field) bool { return field.Name == name })
}

// removeField removes one field; one that the set only passes through, only
// when it is empty. A list is replaced by a shorter one in the map that holds it.
func removeField(within any, path fieldpath.Path, passed bool) bool {
	parent, ok := within.(map[string]any)
	if !ok || path[0].FieldName == nil {
		return false
	}
	name, rest := *path[0].FieldName, path[1:]
	held, ok := parent[name]
	if !ok {
		return false
	}
	if len(rest) == 0 {
		if passed && !isEmpty(held) {
			return false
		}
		delete(parent, name)
		return true
	}
	list, isList := held.([]any)
	if !isList {
		return removeField(held, rest, passed)
	}
	i := slices.IndexFunc(list, func(item any) bool { return selects(rest[0], item) })
	switch {
	case i < 0:
		return false
	case len(rest) > 1:
		return removeField(list[i], rest[1:], passed)
	}
	parent[name] = slices.Delete(list, i, i+1)
	return true
}

func isEmpty(held any) bool {
	switch held := held.(type) {
	case map[string]any:
		return len(held) == 0
	case []any:
		return len(held) == 0
	}
	return false
}

// selects tells whether an element of a path means an item of a list.
func selects(element fieldpath.PathElement, item any) bool {
	switch {
	case element.Key != nil:
		fields, ok := item.(map[string]any)
		if !ok {
			return false
		}
		for _, field := range *element.Key {
			if !reflect.DeepEqual(fields[field.Name], field.Value.Unstructured()) {
				return false
			}
		}
		return true
	case element.Value != nil:
		return reflect.DeepEqual((*element.Value).Unstructured(), item)
	}
	return false
}

// replacement is a JSON patch that makes one object of another, but for what
// the API server keeps for itself.
func replacement(from, to map[string]any) []map[string]any {
	var out []map[string]any
	for _, field := range slices.Sorted(maps.Keys(from)) {
		if _, stays := to[field]; !stays {
			out = append(out, map[string]any{"op": "remove", "path": "/" + escaped(field)})
		}
	}
	for _, field := range slices.Sorted(maps.Keys(to)) {
		switch field {
		case "apiVersion", "kind", "status":
		case "metadata":
			for _, part := range []string{"labels", "annotations"} {
				value, _, _ := unstructured.NestedFieldNoCopy(to, "metadata", part)
				out = append(out, map[string]any{"op": "add", "path": "/metadata/" + part, "value": value})
			}
		default:
			out = append(out, map[string]any{"op": "add", "path": "/" + escaped(field), "value": to[field]})
		}
	}
	return out
}

// escaped is a field as it stands in a JSON pointer (RFC 6901).
func escaped(field string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(field)
}
