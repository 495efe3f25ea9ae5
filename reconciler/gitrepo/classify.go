package gitrepo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Errors that arise inside a conversation with a server.
var (
	errSilent    = errors.New("the server stayed silent")
	errAnswerBig = errors.New("the answer is larger than the limit")
	errRedirect  = errors.New("redirect to another host")
	errPack      = errors.New("the pack is damaged")
	errNoEnd     = errors.New("the server ended the conversation")
)

// answerError is an HTTP answer that is not a success.
type answerError struct {
	status int
	// wait is what the server asks for in Retry-After, zero for nothing.
	wait time.Duration
	text string
}

func (e *answerError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("status %d", e.status)
	}
	return fmt.Sprintf("status %d: %s", e.status, e.text)
}

// protocolError is what arrived whole and could not be understood.
type protocolError struct{ err error }

func (e *protocolError) Error() string { return e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

// verdict is a reason and what to say of it.
type verdict struct {
	reason string
	advice string
}

// classify turns what went wrong in a conversation into a failure with a
// reason. The text of the error is cleaned whatever its source: go-git mixes
// texts of the server into its own.
func classify(ctx context.Context, addr address, c credentials, err error) error {
	if errors.As(err, new(*reconciler.Failure)) || errors.Is(err, reconciler.ErrSuperseded) {
		return err
	}
	if errors.Is(context.Cause(ctx), context.Canceled) && ctx.Err() != nil {
		return fmt.Errorf("git server %s: %w", addr.host, context.Canceled)
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		// The URL in it may be one that the server made up.
		err = request.Err
	}
	v := judge(ctx, c, err)
	text := quoteText(err.Error(), c.secrets())
	if v.advice != "" {
		text += "; " + v.advice
	}
	return reconciler.Transient(v.reason, &cleanedError{text: fmt.Sprintf("git server %s: %s", addr.host, text), err: err})
}

func judge(ctx context.Context, c credentials, err error) verdict {
	if answer, ok := errors.AsType[*answerError](err); ok {
		return judgeAnswer(answer, c)
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return verdict{ReasonDiskFull, "make the volume of the work folder larger"}
	case errors.Is(err, errAnswerBig):
		return verdict{ReasonTooLarge, "split the repository, or raise the limit of the daemon"}
	case errors.Is(err, errRedirect), strings.Contains(err.Error(), "http redirect:"):
		return verdict{ReasonRedirectRefused, "write the new place into spec.source.url"}
	case errors.Is(err, errSilent), errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil, isTimeout(err):
		return verdict{ReasonTimeout, "the daemon goes on asking"}
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return verdict{ReasonEmptyRepository, "waiting for the first commit"}
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return verdict{ReasonRepositoryNotFound, notFoundAdvice(c)}
	case errors.Is(err, transport.ErrEmptyUploadPackRequest):
		return verdict{ReasonServerUnsupported, "it speaks no version of git's protocol that is understood here"}
	case errors.Is(err, errPack), errors.Is(err, errNoEnd), isProtocol(err):
		return verdict{ReasonServerError, "that is no answer of a git server; check spec.source.url"}
	case isHostKey(err):
		return verdict{ReasonHostKeyMismatch, "compare with the owner of the server, then change known_hosts in the Secret"}
	case isCertificate(err):
		return verdict{ReasonCertificateInvalid, "put the certificate of its issuer under ca.crt into the Secret of spec.source.secretRef"}
	case isRefusedKey(err):
		return verdict{ReasonAuthenticationFailed, "check that the server knows the public key of identity"}
	default:
		return verdict{ReasonUnreachable, ""}
	}
}

func judgeAnswer(answer *answerError, c credentials) verdict {
	switch {
	case answer.status == 429, answer.status == 403 && answer.wait > 0:
		return verdict{ReasonRateLimited, ""}
	case answer.status == 401 && c.empty():
		return verdict{ReasonAuthenticationFailed, "name a Secret with the credentials in spec.source.secretRef"}
	case answer.status == 401, answer.status == 403:
		return verdict{ReasonAuthenticationFailed, "check the Secret of spec.source.secretRef"}
	case answer.status == 404, answer.status == 410:
		return verdict{ReasonRepositoryNotFound, notFoundAdvice(c)}
	default:
		return verdict{ReasonServerError, ""}
	}
}

func notFoundAdvice(c credentials) string {
	if c.empty() {
		return "check spec.source.url; a private repository needs spec.source.secretRef"
	}
	return "check spec.source.url and whether the credentials may read it"
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func isProtocol(err error) bool {
	_, ok := errors.AsType[*protocolError](err)
	return ok
}

func isHostKey(err error) bool {
	_, unknown := errors.AsType[*knownhosts.KeyError](err)
	_, revoked := errors.AsType[*knownhosts.RevokedError](err)
	// The library has no type for a server without a key of the known type.
	return unknown || revoked || strings.Contains(err.Error(), "no common algorithm for host key")
}

func isCertificate(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return verification || authority || name || invalid
}
