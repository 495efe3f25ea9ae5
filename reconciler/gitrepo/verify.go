package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Signer is who signed a commit or a tag.
type Signer struct {
	// Kind is PGP or SSH.
	Kind string
	// ID is the fingerprint of the key: hexadecimal for PGP, SHA256:… for SSH.
	ID string
	// Name is the user ID of a PGP key or the principal of an SSH key, where known.
	Name string
}

// String names the signer for people.
func (s Signer) String() string {
	if s.Name == "" {
		return s.Kind + " key " + s.ID
	}
	return s.Kind + " key " + s.ID + " (" + quoteText(s.Name, nil) + ")"
}

// VerifyCommit checks the signature of a commit, given as git stores it. Each
// value of keys holds armored PGP public keys, or lines of OpenSSH's
// allowed_signers or authorized_keys. Whether a key is still valid is judged
// now and not at the time of the commit, which its author can choose. The error
// is terminal and names the signer where it is known.
func VerifyCommit(raw []byte, keys reconciler.Secret) (Signer, error) {
	what := "commit " + plumbing.ComputeHash(plumbing.CommitObject, raw).String()
	h, err := readHeaders(raw)
	if err != nil {
		return Signer{}, reconciler.Terminalf(ReasonSignatureInvalid, "%s %w", what, err)
	}
	if _, other := h.values["gpgsig-sha256"]; other {
		return Signer{}, reconciler.Terminalf(ReasonSignatureInvalid, "%s has a signature for another format of git (gpgsig-sha256), which is not understood", what)
	}
	signature, signed := h.values["gpgsig"]
	if !signed {
		return Signer{}, reconciler.Terminalf(ReasonUnsigned, "%s is not signed; sign it with `git commit -S`", what)
	}
	return verify(what, withoutHeader(raw, "gpgsig"), signature, keys)
}

// VerifyTag checks the signature of an annotated tag, given as git stores it,
// and that it is this tag of this commit: a signed tag must not be taken for
// another one by moving it.
func VerifyTag(raw []byte, name, commit string, keys reconciler.Secret) (Signer, error) {
	what := "tag " + name
	h, err := readHeaders(raw)
	if err != nil {
		return Signer{}, reconciler.Terminalf(ReasonSignatureInvalid, "%s %w", what, err)
	}
	if got := string(h.values["tag"]); got != name {
		return Signer{}, reconciler.Terminalf(ReasonSignatureInvalid, "%s holds the tag object of %s", what, shorten(got))
	}
	if string(h.values["type"]) != "commit" || string(h.values["object"]) != commit {
		return Signer{}, reconciler.Terminalf(ReasonSignatureInvalid, "%s does not stand for commit %s", what, commit)
	}
	at := lastSignature(raw, len(raw)-len(h.rest))
	if at < 0 {
		return Signer{}, reconciler.Terminalf(ReasonUnsigned, "%s is not signed; sign it with `git tag -s`", what)
	}
	return verify(what, raw[:at], raw[at:], keys)
}

// withoutHeader is what was signed: the commit without its signature. It is cut
// out of the bytes and nothing is written anew, since what is written anew may
// differ from what is used.
func withoutHeader(raw []byte, name string) []byte {
	end := bytes.Index(raw, []byte("\n\n")) + 1
	rest := make([]byte, 0, len(raw))
	inside := false
	for text := range bytes.Lines(raw[:end]) {
		inside = bytes.HasPrefix(text, []byte(name+" ")) || inside && text[0] == ' '
		if !inside {
			rest = append(rest, text...)
		}
	}
	return append(rest, raw[end:]...)
}

const (
	beginPGP  = "-----BEGIN PGP SIGNATURE-----"
	beginSSH  = "-----BEGIN SSH SIGNATURE-----"
	beginX509 = "-----BEGIN SIGNED MESSAGE-----"
)

// lastSignature is where the signature of a tag begins in its message, or -1.
// git takes the last one too.
func lastSignature(raw []byte, from int) int {
	at := -1
	for text := range bytes.Lines(raw[from:]) {
		for _, begin := range []string{beginPGP, beginSSH, beginX509} {
			if bytes.HasPrefix(text, []byte(begin)) {
				at = from
			}
		}
		from += len(text)
	}
	return at
}

func verify(what string, payload, signature []byte, secret reconciler.Secret) (Signer, error) {
	keys, err := readKeys(secret)
	if err != nil {
		return Signer{}, err
	}
	var signer Signer
	switch {
	case bytes.HasPrefix(signature, []byte(beginPGP)):
		signer, err = keys.verifyPGP(payload, signature, time.Now())
	case bytes.HasPrefix(signature, []byte(beginSSH)):
		signer, err = keys.verifySSH(payload, signature, time.Now())
	default:
		err = errors.New("it is neither a PGP nor an SSH signature")
	}
	if err == nil {
		return signer, nil
	}
	if signer.ID == "" {
		return Signer{}, reconciler.Terminalf(ReasonSignatureInvalid, "%s: the signature is refused: %s", what, shorten(err.Error()))
	}
	return Signer{}, reconciler.Terminalf(ReasonSignatureInvalid, "%s: the signature by %s is refused: %s", what, signer, shorten(err.Error()))
}

// errUntrusted is a signature by somebody else.
var errUntrusted = errors.New("that key is not among the trusted ones; add it to the Secret of the signers if it should be")

// VerifyCommit checks the signature of the commit that the tree belongs to.
func (t *Tree) VerifyCommit(keys reconciler.Secret) (Signer, error) { return VerifyCommit(t.raw, keys) }

// VerifyTag checks the signature of the annotated tag that the tree was
// fetched by. A tree that was fetched by a plain tag has none.
func (t *Tree) VerifyTag(name string, keys reconciler.Secret) (Signer, error) {
	if t.tag.IsZero() {
		return Signer{}, reconciler.Terminalf(ReasonUnsigned, "tag %s is not signed: it is no annotated tag; make it with `git tag -s`", name)
	}
	raw, err := t.object("tag "+name, t.tag, plumbing.TagObject, maxCommit)
	if err != nil {
		return Signer{}, err
	}
	signer, err := VerifyTag(raw, name, t.commit.String(), keys)
	if err != nil {
		return Signer{}, fmt.Errorf("tag object %s: %w", t.tag, err)
	}
	return signer, nil
}
