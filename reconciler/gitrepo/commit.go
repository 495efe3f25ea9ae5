package gitrepo

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	// maxCommit bounds a commit or an annotated tag, in bytes.
	maxCommit = 1 << 20
	// maxTree bounds one folder, in bytes. It is room for about 300,000 names.
	maxTree = 16 << 20
)

// headers are the lines in front of the message of a commit or tag.
type headers struct {
	names  []string
	values map[string][]byte
	// rest is the message behind them.
	rest []byte
}

// readHeaders takes a commit or tag apart, as its bytes are: a signature is
// over the bytes, and what is signed must be what is read. A header that is
// there twice is refused, since two readers may take a different one
// (CVE-2026-45022).
func readHeaders(raw []byte) (headers, error) {
	h := headers{values: map[string][]byte{}}
	lines, rest, found := bytes.Cut(raw, []byte("\n\n"))
	if !found || bytes.IndexByte(lines, 0) >= 0 {
		return h, errors.New("is malformed")
	}
	h.rest = rest
	for i, text := range bytes.Split(lines, []byte("\n")) {
		if continued, ok := bytes.CutPrefix(text, []byte(" ")); ok {
			if i == 0 {
				return h, errors.New("begins with a continued line")
			}
			last := h.names[len(h.names)-1]
			h.values[last] = append(append(h.values[last], '\n'), continued...)
			continue
		}
		name, value, _ := bytes.Cut(text, []byte(" "))
		key := string(name)
		if _, twice := h.values[key]; twice && once(key) {
			return h, fmt.Errorf("has the header %q twice", quoteText(key, nil))
		}
		h.names = append(h.names, key)
		h.values[key] = bytes.Clone(value)
	}
	return h, nil
}

// once tells whether a header may stand only once. A merge has several
// parents, and merges of tags several mergetags.
func once(name string) bool { return name != "parent" && name != "mergetag" }

// treeOf is the root folder of a commit.
func treeOf(raw []byte) (plumbing.Hash, error) {
	h, err := readHeaders(raw)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if h.names[0] != "tree" || !plumbing.IsHash(string(h.values["tree"])) {
		return plumbing.ZeroHash, errors.New("does not begin with its tree")
	}
	return plumbing.NewHash(string(h.values["tree"])), nil
}
