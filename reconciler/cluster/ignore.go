package cluster

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// compose is the body of an apply: the object as it is sent, without what an
// autoscaler and others may set by themselves.
func (at target) compose(normal map[string]any, seen look) ([]byte, error) {
	normal = seen.scaling.change(normal)
	if len(at.object.Ignore) > 0 && seen.live != nil {
		normal = runtime.DeepCopyJSON(normal)
		ours := appliedSet(seen.entries)
		for _, pointer := range at.object.Ignore {
			leave(normal, seen.live.Object, ours, tokens(pointer))
		}
	}
	body, err := json.Marshal(normal)
	if err == nil && len(body) > maxBody {
		err = &sizeError{what: "it", size: len(body), most: maxBody}
	}
	return body, err
}

// tokens are the parts of a JSON pointer (RFC 6901), none when it is not one.
func tokens(pointer string) []string {
	rest, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return nil
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
	}
	return parts
}

// leave makes an apply keep the value that a field has in the cluster. A field
// that we do not own is left out. One that we own would be removed by that, so
// its value is sent again, also when the commit no longer holds it; as soon as
// somebody else changes it, it is theirs.
func leave(wanted, live map[string]any, ours *fieldpath.Set, path []string) {
	if len(path) == 0 || path[0] == "apiVersion" || path[0] == "kind" || reflect.DeepEqual(path, []string{"metadata", "name"}) {
		return
	}
	value, there := valueAt(live, path)
	if there && owns(ours, path) {
		put(wanted, path, runtime.DeepCopyJSONValue(value))
		return
	}
	drop(wanted, path)
}

// owns tells whether we own a field. Items of lists are known by their keys
// there and by their place here, so what lies in one counts as owned.
func owns(ours *fieldpath.Set, path []string) bool {
	fields := make(fieldpath.Path, len(path))
	for i, name := range path {
		if _, err := strconv.Atoi(name); err == nil {
			return true
		}
		fields[i] = fieldpath.FieldNameElement(name)
	}
	return ours.Has(fields) || ownsBelow(ours, fields)
}

func valueAt(within any, path []string) (any, bool) {
	for _, name := range path {
		switch parent := within.(type) {
		case map[string]any:
			value, ok := parent[name]
			if !ok {
				return nil, false
			}
			within = value
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(parent) {
				return nil, false
			}
			within = parent[i]
		default:
			return nil, false
		}
	}
	return within, true
}

// put sets a field and makes the maps on the way to it. It makes no items of
// lists: those of the commit and those of the cluster need not be the same.
func put(within any, path []string, value any) {
	last := len(path) - 1
	for _, name := range path[:last] {
		next, ok := valueAt(within, []string{name})
		if !ok {
			parent, isMap := within.(map[string]any)
			if !isMap {
				return
			}
			next = map[string]any{}
			parent[name] = next
		}
		within = next
	}
	switch parent := within.(type) {
	case map[string]any:
		parent[path[last]] = value
	case []any:
		if i, err := strconv.Atoi(path[last]); err == nil && i >= 0 && i < len(parent) {
			parent[i] = value
		}
	}
}

// drop takes a field out. An item of a list takes its place with it.
func drop(within any, path []string) {
	last := len(path) - 1
	parent, ok := valueAt(within, path[:last])
	if !ok {
		return
	}
	switch parent := parent.(type) {
	case map[string]any:
		delete(parent, path[last])
	case []any:
		if i, err := strconv.Atoi(path[last]); err == nil && i >= 0 && i < len(parent) {
			put(within, path[:last], slices.Delete(parent, i, i+1))
		}
	}
}
