package cluster

import (
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// ReplaceAnnotation on an object, with the value "true", allows it to be
// deleted and made anew when a field that cannot be changed differs.
const ReplaceAnnotation = "lockstep.dev/replace"

// replace decides about an object of which a field differs that cannot be
// changed (A7): it is replaced when it, or the Release, says so and nothing
// hangs on it that would be lost. The word of the object counts for more.
func (c *comparison) replace(at target, change *reconciler.Change, live *unstructured.Unstructured, err error) {
	paths, others := immutableFields(err)
	kind := at.object.GroupVersionKind().GroupKind().String()
	refuse := func(format string, args ...any) {
		text := safeText(at.object, err) + ": " + fmt.Sprintf(format, args...)
		c.refuse(change, reconciler.Terminal("FieldImmutable",
			withOrigin(at.object, &apiError{text: describe(at.object) + ": " + text, cause: err})))
	}
	switch {
	case kind == kindJob:
		refuse("a Job cannot be changed once it was made: give it another name")
	case slices.Contains(keptKinds(), kind):
		refuse("a %s is never replaced, since data would go with it: move the data to one of another name, or take the change back", at.object.GetKind())
	case !c.replaceable(at.object):
		refuse("to have it deleted and made anew, set its annotation %s: \"true\"", ReplaceAnnotation)
	case len(others) > 0:
		c.refuse(change, classify(at.object, c.explain(err)))
	default:
		change.Action = reconciler.ActionReplace
		change.Reason = "cannot be changed: " + strings.Join(paths, ", ")
		change.Fields = c.fieldsAt(at, live, paths)
	}
}

func (t *tenant) replaceable(object reconciler.Object) bool {
	if word, ok := object.GetAnnotations()[ReplaceAnnotation]; ok {
		return word == "true"
	}
	return t.replaces
}

// keptKinds hold data, or what holds data: they are never deleted to be made
// anew.
func keptKinds() []string {
	return []string{kindNamespace, kindDefinition, kindStatefulSet, "PersistentVolume", "PersistentVolumeClaim"}
}

// immutable tells whether an object was refused because a field of it cannot
// be changed.
func immutable(err error) bool {
	paths, _ := immutableFields(err)
	return len(paths) > 0
}

// immutableFields are the paths of the fields that cannot be changed, and the
// paths of what else is wrong.
func immutableFields(err error) (paths, others []string) {
	status, ok := statusOf(err)
	if !ok || !apierrors.IsInvalid(err) || status.Details == nil {
		return nil, nil
	}
	for _, cause := range status.Details.Causes {
		list := &others
		if saysImmutable(cause) {
			list = &paths
		}
		if !slices.Contains(*list, cause.Field) {
			*list = append(*list, cause.Field)
		}
	}
	return paths, others
}

// saysImmutable reads the words of Kubernetes and of the usual validation
// rules; there is no code for it.
func saysImmutable(cause metav1.StatusCause) bool {
	// The end of the message is the reason; before it may stand a value.
	text := strings.ToLower(withoutComposite(cause.Message))
	return slices.ContainsFunc([]string{
		"immutable", "may not be changed", "may not change", "cannot be changed", "can't be changed", "cannot change", "updates to ",
	}, func(sign string) bool { return strings.Contains(text, sign) })
}

// fieldsAt shows the fields that lead to a replacement, where their paths are
// plain.
func (c *comparison) fieldsAt(at target, live *unstructured.Unstructured, paths []string) []reconciler.FieldChange {
	normal, err := c.normalize(at.object.Unstructured, at.id.namespace)
	if err != nil {
		return nil
	}
	d := &difference{secret: isSecret(live.Object)}
	for _, path := range paths {
		names := strings.Split(path, ".")
		before, hadBefore, errBefore := unstructured.NestedFieldNoCopy(live.Object, names...)
		after, hasAfter, errAfter := unstructured.NestedFieldNoCopy(normal.Object, names...)
		if errBefore != nil || errAfter != nil || (!hadBefore && !hasAfter) {
			d.found = append(d.found, reconciler.FieldChange{Path: path})
			continue
		}
		d.tell(path, side{before, hadBefore}, side{after, hasAfter}, d.secret && (names[0] == "data" || names[0] == "stringData"))
	}
	return d.found
}
