package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"sigs.k8s.io/kustomize/kyaml/resid"
)

// larder is implemented by sources that keep pieces from one render to the
// next.
type larder interface {
	// recall gives what was kept under a key.
	recall(key []byte) ([]byte, bool)
	keep(key, content []byte)
}

// stock is what a render may take from earlier ones, and what it leaves to
// later ones: the pieces that it is made of, by key. A nil stock is empty.
type stock struct {
	known, used map[string][]byte
	// room is how many more bytes are kept.
	room int64
}

// pieceOverhead is about what a piece takes beside its content, in bytes.
const pieceOverhead = 128

func (s *stock) recall(key []byte) ([]byte, bool) {
	if s == nil {
		return nil, false
	}
	content, ok := s.known[string(key)]
	if ok {
		s.use(key, content)
	}
	return content, ok
}

// keep copies a piece, as long as there is room. Keys are hashes; what has
// another length is none.
func (s *stock) keep(key, content []byte) {
	if s == nil || len(key) != sha256.Size || s.room < int64(len(content))+pieceOverhead {
		return
	}
	s.use(key, bytes.Clone(content))
}

func (s *stock) use(key, content []byte) {
	if _, twice := s.used[string(key)]; !twice {
		s.room -= int64(len(content)) + pieceOverhead
		s.used[string(key)] = content
	}
}

// itemFields is how many fields an item has once it is packed.
const itemFields = 10

// packItems writes the items of a piece so that they can be kept. False means
// that one of them has a fault.
func packItems(items []*item) ([]byte, bool) {
	var out []byte
	for _, i := range items {
		if i.fault != nil {
			return nil, false
		}
		for _, field := range [itemFields - 1]string{
			i.id.Group, i.id.Version, i.id.Kind, i.id.Namespace, i.id.Name,
			i.was.group, i.was.kind, i.was.namespace, i.was.name,
		} {
			out = append(binary.AppendUvarint(out, uint64(len(field))), field...)
		}
		out = append(binary.AppendUvarint(out, uint64(len(i.json))), i.json...)
	}
	return out, true
}

// unpackItems is the inverse of packItems.
func unpackItems(content []byte) ([]*item, bool) {
	fields, err := split(content)
	if err != nil || len(fields)%itemFields != 0 {
		return nil, false
	}
	items := make([]*item, 0, len(fields)/itemFields)
	for ; len(fields) > 0; fields = fields[itemFields:] {
		text := func(n int) string { return string(fields[n]) }
		items = append(items, &item{
			id:   resid.NewResIdWithNamespace(resid.NewGvk(text(0), text(1), text(2)), text(4), text(3)),
			was:  identity{group: text(5), kind: text(6), namespace: text(7), name: text(8)},
			json: fields[9],
		})
	}
	return items, true
}
