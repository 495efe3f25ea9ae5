package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// maxFields is how many fields of one object are told.
const maxFields = 100

// fieldChanges compares an object as it stands with how it would stand. What
// the API server keeps for itself, the status and our own marks are no
// difference.
func fieldChanges(before, after map[string]any) []reconciler.FieldChange {
	d := &difference{secret: isSecret(before) || isSecret(after)}
	d.maps("", comparable(before), comparable(after))
	slices.SortStableFunc(d.found, func(a, b reconciler.FieldChange) int { return cmp.Compare(a.Path, b.Path) })
	if more := len(d.found) - maxFields; more > 0 {
		d.found = append(d.found[:maxFields], reconciler.FieldChange{Path: fmt.Sprintf("and %d more fields", more)})
	}
	return d.found
}

// comparable returns a shallow copy without what is never compared.
func comparable(object map[string]any) map[string]any {
	out := maps.Clone(object)
	delete(out, "status")
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return out
	}
	metadata = maps.Clone(metadata)
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"} {
		delete(metadata, field)
	}
	for field, marks := range map[string][]string{
		"labels": {reconciler.ReleaseLabel}, "annotations": {OwnerAnnotation, ClaimAnnotation},
	} {
		values, ok := metadata[field].(map[string]any)
		if !ok {
			continue
		}
		values = maps.Clone(values)
		for _, mark := range marks {
			delete(values, mark)
		}
		metadata[field] = values
		if len(values) == 0 {
			delete(metadata, field)
		}
	}
	out["metadata"] = metadata
	return out
}

// difference gathers the fields in which two values differ.
type difference struct {
	secret bool
	found  []reconciler.FieldChange
}

// side is a value that may not be there.
type side struct {
	value any
	there bool
}

func (d *difference) maps(path string, before, after map[string]any) {
	keys := slices.Collect(maps.Keys(before))
	for key := range after {
		if _, both := before[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	hidden := hidesValue(before) || hidesValue(after)
	for _, key := range keys {
		b, okB := before[key]
		a, okA := after[key]
		child := joinPath(path, key)
		masked := d.secret && (path == "data" || child == "data" || child == "stringData")
		masked = masked || (hidden && key == "value") || key == lastApplied
		d.values(child, side{b, okB}, side{a, okA}, masked)
	}
}

func (d *difference) values(path string, before, after side, masked bool) {
	mapB, isMapB := before.value.(map[string]any)
	mapA, isMapA := after.value.(map[string]any)
	// A map that comes or goes is told by its fields, an item of a list as a
	// whole.
	partly := !strings.HasSuffix(path, "]") && len(mapB)+len(mapA) > 0
	if (isMapB && isMapA) || (partly && (isMapB || !before.there) && (isMapA || !after.there)) {
		d.maps(path, mapB, mapA)
		return
	}
	listB, isListB := before.value.([]any)
	listA, isListA := after.value.([]any)
	if isListB && isListA && !masked {
		d.lists(path, listB, listA)
		return
	}
	if before.there == after.there && reflect.DeepEqual(before.value, after.value) {
		return
	}
	d.tell(path, before, after, masked)
}

func (d *difference) tell(path string, before, after side, masked bool) {
	change := reconciler.FieldChange{Path: path}
	if before.there {
		change.Before = shown(before.value, masked, d.secret)
	}
	if after.there {
		change.After = shown(after.value, masked, d.secret)
	}
	if masked && change.Before == change.After {
		change.After = strings.TrimSuffix(change.After, ")") + ", another value)"
	}
	d.found = append(d.found, change)
}

// lists compares items that have a key by it, wherever they stand, and all
// others by their place.
func (d *difference) lists(path string, before, after []any) {
	keys := mergeKey(before, after)
	if keys == nil {
		for i := range max(len(before), len(after)) {
			d.values(fmt.Sprintf("%s[%d]", path, i), at(before, i), at(after, i), false)
		}
		return
	}
	told := len(d.found)
	namesB, namesA := itemNames(before, keys), itemNames(after, keys)
	for i, name := range namesB {
		d.values(path+name, side{before[i], true}, at(after, slices.Index(namesA, name)), false)
	}
	for i, name := range namesA {
		if !slices.Contains(namesB, name) {
			d.values(path+name, side{}, side{after[i], true}, false)
		}
	}
	if told == len(d.found) && !slices.Equal(namesB, namesA) {
		d.tell(path, side{orderOf(namesB), true}, side{orderOf(namesA), true}, false)
	}
}

func at(list []any, i int) side {
	if i < 0 || i >= len(list) {
		return side{}
	}
	return side{list[i], true}
}

// orderOf is the order of items as a value.
func orderOf(names []string) []any {
	out := make([]any, len(names))
	for i, name := range names {
		out[i] = strings.Trim(name, "[]")
	}
	return out
}

// mergeKeys are the fields by which items of lists are told apart in the API,
// the one that speaks most to a person first.
func mergeKeys() [][]string {
	return [][]string{
		{"name"}, {"key"}, {"containerPort", "protocol"}, {"containerPort"}, {"port", "protocol"}, {"port"},
		{"mountPath"}, {"devicePath"}, {"ip"}, {"topologyKey", "whenUnsatisfiable"}, {"topologyKey"}, {"host"}, {"path"}, {"type"}, {"id"},
	}
}

// mergeKey finds the fields that all items of both lists have and that are
// unique in each; nil when there are none.
func mergeKey(lists ...[]any) []string {
	for _, keys := range mergeKeys() {
		if !slices.ContainsFunc(lists, func(list []any) bool { return !identifies(keys, list) }) {
			return keys
		}
	}
	return nil
}

func identifies(keys []string, list []any) bool {
	seen := map[string]bool{}
	for _, item := range list {
		name, ok := itemName(item, keys)
		if !ok || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

func itemNames(list []any, keys []string) []string {
	names := make([]string, len(list))
	for i, item := range list {
		names[i], _ = itemName(item, keys)
	}
	return names
}

// itemName addresses an item, such as [name=main].
func itemName(item any, keys []string) (string, bool) {
	fields, ok := item.(map[string]any)
	if !ok {
		return "", false
	}
	parts := make([]string, len(keys))
	for i, key := range keys {
		switch value := fields[key].(type) {
		case string, int64, bool:
			parts[i] = fmt.Sprintf("%s=%v", key, value)
		default:
			return "", false
		}
	}
	return "[" + strings.Join(parts, ",") + "]", true
}

// joinPath adds a field to a path. A name with a dot or a slash in it stands
// in brackets.
func joinPath(path, field string) string {
	switch {
	case strings.ContainsAny(field, "./[]"):
		return path + "[" + field + "]"
	case path == "":
		return field
	}
	return path + "." + field
}
