package gitrepo

import (
	"bytes"
	"cmp"
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
	// maxDelta bounds objects that are stored as differences, their bases
	// included: such an object is only to be had by holding it in memory.
	maxDelta = 32 << 20
	// maxChain is git's own limit on differences of differences.
	maxChain = 4095
	// baseCache is the memory for bases of differences, for each pack that is read.
	baseCache = 4 << 20
)

var (
	// errObject marks an object that is not there or cannot be read.
	errObject = errors.New("object missing or damaged")
	// errLarge marks an object that is there and not read for its size.
	errLarge = errors.New("object too large")
)

// pack is a pack file with its index in memory. It may be read by many at
// once, also after the file was removed. The file is closed by the garbage
// collector when the last Tree that reads it is gone.
type pack struct {
	file *os.File
	size int64
	// hashes are sorted; offsets belong to them.
	hashes  []plumbing.Hash
	offsets []int64
	// skipped counts objects that are left out of the index because of maxDelta.
	skipped int
	bases   *cache.BufferLRU
	// outer are the objects that differences may be to beside those of the
	// pack itself, nil for none.
	outer *objects
}

func (p *pack) find(hash plumbing.Hash) (int64, bool) {
	i, found := slices.BinarySearchFunc(p.hashes, hash, compareHash)
	if !found {
		return 0, false
	}
	return p.offsets[i], true
}

func compareHash(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) }

// at returns a scanner on the object at offset, and what its header says.
func (p *pack) at(offset int64) (*packfile.Scanner, *packfile.ObjectHeader, error) {
	scanner := packfile.NewScanner(io.NewSectionReader(p.file, 0, p.size))
	header, err := scanner.SeekObjectHeader(offset)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errObject, err)
	}
	return scanner, header, nil
}

// stat is the size of the object at offset. Its content is not inflated; of a
// difference the first bytes are.
func (p *pack) stat(offset int64) (int64, error) {
	scanner, header, err := p.at(offset)
	if err != nil {
		return 0, err
	}
	if !header.Type.IsDelta() {
		return header.Length, nil
	}
	content, err := scanner.ReadObject()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errObject, err)
	}
	start := make([]byte, 20)
	n, err := io.ReadFull(content, start)
	_ = content.Close()
	if err != nil && n == 0 {
		return 0, fmt.Errorf("%w: %w", errObject, err)
	}
	_, size, err := deltaSizes(start[:n])
	return size, err
}

// read inflates the object at offset. Nothing larger than limit is read.
func (p *pack) read(offset, limit int64) (plumbing.ObjectType, []byte, error) {
	return p.readChain(offset, limit, 0)
}

func (p *pack) readChain(offset, limit int64, depth int) (plumbing.ObjectType, []byte, error) {
	scanner, header, err := p.at(offset)
	if err != nil {
		return 0, nil, err
	}
	if header.Length > limit {
		return 0, nil, fmt.Errorf("%w: it has %d bytes, at most %d are read", errLarge, header.Length, limit)
	}
	if depth > maxChain {
		return 0, nil, fmt.Errorf("%w: a chain of more than %d differences", errObject, maxChain)
	}
	data, err := inflate(scanner, header)
	if err != nil || !header.Type.IsDelta() {
		return header.Type, data, err
	}
	kind, source, err := p.readBase(header, depth+1)
	if err != nil {
		return 0, nil, err
	}
	data, err = applyDelta(source, data, limit)
	return kind, data, err
}

// readBase reads what an object is a difference to.
func (p *pack) readBase(header *packfile.ObjectHeader, depth int) (plumbing.ObjectType, []byte, error) {
	offset := header.OffsetReference
	if header.Type == plumbing.REFDeltaObject {
		at, found := p.find(header.Reference)
		if !found {
			return p.outer.readAny(header.Reference, maxDelta)
		}
		offset = at
	}
	// Kind and content are kept as one, the kind in front.
	if kept, ok := p.bases.Get(offset); ok {
		return plumbing.ObjectType(kept[0]), kept[1:], nil
	}
	kind, data, err := p.readChain(offset, maxDelta, depth)
	if err != nil {
		return 0, nil, err
	}
	if len(data) < baseCache/4 {
		p.bases.Put(offset, append([]byte{byte(kind)}, data...))
	}
	return kind, data, nil
}

// inflate reads the content behind a header. The caller has checked the length.
func inflate(scanner *packfile.Scanner, header *packfile.ObjectHeader) ([]byte, error) {
	buffer := bytes.NewBuffer(make([]byte, 0, header.Length))
	n, _, err := scanner.NextObject(buffer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errObject, err)
	}
	if n != header.Length {
		return nil, fmt.Errorf("%w: it has %d of %d bytes", errObject, n, header.Length)
	}
	return buffer.Bytes(), nil
}

// applyDelta makes an object out of its base and the difference.
func applyDelta(base, delta []byte, limit int64) ([]byte, error) {
	from, to, err := deltaSizes(delta)
	if err != nil {
		return nil, err
	}
	if from != int64(len(base)) {
		return nil, fmt.Errorf("%w: sizes of a difference do not fit", errObject)
	}
	if to > limit {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are read", errLarge, to, limit)
	}
	data, err := packfile.PatchDelta(base, delta)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errObject, err)
	}
	if int64(len(data)) != to {
		return nil, fmt.Errorf("%w: a difference makes %d of %d bytes", errObject, len(data), to)
	}
	return data, nil
}

// deltaSizes reads the sizes of base and result from the start of a difference.
func deltaSizes(delta []byte) (from, to int64, err error) {
	if from, delta, err = deltaSize(delta); err != nil {
		return 0, 0, err
	}
	to, _, err = deltaSize(delta)
	return from, to, err
}

// deltaSize reads a number of seven bits a byte, lowest first.
func deltaSize(delta []byte) (size int64, rest []byte, err error) {
	for i, b := range delta {
		if i > 8 {
			break
		}
		size |= int64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			return size, delta[i+1:], nil
		}
	}
	return 0, nil, fmt.Errorf("%w: a difference without sizes", errObject)
}

// objects is a set of packs. It is never changed once it is in use.
type objects struct {
	packs []*pack
	// filtered is true when the server was asked to leave out large files.
	filtered bool
}

// partial tells whether a missing object may be one that was left out for its size.
func (o *objects) partial() bool {
	return o.filtered || slices.ContainsFunc(o.packs, func(p *pack) bool { return p.skipped > 0 })
}

// all are the packs of a set that may be nil.
func (o *objects) all() []*pack {
	if o == nil {
		return nil
	}
	return o.packs
}

func (o *objects) find(hash plumbing.Hash) (*pack, int64, error) {
	for _, p := range slices.Backward(o.all()) {
		if offset, ok := p.find(hash); ok {
			return p, offset, nil
		}
	}
	return nil, 0, fmt.Errorf("%w: %s", errObject, hash)
}

func (o *objects) has(hash plumbing.Hash) bool {
	_, _, err := o.find(hash)
	return err == nil
}

func (o *objects) stat(hash plumbing.Hash) (int64, error) {
	p, offset, err := o.find(hash)
	if err != nil {
		return 0, err
	}
	return p.stat(offset)
}

func (o *objects) readAny(hash plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	p, offset, err := o.find(hash)
	if err != nil {
		return 0, nil, err
	}
	kind, data, err := p.read(offset, limit)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", hash, err)
	}
	return kind, data, nil
}

func (o *objects) read(hash plumbing.Hash, want plumbing.ObjectType, limit int64) ([]byte, error) {
	kind, data, err := o.readAny(hash, limit)
	if err != nil {
		return nil, err
	}
	if kind != want {
		return nil, fmt.Errorf("%w: %s is a %s where a %s must be", errObject, hash, kind, want)
	}
	return data, nil
}

func (o *objects) bytes() int64 {
	var sum int64
	for _, p := range o.packs {
		sum += p.size
	}
	return sum
}

// byHash sorts the index of a pack.
type byHash struct {
	hash   plumbing.Hash
	offset int64
}

func sortIndex(index []byHash) (hashes []plumbing.Hash, offsets []int64) {
	slices.SortFunc(index, func(a, b byHash) int {
		return cmp.Or(compareHash(a.hash, b.hash), cmp.Compare(a.offset, b.offset))
	})
	hashes, offsets = make([]plumbing.Hash, len(index)), make([]int64, len(index))
	for i, entry := range index {
		hashes[i], offsets[i] = entry.hash, entry.offset
	}
	return hashes, offsets
}
