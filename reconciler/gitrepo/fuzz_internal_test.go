package gitrepo

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// script builds a tree out of fuzz input: lines of a mode, a name and a
// content, bottom up. A folder takes in all that was made since the last one.
type script struct {
	objects []packed
	entries []byte
}

func (s *script) add(kind plumbing.ObjectType, data []byte) plumbing.Hash {
	s.objects = append(s.objects, packed{kind: kind, data: data})
	return plumbing.ComputeHash(kind, data)
}

func (s *script) entry(mode, name string, hash plumbing.Hash) {
	s.entries = append(append(append(s.entries, mode+" "+name...), 0), hash[:]...)
}

func (s *script) run(input string) plumbing.Hash {
	for _, text := range strings.Split(input, "\n")[:min(200, strings.Count(input, "\n")+1)] {
		mode, rest, _ := strings.Cut(text, " ")
		name, body, _ := strings.Cut(rest, " ")
		switch mode {
		case "d":
			tree := s.add(plumbing.TreeObject, s.entries)
			s.entries = nil
			s.entry("40000", name, tree)
		case "s":
			s.entry("160000", name, plumbing.NewHash(body))
		case "l":
			s.entry("120000", name, s.add(plumbing.BlobObject, []byte(body)))
		case "m":
			s.entry("100644", name, plumbing.ComputeHash(plumbing.BlobObject, []byte(body)))
		case "r":
			s.entries = append(s.entries, body...)
		default:
			s.entry("100644", name, s.add(plumbing.BlobObject, []byte(body)))
		}
	}
	return s.add(plumbing.TreeObject, s.entries)
}

// FuzzTree reads everything of a hostile tree. Whatever is in it, reading ends,
// never gives an unsafe name, and fails with a reason or as fs.FS fails.
func FuzzTree(f *testing.F) {
	for _, seed := range []string{
		"f file content", "f .. x", "f . x", "f .git x", "f .GiT x", "f a/b x", "f a\x00b x", "f  empty name", "f a x\nf a y",
		"l link ../../etc/passwd", "l link /etc/passwd", "l link link", "l a b\nl b a", "l self .", "l up ..", "l e ", "l z a\x00b",
		"s module 1111111111111111111111111111111111111111", "m missing content", "r x 100644 raw", "r x 9 x\x00", "r x 40000 self\x00",
		"f File x\nf file y", "f \xff\xfe x", "f \u202etxt.exe x", "f big " + strings.Repeat("x", 2000),
		"f p version https://git-lfs.github.com/spec/v1", strings.Repeat("d d\n", 150), "f x y\nd a\nl b a/../a/x\nd c\nl e c/b",
		"f x y\nd a\nl l a\nl m l/x\nl n m", "l l " + strings.Repeat("a/../", 900), "f " + strings.Repeat("n", 5000) + " x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		s := &script{}
		root := s.run(input)
		p, err := index(t, packOf(s.objects...), nil)
		if err != nil {
			t.Fatalf("a pack of whole objects: %s", err)
		}
		tree := treeIn(p, root)
		budget := 2000
		walkAll(t, tree, ".", &budget)
		for _, name := range strings.Fields(input)[:min(20, len(strings.Fields(input)))] {
			_, err := tree.ReadFile(name)
			expected(t, err)
		}
	})
}

func walkAll(t *testing.T, tree *Tree, name string, budget *int) {
	t.Helper()
	entries, err := tree.ReadDir(name)
	expected(t, err)
	for _, entry := range entries {
		if *budget--; *budget < 0 {
			return
		}
		if unsafeName(entry.Name()) {
			t.Fatalf("%q holds %q", name, entry.Name())
		}
		below := path.Join(name, entry.Name())
		_, err := tree.Stat(below)
		expected(t, err)
		_, err = entry.Info()
		expected(t, err)
		data, err := tree.ReadFile(below)
		expected(t, err)
		if int64(len(data)) > tree.maxFile || err != nil && data != nil || isPointer(data) {
			t.Fatalf("%q gives %d bytes and %v", below, len(data), err)
		}
		if entry.IsDir() && strings.Count(below, "/") < 200 {
			walkAll(t, tree, below, budget)
		}
	}
}

// expected fails on an error that is neither a failure with a reason nor one of fs.FS.
func expected(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	_, known := errors.AsType[*reconciler.Failure](err)
	_, ofPath := errors.AsType[*fs.PathError](err)
	if !known && !ofPath {
		t.Fatalf("an error without a reason: %T %s", err, err)
	}
}

// FuzzPack indexes hostile packs and reads all that is found in them.
func FuzzPack(f *testing.F) {
	blob := packed{kind: plumbing.BlobObject, data: []byte("some content that is there")}
	hash := plumbing.ComputeHash(plumbing.BlobObject, blob.data)
	f.Add([]byte{})
	f.Add(packOf())
	f.Add(packOf(blob, packed{kind: plumbing.TreeObject}, packed{kind: plumbing.CommitObject, data: []byte("tree")}))
	f.Add(packOf(blob, packed{kind: plumbing.REFDeltaObject, base: hash, data: []byte("\x1a\x05\x90\x05")}))
	f.Add(packOf(packed{kind: plumbing.REFDeltaObject, base: hash, data: []byte("\x1a\x05\x90\x05")}, blob))
	f.Add(packOf(blob, packed{kind: plumbing.REFDeltaObject, base: hash, data: []byte("\x1a\xff\xff\xff\x0f\x90\x05")}))
	f.Add(packOf(packed{kind: plumbing.BlobObject, data: []byte("x"), size: 1 << 40}))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := index(t, data, nil)
		if err != nil {
			if !errors.Is(err, errPack) && !errors.Is(err, errAnswerBig) {
				t.Fatalf("an error that is not of the pack: %s", err)
			}
			return
		}
		set := &objects{packs: []*pack{p}}
		for _, hash := range p.hashes {
			size, err := set.stat(hash)
			if err != nil {
				t.Fatalf("%s has no size: %s", hash, err)
			}
			kind, content, err := set.readAny(hash, 1<<20)
			if size > 1<<20 {
				continue
			}
			if err != nil || int64(len(content)) != size || plumbing.ComputeHash(kind, content) != hash {
				t.Fatalf("%s of %d bytes is read as %d bytes: %v", hash, size, len(content), err)
			}
		}
	})
}

// FuzzVerify feeds commits that are none to the check of signatures. Nothing
// is ever accepted.
func FuzzVerify(f *testing.F) {
	key, err := os.ReadFile("testdata/signer.pub")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("tree 1\nauthor a\ncommitter c\ngpgsig -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n\nmessage\n"))
	f.Add([]byte("tree 1\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n =AAAA\n -----END PGP SIGNATURE-----\n\nmessage\n"))
	f.Add([]byte("object 1\ntype commit\ntag v1\ntagger t\n\nmessage\n-----BEGIN SSH SIGNATURE-----\n"))
	f.Add([]byte(" \n\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys := reconciler.Secret{"key": key}
		if signer, err := VerifyCommit(raw, keys); err == nil {
			t.Fatalf("accepted as signed by %s", signer)
		}
		if signer, err := VerifyTag(raw, "v1", "1", keys); err == nil {
			t.Fatalf("accepted as signed by %s", signer)
		}
		_, err := treeOf(raw)
		if err == nil && !bytes.HasPrefix(raw, []byte("tree ")) {
			t.Fatal("a commit that does not begin with its tree")
		}
		_, _ = readSigner(string(raw))
	})
}
