package render

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// build makes a piece, or takes it from an earlier render that saw the same.
// False means that the overlay must be built as a whole.
func (o *outline) build(all *batch, folder string, n int) ([]*item, bool, error) {
	part, ok := o.part(n)
	if !ok || part == nil {
		return nil, ok && n == 0, nil
	}
	key, names := o.key(folder, n, part)
	if items, ok := o.recall(key); ok && o.proper(n, items) {
		return items, true, all.count(items)
	}
	o.files.touched = map[string]bool{}
	items, err := all.run(part, folder)
	touched := o.files.touched
	o.files.touched = nil
	if err != nil || !o.proper(n, items) {
		return nil, false, err
	}
	// A build that looked at anything that is not in the key is not kept.
	for name := range touched {
		if !names[name] {
			return items, true, nil
		}
	}
	o.keep(key, items, all.limit)
	return items, true, nil
}

func (o *outline) proper(n int, items []*item) bool { return n == 0 || o.expected(n, items) }

// key is a hash of all that the build of a piece may look at, as the piece
// shows it, and the names of that. Only the resource files of other pieces are
// left out. A build depends on nothing but what it looks at.
func (o *outline) key(folder string, n int, part *partial) (key []byte, names map[string]bool) {
	sum := sha256.New()
	var size []byte
	write := func(text []byte) {
		size = binary.AppendUvarint(size[:0], uint64(len(text)))
		_, _ = sum.Write(size)
		_, _ = sum.Write(text)
	}
	write([]byte(folder))
	names = map[string]bool{}
	for _, name := range o.looked {
		e := o.files.seen[name]
		if l := o.leaves[e.path]; e.kind == entryFile && l != nil && !l.in(n) {
			continue
		}
		names[name] = true
		content, less := part.content[e.path]
		if !less {
			content = e.content
		}
		write([]byte(name))
		write([]byte{byte(e.kind)})
		write([]byte(e.path))
		write(content)
	}
	return sum.Sum(nil), names
}

// in tells whether anything of a file is in a piece. A file without objects is
// in piece 0, which is where kustomize complains about it.
func (l *leaf) in(n int) bool {
	if len(l.parts) == 0 {
		return n == 0
	}
	return slices.Contains(l.piece, n)
}

func (o *outline) recall(key []byte) ([]*item, bool) {
	kept, ok := o.files.source.(larder)
	if !ok {
		return nil, false
	}
	content, ok := kept.recall(key)
	if !ok {
		return nil, false
	}
	return unpackItems(content)
}

// keep leaves a piece to later renders, unless it is larger than all objects
// may be.
func (o *outline) keep(key []byte, items []*item, limit int64) {
	kept, ok := o.files.source.(larder)
	if !ok || o.files.refusal != nil {
		return
	}
	if content, ok := packItems(items); ok && int64(len(content)) <= limit {
		kept.keep(key, content)
	}
}
