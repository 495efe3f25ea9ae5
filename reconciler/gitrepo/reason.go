package gitrepo

import (
	"strings"
	"unicode"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Reasons of the failures that this package returns. All may pass by
// themselves unless the comment says terminal.
const (
	// ReasonURLInvalid is terminal: spec.source.url cannot be used.
	ReasonURLInvalid = "URLInvalid"
	// ReasonCredentialsInvalid is terminal: the Secret has not the shape it must have.
	ReasonCredentialsInvalid = "CredentialsInvalid"
	// ReasonAuthenticationFailed is an answer 401 or 403, or a refused SSH key.
	ReasonAuthenticationFailed = reconciler.ReasonAuthenticationFailed
	// ReasonRepositoryNotFound is an answer 404 or its equal over SSH. Many
	// servers say so of what the credentials may not read.
	ReasonRepositoryNotFound = "RepositoryNotFound"
	// ReasonBranchMissing is used when the server has other branches.
	ReasonBranchMissing = "BranchMissing"
	// ReasonTagMissing is used when no tag is the wanted one or in the wanted range.
	ReasonTagMissing = "TagMissing"
	// ReasonReferenceInvalid is terminal: the semver range cannot be read.
	ReasonReferenceInvalid = "ReferenceInvalid"
	// ReasonEmptyRepository is used when the server has no branch at all.
	ReasonEmptyRepository = "EmptyRepository"
	// ReasonHostKeyMismatch is used when an SSH server shows a key that is not in known_hosts.
	ReasonHostKeyMismatch = "HostKeyMismatch"
	// ReasonCertificateInvalid is used when a TLS certificate cannot be trusted.
	ReasonCertificateInvalid = "CertificateInvalid"
	// ReasonRedirectRefused is used when a server sends us to another host.
	ReasonRedirectRefused = "RedirectRefused"
	// ReasonUnreachable is used when no connection comes about, or one breaks.
	ReasonUnreachable = "Unreachable"
	// ReasonTimeout is used when a deadline passed.
	ReasonTimeout = reconciler.ReasonTimeout
	// ReasonRateLimited is an answer 429, or 403 with a time to wait.
	ReasonRateLimited = "RateLimited"
	// ReasonServerError is an answer 5xx, or one that is not git's.
	ReasonServerError = "ServerError"
	// ReasonServerUnsupported is used for servers that speak no protocol of ours (go-git#328).
	ReasonServerUnsupported = "ServerUnsupported"
	// ReasonDiskFull is used when the work folder has no room left.
	ReasonDiskFull = "DiskFull"
	// ReasonStoreFailed is used when the work folder cannot be written for another cause.
	ReasonStoreFailed = "StoreFailed"
	// ReasonObjectMissing is used when an object is lost or damaged, even after a fresh clone.
	ReasonObjectMissing = "ObjectMissing"
	// ReasonTooLarge is terminal for a file, and may pass for an answer of the server.
	ReasonTooLarge = "TooLarge"
	// ReasonTreeUnsafe is terminal: a commit holds names, links or submodules that are refused.
	ReasonTreeUnsafe = "TreeUnsafe"
	// ReasonLFSPointer is terminal: a file that is read holds a pointer to its content.
	ReasonLFSPointer = "LFSPointer"
	// ReasonUnsigned is terminal: there is no signature.
	ReasonUnsigned = "Unsigned"
	// ReasonSignatureInvalid is terminal: there is a signature, and it is not accepted.
	ReasonSignatureInvalid = "SignatureInvalid"
)

// maxText bounds what is repeated of a text that is not ours, in characters.
const maxText = 200

// quoteText makes a text of a server fit to be shown: one line, no control or
// invisible characters, no secret, not long (G21).
func quoteText(text string, secrets []string) string {
	text = withoutSecrets(text, secrets)
	var b strings.Builder
	space := false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			continue
		case space:
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	// What was dropped may have stood inside of a secret.
	clean := []rune(withoutSecrets(b.String(), secrets))
	if len(clean) > maxText {
		return string(clean[:maxText]) + "…"
	}
	return string(clean)
}

func withoutSecrets(text string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= 4 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// cleanedError shows a cleaned text of an error and still is that error.
type cleanedError struct {
	text string
	err  error
}

func (h *cleanedError) Error() string { return h.text }
func (h *cleanedError) Unwrap() error { return h.err }
