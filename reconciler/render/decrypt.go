package render

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render/sops"
)

// ReasonDecryption is an encrypted file that the keys do not open, or that was
// changed after it was encrypted.
const ReasonDecryption = "DecryptionFailed"

// Decrypted shows a tree in which files that were encrypted with SOPS are
// read as plaintext. The keys stay in this process: a child is handed the
// plaintext of the files that it asks for, generators' included.
func Decrypted(tree reconciler.Tree, keys *sops.Keys) reconciler.Tree {
	return &decrypted{Tree: tree, keys: keys}
}

type decrypted struct {
	reconciler.Tree
	keys *sops.Keys

	mu       sync.Mutex
	revealed []string
}

// ReadFile decrypts a file where it must.
func (d *decrypted) ReadFile(name string) ([]byte, error) {
	content, err := d.Tree.ReadFile(name)
	if err != nil || !sops.Encrypted(content) {
		return content, err
	}
	opened, err := sops.Open(name, content, d.keys)
	if err != nil {
		return nil, reconciler.Terminal(ReasonDecryption, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.revealed = append(d.revealed, opened.Revealed...)
	return opened.Content, nil
}

// ID tells the same file apart for different keys, so that what was decrypted
// for one Release is never remembered for another.
func (d *decrypted) ID(name string) (string, error) {
	id, ok := identify(d.Tree, name)
	if !ok {
		return "", errors.ErrUnsupported
	}
	return id + "/" + d.keys.Fingerprint(), nil
}

// Repository tells the same repository apart for different keys.
func (d *decrypted) Repository() string {
	return repositoryOf(d.Tree) + "/" + d.keys.Fingerprint()
}

// Lstat is that of the tree, or Stat where the tree knows no links.
func (d *decrypted) Lstat(name string) (fs.FileInfo, error) {
	if links, ok := d.Tree.(fs.ReadLinkFS); ok {
		return links.Lstat(name)
	}
	return d.Stat(name)
}

// ReadLink is that of the tree.
func (d *decrypted) ReadLink(name string) (string, error) {
	if links, ok := d.Tree.(fs.ReadLinkFS); ok {
		return links.ReadLink(name)
	}
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}

// Shorter texts than these are not redacted, since they are in every text:
// whole values and their lines, and single words of them.
const (
	minSecret = 4
	minWord   = 8
)

// redact takes what was decrypted out of a text, in the ways in which errors
// quote it.
func (d *decrypted) redact(text string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var secrets []string
	for _, value := range d.revealed {
		secrets = append(secrets, value, base64.StdEncoding.EncodeToString([]byte(value)))
		secrets = append(secrets, strings.FieldsFunc(value, func(r rune) bool { return r == '\n' || r == '\r' })...)
		secrets = append(secrets, slices.DeleteFunc(strings.Fields(value), func(word string) bool { return len(word) < minWord })...)
	}
	// The longest first, so that no part of one is left when another is its beginning.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range slices.Compact(secrets) {
		if len(secret) < minSecret {
			continue
		}
		quoted := strconv.Quote(secret)
		for _, form := range []string{secret, quoted[1 : len(quoted)-1], flat(secret)} {
			text = strings.ReplaceAll(text, form, "[redacted]")
		}
	}
	return text
}
