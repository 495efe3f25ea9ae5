package render

import (
	"path"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// identity is what an object is called in the file that it comes from, before
// prefixes, namespaces and hashes.
type identity struct {
	group, kind, namespace, name string
}

// identityOf normalises the namespace as kustomize does when it remembers
// what an object was called.
func identityOf(id resid.ResId) identity {
	return identity{group: id.Group, kind: id.Kind, namespace: id.EffectiveNamespace(), name: id.Name}
}

// maxVisits bounds the walk over bases that many overlays share.
const maxVisits = 100_000

// origins lists the files that define each identity, in the order in which
// kustomize accumulates them. A base used twice is listed twice.
type origins struct {
	files  *fileSystem
	of     map[identity][]string
	visits int
}

func newOrigins(files *fileSystem, root string) *origins {
	o := &origins{files: files, of: map[identity][]string{}}
	o.visit(root, map[string]bool{})
	return o
}

// visit walks the kustomization of a folder. Only what kustomize looked at
// and what passed the scan is walked, so that an error found half-way can be
// explained too.
func (o *origins) visit(folder string, above map[string]bool) {
	k := o.files.kustomizations[folder]
	if o.visits++; k == nil || above[folder] || o.visits > maxVisits {
		return
	}
	above[folder] = true
	defer delete(above, folder)
	for _, value := range k.Resources {
		o.resource(folder, value, above)
	}
	for _, args := range k.ConfigMapGenerator {
		o.generated(k.path, "ConfigMap", args.GeneratorArgs)
	}
	for _, args := range k.SecretGenerator {
		o.generated(k.path, "Secret", args.GeneratorArgs)
	}
	for _, value := range k.Components {
		o.resource(folder, value, above)
	}
}

func (o *origins) resource(folder, value string, above map[string]bool) {
	e, ok := o.files.seen[relative(path.Join(folder, value))]
	switch {
	case !ok:
	case e.kind == entryDirectory:
		o.visit(e.path, above)
	case e.kind == entryFile:
		for _, part := range o.files.passages(e) {
			for _, id := range part.ids {
				o.of[id] = append(o.of[id], e.path)
			}
		}
	}
}

// generated notes what a generator makes. One that merges into another is not
// where the object comes from.
func (o *origins) generated(file, kind string, args types.GeneratorArgs) {
	if types.NewGenerationBehavior(args.Behavior) == types.BehaviorMerge {
		return
	}
	id := identityOf(resid.NewResIdWithNamespace(resid.NewGvk("", "v1", kind), args.Name, args.Namespace))
	o.of[id] = append(o.of[id], file)
}

// assign gives each object its file. Of several files with the same identity
// the n-th belongs to the n-th object, provided that none was dropped;
// otherwise it cannot be known.
func (o *origins) assign(items []*item) {
	count := map[identity]int{}
	for _, i := range items {
		count[i.was]++
	}
	taken := map[identity]int{}
	for _, i := range items {
		files := o.of[i.was]
		switch {
		case len(files) == count[i.was]:
			i.origin = files[taken[i.was]]
			taken[i.was]++
		case allEqual(files):
			i.origin = files[0]
		}
	}
}

func allEqual(list []string) bool {
	for _, value := range list {
		if value != list[0] {
			return false
		}
	}
	return len(list) > 0
}
