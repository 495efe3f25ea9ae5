package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

const (
	// maxObjects bounds the memory of an index; an object takes about 100 bytes while it is made.
	maxObjects = 1 << 20
	// indexCache is the memory for bases of differences while an index is made.
	indexCache = 32 << 20
)

// entry is an object of a pack while its index is made.
type entry struct {
	// offset in the pack, or outside for a base that is in an earlier pack.
	offset int64
	hash   plumbing.Hash
	// parent is the index of the entry that this one is a difference to, or -1.
	parent int32
	kind   plumbing.ObjectType
	done   bool
	// large entries have no content in memory at any time.
	large bool
}

const outside = -1

// indexer makes the index of a pack. It is here because go-git's own inflates
// every object into memory, however large (go-git#1673): a pack of 1.5 MB that
// holds a file of 300 MB cost 286 MiB.
type indexer struct {
	entries []entry
	// refs are the differences that name their base by hash: to it belong the entries.
	refs  map[plumbing.Hash][]int32
	pack  *pack
	bases *cache.BufferLRU
}

// readPack writes a pack from the server to file and indexes it. Objects pass
// through without being kept; only differences are put together in memory.
// Differences may be to objects of outer.
func readPack(ctx context.Context, stream io.Reader, file *os.File, outer *objects, n *notes) (*pack, error) {
	x := &indexer{
		refs:  map[plumbing.Hash][]int32{},
		pack:  &pack{file: file, bases: cache.NewBufferLRU(baseCache), outer: outer},
		bases: cache.NewBufferLRU(indexCache),
	}
	if err := x.scan(ctx, io.TeeReader(stream, &noting{file, n})); err != nil {
		return nil, err
	}
	end, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	x.pack.size = end
	if err := x.resolve(ctx); err != nil {
		return nil, err
	}
	return x.finish()
}

// scan goes through the pack once, as it arrives.
func (x *indexer) scan(ctx context.Context, stream io.Reader) error {
	scanner := packfile.NewScanner(stream)
	_, count, err := scanner.Header()
	if err != nil {
		return damaged(err)
	}
	if count > maxObjects {
		return fmt.Errorf("%w: %d objects, at most %d", errAnswerBig, count, maxObjects)
	}
	for range count {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := x.scanObject(scanner); err != nil {
			return damaged(err)
		}
	}
	if _, err := scanner.Checksum(); err != nil {
		return damaged(err)
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return damaged(err)
	}
	return nil
}

func (x *indexer) scanObject(scanner *packfile.Scanner) error {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	if header.Type.IsDelta() {
		return x.scanDelta(scanner, header)
	}
	if header.Type < plumbing.CommitObject || header.Type > plumbing.TagObject {
		return fmt.Errorf("%w: an object of type %d", errPack, header.Type)
	}
	hasher := plumbing.NewHasher(header.Type, header.Length)
	n, _, err := scanner.NextObject(hasher)
	if err != nil {
		return err
	}
	if n != header.Length {
		return fmt.Errorf("%w: an object has %d of %d bytes", errPack, n, header.Length)
	}
	x.entries = append(x.entries, entry{
		offset: header.Offset, hash: hasher.Sum(), parent: -1, kind: header.Type, done: true, large: header.Length > maxDelta,
	})
	return nil
}

func (x *indexer) scanDelta(scanner *packfile.Scanner, header *packfile.ObjectHeader) error {
	start := &head{}
	n, _, err := scanner.NextObject(start)
	if err != nil {
		return err
	}
	if n != header.Length {
		return fmt.Errorf("%w: a difference has %d of %d bytes", errPack, n, header.Length)
	}
	from, to, err := deltaSizes(start.bytes)
	if err != nil {
		return fmt.Errorf("%w: %w", errPack, err)
	}
	e := entry{offset: header.Offset, parent: -1, large: max(from, to, header.Length) > maxDelta}
	index := int32(len(x.entries)) // maxObjects fits.
	if header.Type == plumbing.REFDeltaObject {
		x.refs[header.Reference] = append(x.refs[header.Reference], index)
	} else {
		parent, found := slices.BinarySearchFunc(x.entries, header.OffsetReference, func(e entry, offset int64) int { return int(e.offset - offset) })
		if !found {
			return fmt.Errorf("%w: a difference to nothing", errPack)
		}
		e.parent = int32(parent) // maxObjects fits.
	}
	x.entries = append(x.entries, e)
	return nil
}

// head keeps the first bytes of what is written.
type head struct{ bytes []byte }

// Write keeps what is still wanted and never fails.
func (h *head) Write(p []byte) (int, error) {
	h.bytes = append(h.bytes, p[:min(len(p), 20-len(h.bytes))]...)
	return len(p), nil
}

// resolve finds the hashes of differences, bases first.
func (x *indexer) resolve(ctx context.Context) error {
	children := map[int32][]int32{}
	for i, e := range x.entries {
		if e.parent >= 0 {
			children[e.parent] = append(children[e.parent], int32(i)) // maxObjects fits.
		}
	}
	if len(children) == 0 && len(x.refs) == 0 {
		return nil
	}
	var todo []int32
	for i, e := range x.entries {
		if e.done {
			todo = append(todo, int32(i)) // maxObjects fits.
		}
	}
	todo = append(todo, x.outerBases()...)
	for len(todo) > 0 {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		base := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		offspring := slices.Concat(children[base], x.refs[x.entries[base].hash])
		delete(children, base)
		delete(x.refs, x.entries[base].hash)
		found, err := x.resolveAll(base, offspring)
		if err != nil {
			return err
		}
		todo = append(todo, found...)
	}
	return nil
}

// outerBases adds entries for bases that are in earlier packs.
func (x *indexer) outerBases() []int32 {
	var added []int32
	for hash := range x.refs {
		p, offset, err := x.pack.outer.find(hash)
		if err != nil {
			continue
		}
		size, err := p.stat(offset)
		added = append(added, int32(len(x.entries))) // maxObjects fits.
		x.entries = append(x.entries, entry{offset: outside, hash: hash, parent: -1, done: true, large: err != nil || size > maxDelta})
	}
	return added
}

// resolveAll finds the hashes of the differences to one base.
func (x *indexer) resolveAll(base int32, offspring []int32) ([]int32, error) {
	if len(offspring) == 0 || x.entries[base].large {
		return nil, nil
	}
	if _, err := x.content(base, 0); err != nil {
		return nil, err
	}
	var found []int32
	for _, i := range offspring {
		e := &x.entries[i]
		e.parent, e.kind = base, x.entries[base].kind
		if e.large || e.done {
			continue
		}
		data, err := x.content(i, 0)
		if err != nil {
			return nil, err
		}
		hasher := plumbing.NewHasher(e.kind, int64(len(data)))
		_, _ = hasher.Write(data) // Hashes do not fail.
		e.hash, e.done = hasher.Sum(), true
		x.bases.Put(int64(i), data)
		found = append(found, i)
	}
	return found, nil
}

// content puts an object together. Its bases are known by then.
func (x *indexer) content(i int32, depth int) ([]byte, error) {
	if data, ok := x.bases.Get(int64(i)); ok {
		return data, nil
	}
	e := x.entries[i]
	if depth > maxChain {
		return nil, fmt.Errorf("%w: a chain of more than %d differences", errPack, maxChain)
	}
	if e.offset == outside {
		kind, data, err := x.pack.outer.readAny(e.hash, maxDelta)
		if err == nil {
			x.entries[i].kind = kind
			x.bases.Put(int64(i), data)
		}
		return data, err
	}
	scanner, header, err := x.pack.at(e.offset)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPack, err)
	}
	data, err := inflate(scanner, header)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPack, err)
	}
	if e.parent >= 0 {
		base, err := x.content(e.parent, depth+1)
		if err != nil {
			return nil, err
		}
		if data, err = applyDelta(base, data, maxDelta); err != nil {
			return nil, fmt.Errorf("%w: %w", errPack, err)
		}
	}
	x.bases.Put(int64(i), data)
	return data, nil
}

// finish drops what only the making needed. A difference whose base is not in
// the pack is an error, unless it hangs on one that was left out for its size.
func (x *indexer) finish() (*pack, error) {
	index := make([]byHash, 0, len(x.entries))
	large := false
	for _, e := range x.entries {
		if e.offset == outside {
			continue
		}
		if e.done {
			index = append(index, byHash{e.hash, e.offset})
		} else {
			x.pack.skipped++
		}
		large = large || e.large
	}
	if x.pack.skipped > 0 && !large {
		return nil, fmt.Errorf("%w: %d differences to nothing", errPack, x.pack.skipped)
	}
	x.pack.hashes, x.pack.offsets = sortIndex(index)
	return x.pack, nil
}

// damaged marks an error of reading a pack, unless it says more itself.
func damaged(err error) error {
	if errors.Is(err, errPack) || errors.Is(err, errAnswerBig) {
		return err
	}
	return fmt.Errorf("%w: %w", errPack, err)
}
