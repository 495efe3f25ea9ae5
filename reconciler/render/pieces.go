package render

import (
	"bytes"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// A build takes time that grows with the square of the number of its objects,
// because kustomize compares each object that it takes in with all that it
// has, several times over: 1000 objects need half a second and 10,000 a minute.
// ConfigMaps and Secrets are what there are thousands of, and what kustomize
// does to them seldom depends on other objects. Where that can be told from
// the kustomization files, such objects are built apart from the rest and in
// small pieces, each by kustomize, from the same overlay with fewer objects.

// grain is how a build is divided.
type grain struct {
	// apart is how many objects must be fit to be built apart before it is done.
	apart int
	// objects and bytes bound a piece.
	objects, bytes int
}

// ordinary is the grain at which reading the kustomization files again costs
// about as much as comparing objects.
func ordinary() grain { return grain{apart: 200, objects: 100, bytes: 1 << 20} }

// assemble builds the overlay in folder, in pieces where that gives the same.
func assemble(files *fileSystem, folder string, limits Limits, g grain) ([]*item, error) {
	plan := survey(files, folder, g)
	if plan == nil {
		return (&batch{limit: limits.Output}).run(files, folder)
	}
	var items []*item
	all := &batch{limit: limits.Output}
	for n := range plan.sizes {
		built, ok, err := plan.build(all, folder, n)
		if err != nil {
			return nil, err
		}
		if !ok {
			return (&batch{limit: limits.Output}).run(files, folder)
		}
		items = append(items, built...)
	}
	return items, nil
}

// partial is a commit in which some files hold less.
type partial struct {
	*fileSystem
	content map[string][]byte
}

// ReadFile gives what is left of a file.
func (p *partial) ReadFile(name string) ([]byte, error) {
	if e := p.look(name); e.kind == entryFile {
		if content, ok := p.content[e.path]; ok {
			return content, nil
		}
	}
	return p.fileSystem.ReadFile(name)
}

// part shows a commit as if only the objects of a piece were in it, or gives
// nil when there are none. False means that it cannot be done.
func (o *outline) part(n int) (*partial, bool) {
	p := &pruning{piece: n, kept: map[*branch]bool{}, partial: &partial{fileSystem: o.files, content: map[string][]byte{}}}
	if !p.branch(o.root) {
		return nil, !p.failed
	}
	return p.partial, !p.failed
}

// pruning takes from the files what is not in a piece.
type pruning struct {
	piece   int
	kept    map[*branch]bool
	partial *partial
	failed  bool
}

// branch tells whether anything of a kustomization is left.
func (p *pruning) branch(b *branch) bool {
	if kept, known := p.kept[b]; known {
		return kept
	}
	k := b.Kustomization
	k.Resources = p.children(b.resources)
	k.Components = p.children(b.components)
	if p.piece > 0 {
		k.ConfigMapGenerator, k.SecretGenerator, k.GeneratorOptions = nil, nil, nil
		k.Patches, k.Replicas = nil, nil
	}
	kept := len(k.Resources)+len(k.Components)+len(k.ConfigMapGenerator)+len(k.SecretGenerator) > 0 ||
		// A component is there for what it does to the objects of others.
		k.Kind == types.ComponentKind && k.CheckEmpty() == nil
	p.kept[b] = kept
	if kept && (p.piece > 0 || len(k.Resources) < len(b.resources) || len(k.Components) < len(b.components)) {
		content, err := yaml.Marshal(k)
		p.failed = p.failed || err != nil
		p.partial.content[b.path] = content
	}
	return kept
}

func (p *pruning) children(list []child) []string {
	var values []string
	for _, c := range list {
		kept := p.piece == 0
		switch {
		case c.branch != nil:
			kept = p.branch(c.branch)
		case c.leaf != nil:
			kept = p.leaf(c.leaf)
		}
		if kept {
			values = append(values, c.value)
		}
	}
	return values
}

// leaf tells whether anything of a file is left.
func (p *pruning) leaf(l *leaf) bool {
	if !l.in(p.piece) {
		return false
	}
	var texts [][]byte
	for i, part := range l.parts {
		if l.piece[i] == p.piece {
			texts = append(texts, part.text)
		}
	}
	if len(texts) < len(l.parts) {
		// Each but the last of a file brings its separator along, so that not
		// one newline at an end is different.
		p.partial.content[l.path] = bytes.Join(texts, nil)
	}
	return true
}
