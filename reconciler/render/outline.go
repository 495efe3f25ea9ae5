package render

import (
	"bytes"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// outline is what is known of an overlay before it is built: the tree of its
// kustomizations and the objects in their files.
type outline struct {
	files *fileSystem
	grain grain
	root  *branch
	// branches are the kustomizations by folder, nil while they are read.
	branches map[string]*branch
	leaves   map[string]*leaf
	order    []*leaf
	// looked are the names that were looked at, sorted.
	looked []string
	// named are the names of objects that a generator or a patch may mean.
	named map[string]bool
	// renames is true when names change, singles when a field is about single
	// objects.
	renames, singles bool
	// sizes are how many objects each piece holds. Piece 0 is for all that must
	// be built together.
	sizes []int
}

// branch is a kustomization.
type branch struct {
	*kustomization
	resources, components []child
}

// child is an entry of resources or components: a kustomization, a file, or
// something that kustomize will complain about.
type child struct {
	value  string
	branch *branch
	leaf   *leaf
}

// leaf is a resource file.
type leaf struct {
	path  string
	parts []passage
	// piece of each part.
	piece []int
}

// survey gives the outline of an overlay that can be built in pieces, or nil.
func survey(files *fileSystem, folder string, g grain) *outline {
	o := &outline{files: files, grain: g, branches: map[string]*branch{}, leaves: map[string]*leaf{}, named: map[string]bool{}}
	o.root = o.visit(files.look(folder).path)
	if o.root == nil {
		return nil
	}
	together, apart := o.divide()
	// What refers to an object by its name must be built with it when the name
	// changes.
	if apart < g.apart || o.renames && (together > 0 || o.singles) {
		return nil
	}
	o.looked = slices.Sorted(maps.Keys(files.seen))
	return o
}

// visit reads the kustomization in a folder and what it lists. It gives nil
// when the overlay must be built as a whole, be it to fail.
func (o *outline) visit(folder string) *branch {
	if b, ok := o.branches[folder]; ok {
		// One that is still being read is a cycle.
		return b
	}
	o.branches[folder] = nil
	k := o.kustomization(folder)
	if k == nil || !o.admits(folder, k) || !rewritable(k) {
		return nil
	}
	b := &branch{kustomization: k}
	o.files.prefetch(folder, slices.Concat(k.Resources, k.Components))
	for _, value := range k.Resources {
		c, ok := o.child(folder, value)
		if !ok {
			return nil
		}
		b.resources = append(b.resources, c)
	}
	for _, value := range k.Components {
		c, ok := o.child(folder, value)
		if !ok {
			return nil
		}
		b.components = append(b.components, c)
	}
	o.branches[folder] = b
	return b
}

// kustomization is the only one in a folder, or nil.
func (o *outline) kustomization(folder string) *kustomization {
	var found *kustomization
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		e := o.files.look(path.Join(folder, name))
		if e.kind != entryFile {
			continue
		}
		if found != nil || path.Dir(e.path) != folder || o.files.scan(e) != nil {
			return nil
		}
		found = o.files.kustomizations[folder]
	}
	return found
}

func (o *outline) child(folder, value string) (child, bool) {
	c := child{value: value}
	e := o.files.look(path.Join(folder, value))
	switch e.kind {
	case entryDirectory:
		c.branch = o.visit(e.path)
		return c, c.branch != nil
	case entryFile:
		c.leaf = o.leaves[e.path]
		if c.leaf == nil {
			parts := o.files.passages(e)
			c.leaf = &leaf{path: e.path, parts: parts, piece: make([]int, len(parts))}
			o.leaves[e.path] = c.leaf
			o.order = append(o.order, c.leaf)
		}
	case entryAbsent, entryRefused:
	}
	return c, true
}

// admits tells whether a kustomization has only fields that treat each object
// by itself, or single objects that are named. All that is not known here
// rules pieces out, fields of later versions included.
func (o *outline) admits(folder string, k *kustomization) bool {
	rest := k.Kustomization
	o.renames = o.renames || rest.NamePrefix != "" || rest.NameSuffix != ""
	o.singles = o.singles || len(rest.ConfigMapGenerator)+len(rest.SecretGenerator)+len(rest.Patches) > 0
	for _, args := range rest.ConfigMapGenerator {
		o.named[args.Name] = true
	}
	for _, args := range rest.SecretGenerator {
		o.named[args.Name] = true
	}
	for _, patch := range rest.Patches {
		if !o.admitsPatch(folder, patch) {
			return false
		}
	}
	rest.TypeMeta, rest.MetaData, rest.BuildMetadata = types.TypeMeta{}, nil, nil
	rest.Resources, rest.Components, rest.Patches = nil, nil, nil
	rest.ConfigMapGenerator, rest.SecretGenerator, rest.GeneratorOptions = nil, nil, nil
	rest.Namespace, rest.NamePrefix, rest.NameSuffix = "", "", ""
	rest.Labels, rest.CommonLabels, rest.CommonAnnotations = nil, nil, nil //nolint:staticcheck // Old overlays have them.
	rest.Images, rest.Replicas = nil, nil
	return reflect.ValueOf(rest).IsZero()
}

// wordPattern is a text that means only itself as a pattern.
var wordPattern = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// admitsPatch tells whether it is known which objects a patch is about.
func (o *outline) admitsPatch(folder string, patch types.Patch) bool {
	if target := patch.Target; target != nil {
		if wordPattern.MatchString(target.Kind) && !separate(target.Kind) {
			return true
		}
		o.named[target.Name] = true
		return wordPattern.MatchString(target.Name)
	}
	content := []byte(patch.Patch)
	if patch.Path != "" {
		content = o.files.look(path.Join(folder, patch.Path)).content
	}
	count := 0
	for _, part := range passages(content) {
		for _, id := range part.ids {
			o.named[id.name] = true
			count++
		}
	}
	return count > 0
}

// rewritable tells whether a kustomization is the same after it was written
// and read again.
func rewritable(k *kustomization) bool {
	content, err := yaml.Marshal(k.Kustomization)
	if err != nil {
		return false
	}
	var again types.Kustomization
	if err := again.Unmarshal(content); err != nil {
		return false
	}
	again.FixKustomization()
	return reflect.DeepEqual(again, k.Kustomization)
}

// separate tells whether objects of a kind may be built apart.
func separate(kind string) bool { return kind == "ConfigMap" || kind == "Secret" }

// divide gives each object its piece and counts those of piece 0 and the
// others. Objects of one identity stay together, so that kustomize finds
// those that stand twice.
func (o *outline) divide() (together, apart int) {
	pieceOf := map[identity]int{}
	o.sizes = []int{0}
	count, size := o.grain.objects, 0
	for _, l := range o.order {
		for i, part := range l.parts {
			if !o.loose(part) {
				together += max(1, len(part.ids))
				continue
			}
			apart++
			id := part.ids[0]
			n, known := pieceOf[id]
			if !known {
				if count >= o.grain.objects || size >= o.grain.bytes {
					o.sizes = append(o.sizes, 0)
					count, size = 0, 0
				}
				n = len(o.sizes) - 1
				pieceOf[id] = n
				count++
				size += len(part.text)
			}
			l.piece[i] = n
			o.sizes[n]++
		}
	}
	return together, apart
}

// loose tells whether an object can be built without the others. One with an
// annotation of kustomize may be renamed or merged.
func (o *outline) loose(part passage) bool {
	if len(part.ids) != 1 || part.ids[0].group != "" || !separate(part.ids[0].kind) || o.named[part.ids[0].name] {
		return false
	}
	for _, domain := range []string{"config.kubernetes.io", "config.k8s.io"} {
		if bytes.Contains(part.text, []byte(domain)) {
			return false
		}
	}
	return true
}

// expected tells whether all objects of a piece are there, and are called
// what they were called in their files, except for what the kustomization
// files say. An annotation that was not seen can make them disappear, or give
// them another name.
func (o *outline) expected(n int, items []*item) bool {
	if len(items) < o.sizes[n] {
		return false
	}
	for _, i := range items {
		if !separate(i.id.Kind) || !o.renames && i.id.Name != i.was.name {
			return false
		}
	}
	return true
}
