package render

import (
	"slices"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// arrange puts objects into the order of `kustomize build`, which is that of
// their kinds unless the kustomization asks for another one. kustomize would
// also compare each object with each other; a table finds duplicates faster.
func arrange(items []*item, root *kustomization) error {
	named := make(map[identity]*item, len(items))
	for _, i := range items {
		id := identityOf(i.id)
		if other := named[id]; other != nil && other.id.Version == i.id.Version {
			return reconciler.Terminalf(ReasonFailed, "%s and %s are the same object", other, i)
		}
		named[id] = i
	}
	if root == nil || root.SortOptions == nil {
		slices.SortStableFunc(items, compare)
	}
	return nil
}

// compare mirrors sigs.k8s.io/kustomize/api/internal/builtins, SortOrderTransformer.go.
func compare(a, b *item) int {
	if a.id.Gvk.Equals(b.id.Gvk) {
		return strings.Compare(sortName(a), sortName(b))
	}
	const namespace = "Namespace"
	if a.id.Kind == namespace && b.id.Kind == namespace && (a.id.Group == "" || b.id.Group == "") {
		a, b = b, a
	}
	if a.id.IsLessThan(b.id.Gvk) {
		return -1
	}
	return 1
}

// sortName stands for namespace and name. The placeholder is kustomize's.
func sortName(i *item) string {
	if i.id.Namespace == "" {
		return "~X|" + i.id.Name
	}
	return i.id.Namespace + "|" + i.id.Name
}
