package render

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// footprint is about how many bytes of memory a JSON text takes once it is
// decoded. A mapping takes some 300 bytes even when it holds one pair, and a
// value in it or in a list up to a hundred.
func footprint(text []byte) int64 {
	const mapping, value = 300, 100
	size, inText := int64(len(text)), false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{':
			size += mapping
		case c == ',' || c == '[':
			size += value
		}
	}
	return size
}

// decoding collects objects as a child sends them.
type decoding struct {
	limit   int64
	size    int64
	objects []reconciler.Object
}

// take decodes an object.
func (d *decoding) take(o object) error {
	if d.size += footprint(o.json); d.size > d.limit {
		return reconciler.Terminalf(ReasonExpensive, "the objects take more memory than the limit of %d bytes; %s had the last of them", d.limit, labelled(o.origin, "an object"))
	}
	decoded, err := o.decode()
	d.objects = append(d.objects, decoded)
	return err
}

// decode turns JSON into what the API client takes.
func (o object) decode() (reconciler.Object, error) {
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(o.json); err != nil {
		return reconciler.Object{}, reconciler.Terminalf(ReasonFailed, "%s: %s", o.origin, flat(err.Error()))
	}
	decoded := reconciler.Object{Unstructured: u, Origin: o.origin}
	if _, encrypted := u.Object["sops"]; encrypted && u.GetKind() == "Secret" {
		return decoded, reconciler.Terminalf(ReasonDecryption, "%s is encrypted with SOPS, and no keys were given to open it", describe(decoded))
	}
	return decoded, checkText(decoded)
}

// checkText refuses labels and annotations that are no text. The API server
// would answer 500, which reads like a fault of its own (R12).
func checkText(object reconciler.Object) error {
	for _, at := range [][]string{
		{"metadata", "labels"}, {"metadata", "annotations"},
		{"spec", "template", "metadata", "labels"}, {"spec", "template", "metadata", "annotations"},
	} {
		value, _, err := unstructured.NestedFieldNoCopy(object.Object, at...)
		if err != nil || value == nil {
			// What stands on the way is no mapping, which the API server says well.
			continue
		}
		pairs, ok := value.(map[string]any)
		if !ok {
			return reconciler.Terminalf(ReasonFailed, "%s: %s is not a mapping", describe(object), strings.Join(at, "."))
		}
		for _, key := range slices.Sorted(maps.Keys(pairs)) {
			if _, ok := pairs[key].(string); !ok {
				return reconciler.Terminalf(ReasonFailed, "%s: %s: the value of %s is %v, not text: put it in quotes (y, n, yes, no, on, off and numbers need them)",
					describe(object), strings.Join(at, "."), key, pairs[key])
			}
		}
	}
	return nil
}

// describe names an object and its file in errors.
func describe(object reconciler.Object) string {
	name := object.GetName()
	if namespace := object.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	return labelled(object.Origin, object.GetKind()+" "+name)
}

func labelled(origin, name string) string {
	if origin == "" {
		return name
	}
	return origin + ": " + name
}
