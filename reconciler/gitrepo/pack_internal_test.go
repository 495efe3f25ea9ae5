package gitrepo

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" // It is git's format.
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

// packed is an object to be put into a pack by hand.
type packed struct {
	kind plumbing.ObjectType
	data []byte
	// base is for a difference by hash, size for a header that lies.
	base plumbing.Hash
	size int
}

// packOf makes a pack of objects as they are given, whatever git thinks of them.
func packOf(objects ...packed) []byte {
	var b bytes.Buffer
	b.WriteString("PACK\x00\x00\x00\x02")
	_ = binary.Write(&b, binary.BigEndian, uint32(len(objects)))
	for _, o := range objects {
		size := len(o.data)
		if o.size != 0 {
			size = o.size
		}
		first := byte(o.kind)<<4 | byte(size&15)
		for size >>= 4; size > 0; size >>= 7 {
			b.WriteByte(first | 0x80)
			first = byte(size & 127)
		}
		b.WriteByte(first)
		if o.kind == plumbing.REFDeltaObject {
			b.Write(o.base[:])
		}
		z := zlib.NewWriter(&b)
		_, _ = z.Write(o.data)
		_ = z.Close()
	}
	sum := sha1.Sum(b.Bytes()) // It is git's format.
	return append(b.Bytes(), sum[:]...)
}

func index(t testing.TB, data []byte, outer *objects) (*pack, error) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "*.pack")
	assert.NilError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return readPack(t.Context(), bytes.NewReader(data), file, outer, &notes{})
}

// treeIn opens a tree in a pack; it cannot be renewed.
func treeIn(p *pack, root plumbing.Hash) *Tree {
	return &Tree{
		root: root, maxFile: 1 << 10, objects: &objects{packs: []*pack{p}}, folders: map[plumbing.Hash]folder{},
		renew: func(error) (*objects, error) { return &objects{packs: []*pack{p}}, nil },
	}
}

func TestFoldersThatLie(t *testing.T) {
	blob, empty := []byte("content"), []byte{}
	blobHash, emptyHash := plumbing.ComputeHash(plumbing.BlobObject, blob), plumbing.ComputeHash(plumbing.TreeObject, empty)
	for name, test := range map[string]struct {
		entry        string
		hash         plumbing.Hash
		reason, text string
	}{
		"a file that is a folder":    {"100644 x", emptyHash, ReasonObjectMissing, "is a tree where a blob must be, even after a fresh clone"},
		"a folder that is a file":    {"40000 x", blobHash, ReasonObjectMissing, "is a blob where a tree must be"},
		"a mode of junk":             {"9x9 x", blobHash, ReasonTreeUnsafe, "folder .: malformed tree"},
		"an empty name":              {"100644 ", blobHash, ReasonTreeUnsafe, "folder .: malformed tree"},
		"an object that is not":      {"100644 x", plumbing.NewHash(strings.Repeat("1", 40)), ReasonObjectMissing, "x: object missing or damaged: 1111"},
		"a link that is a folder":    {"120000 x", emptyHash, ReasonTreeUnsafe, "link x has a target of 0 bytes"},
		"a mode that nobody knows":   {"170000 x", blobHash, ReasonTreeUnsafe, "x is a submodule"},
		"a name with a zero byte":    {"100644 x\x00", blobHash, ReasonTreeUnsafe, "malformed"},
		"a folder that holds itself": {"40000 x", plumbing.ZeroHash, ReasonObjectMissing, "object missing"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := append(append([]byte(test.entry), 0), test.hash[:]...)
			p, err := index(t, packOf(packed{kind: plumbing.BlobObject, data: blob}, packed{kind: plumbing.TreeObject, data: empty}, packed{kind: plumbing.TreeObject, data: raw}), nil)
			assert.NilError(t, err)
			tree := treeIn(p, plumbing.ComputeHash(plumbing.TreeObject, raw))
			_, err = tree.ReadFile("x")
			if strings.HasPrefix(test.entry, "40000") {
				_, err = tree.ReadDir("x")
			}
			assert.ErrorContains(t, err, test.text)
			assert.Equal(t, reconciler.ReasonOf(err, ""), test.reason)
		})
	}
}

// The index must find every object that git finds in its own packs, whatever
// way they are stored, and give the same content.
func TestIndexAgainstGit(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	text := strings.Split(strings.Repeat("some line of text that changes now and then\n", 400), "\n")
	for i := range 60 {
		text[i*5] = fmt.Sprintf("changed in commit %d", i)
		origin.Commit("main", map[string]string{"long": strings.Join(text, "\n"), fmt.Sprintf("d/%d", i%7): fmt.Sprint(i), "empty": ""})
	}
	origin.AnnotatedTag("v1", "main")
	all := strings.Fields(origin.Git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)"))
	assert.Assert(t, len(all) > 200)
	for name, args := range map[string][]string{
		"no differences":                 {"--depth=0"},
		"differences by offset":          {"--delta-base-offset", "--depth=50", "--window=50"},
		"differences by hash":            {"--depth=50", "--window=50"},
		"long chains":                    {"--depth=4000", "--window=50", "--delta-base-offset"},
		"differences as git stored them": {"--all-progress-implied"},
	} {
		t.Run(name, func(t *testing.T) {
			data := packObjects(t, origin.Path, strings.Join(all, "\n"), args...)
			p, err := index(t, data, nil)
			assert.NilError(t, err)
			assert.Equal(t, len(p.hashes), len(all))
			set := &objects{packs: []*pack{p}}
			for _, id := range all {
				sameAsGit(t, set, id)
			}
		})
	}
}

// A thin pack holds differences to objects that are in another one.
func TestIndexOfAThinPack(t *testing.T) {
	origin := gitrepotest.New(t).Repo(t, "app.git")
	text := strings.Repeat("some line of text\n", 500)
	first := origin.Commit("main", map[string]string{"long": text})
	second := origin.Commit("main", map[string]string{"long": text + "and one more"})
	whole, err := index(t, packObjects(t, origin.Path, first, "--revs"), nil)
	assert.NilError(t, err)
	outer := &objects{packs: []*pack{whole}}
	data := packObjects(t, origin.Path, second+"\n^"+first, "--revs", "--thin")
	thin, err := index(t, data, outer)
	assert.NilError(t, err)
	blob := origin.Git("rev-parse", "main:long")
	offset, found := thin.find(plumbing.NewHash(blob))
	assert.Assert(t, found)
	_, header, err := thin.at(offset)
	assert.NilError(t, err)
	assert.Equal(t, header.Type, plumbing.REFDeltaObject, "the test is about differences")
	sameAsGit(t, &objects{packs: []*pack{whole, thin}}, blob)

	_, err = index(t, data, nil)
	assert.ErrorIs(t, err, errPack)
}

func packObjects(t *testing.T, dir, stdin string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"pack-objects", "--stdout", "-q"}, args...)...)
	cmd.Dir, cmd.Stdin, cmd.Env, cmd.Stderr = dir, strings.NewReader(stdin+"\n"), gitrepotest.Env(), os.Stderr
	data, err := cmd.Output()
	assert.NilError(t, err)
	return data
}

func sameAsGit(t *testing.T, set *objects, id string) {
	t.Helper()
	hash := plumbing.NewHash(id)
	kind, data, err := set.readAny(hash, 1<<20)
	assert.NilError(t, err)
	assert.Equal(t, plumbing.ComputeHash(kind, data), hash)
	size, err := set.stat(hash)
	assert.NilError(t, err)
	assert.Equal(t, size, int64(len(data)))
}

// Packs that are wrong in every part are refused, and cost no memory.
func TestHostilePacks(t *testing.T) {
	blob := packed{kind: plumbing.BlobObject, data: []byte("content")}
	hash := plumbing.ComputeHash(plumbing.BlobObject, blob.data)
	good := packOf(blob)
	delta := func(data string, base plumbing.Hash) packed {
		return packed{kind: plumbing.REFDeltaObject, data: []byte(data), base: base}
	}
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":                               {nil, errPack},
		"another magic":                         {append([]byte("KCAP"), good[4:]...), errPack},
		"another version":                       {append([]byte("PACK\x00\x00\x00\x09"), good[8:]...), errPack},
		"cut off":                               {good[:len(good)-1], errPack},
		"another sum":                           {append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1), errPack},
		"four billion objects":                  {append([]byte("PACK\x00\x00\x00\x02\xff\xff\xff\xff"), good[12:]...), errAnswerBig},
		"more objects than said":                {append([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"), good[12:]...), errPack},
		"an object of a terabyte":               {packOf(packed{kind: plumbing.BlobObject, data: []byte("x"), size: 1 << 40}), errPack},
		"an object shorter than it is":          {packOf(packed{kind: plumbing.BlobObject, data: []byte("xyz"), size: 1}), errPack},
		"an object of no type":                  {packOf(packed{kind: 0, data: []byte("x")}), errPack},
		"an object of a reserved type":          {packOf(packed{kind: 5, data: []byte("x")}), errPack},
		"a difference to nothing":               {packOf(delta("\x07\x07\x90\x07", plumbing.ZeroHash)), errPack},
		"a difference of wrong size":            {packOf(blob, delta("\x08\x07\x90\x07", hash)), errPack},
		"a difference beyond its base":          {packOf(blob, delta("\x07\x09\x90\x09", hash)), errPack},
		"a difference without sizes":            {packOf(blob, delta("", hash)), errPack},
		"a difference with endless size":        {packOf(blob, delta(strings.Repeat("\xff", 30), hash)), errPack},
		"a difference of a terabyte to nothing": {packOf(delta("\x07\x80\x80\x80\x80\x80\x20", plumbing.ZeroHash)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := index(t, test.data, nil)
			if test.want == nil {
				assert.NilError(t, err)
				assert.Equal(t, p.skipped, 1, "it is left out")
				return
			}
			assert.Assert(t, errors.Is(err, test.want), "%v", err)
		})
	}
}

// A difference of a chain of differences is read right.
func TestChainOfDifferences(t *testing.T) {
	data := []byte("content")
	all := []packed{{kind: plumbing.BlobObject, data: data}}
	hash := plumbing.ComputeHash(plumbing.BlobObject, data)
	for i := range 300 {
		next := append(bytes.Clone(data), byte('a'+i%26))
		delta := append(varint(len(data)), varint(len(next))...)
		delta = append(delta, 0x90|0x20, byte(len(data)), byte(len(data)>>8), 1, next[len(next)-1])
		all = append(all, packed{kind: plumbing.REFDeltaObject, data: delta, base: hash})
		data, hash = next, plumbing.ComputeHash(plumbing.BlobObject, next)
	}
	p, err := index(t, packOf(all...), nil)
	assert.NilError(t, err)
	kind, got, err := (&objects{packs: []*pack{p}}).readAny(hash, 1<<10)
	assert.NilError(t, err)
	assert.Equal(t, kind, plumbing.BlobObject)
	assert.Equal(t, string(got), string(data))
	_, _, err = (&objects{packs: []*pack{p}}).readAny(hash, 10)
	assert.ErrorIs(t, err, errLarge)
}

func varint(n int) []byte {
	var b []byte
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n&127)|128)
	}
	return append(b, byte(n))
}

// The work folder may be gone when a pack arrives.
func TestPackFolderIsMade(t *testing.T) {
	r := &repository{dir: filepath.Join(t.TempDir(), "a", "b")}
	file, err := r.newPack()
	assert.NilError(t, err)
	assert.NilError(t, file.Close())
}
