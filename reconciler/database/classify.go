package database

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// SQLSTATE codes that decide something here; see appendix A of the PostgreSQL
// manual.
const (
	codeActiveTransaction    = "25001"
	codeReadOnly             = "25006"
	codeInvalidTermination   = "2D000"
	codeInvalidPassword      = "28P01"
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codePrivilege            = "42501"
	codeSyntax               = "42601"
	codeDiskFull             = "53100"
	codeOutOfMemory          = "53200"
	codeTooManyConnections   = "53300"
	codeLimitExceeded        = "53400"
	codeObjectInUse          = "55006"
	codeLockNotAvailable     = "55P03"
	codeCancelled            = "57014"
	codeDatabaseDropped      = "57P04"
	codeProtocolViolation    = "08P01"
)

// passes tells whether what a code stands for may pass by itself. The list is
// of what other sessions and the state of the server cause; a file and a
// Secret stay as wrong as they are. A cancelled statement is judged by those
// who know who cancelled it.
func passes(code string) bool {
	switch code {
	case codeSerializationFailure, codeDeadlock, codeLockNotAvailable, codeObjectInUse, codeReadOnly,
		codeOutOfMemory, codeTooManyConnections, codeLimitExceeded, codeCancelled:
		return true
	case codeDatabaseDropped, codeProtocolViolation:
		return false
	}
	return strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "08")
}

// mayPass tells whether trying again may help after an error of any kind.
func mayPass(err error) bool {
	if failure, ok := errors.AsType[*reconciler.Failure](err); ok {
		return !failure.Terminal
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return passes(server.Code)
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// serverError is an error of the server with a text that is safe to show.
type serverError struct {
	text   string
	server *pgconn.PgError
}

func (e *serverError) Error() string { return e.text }

// Unwrap gives the code to those who ask for it. The text of that error is
// never used, since it may hold the value of a row.
func (e *serverError) Unwrap() error { return e.server }

// explainConnect turns what pgx says of a failed connection into an error for
// the person who wrote the Secret.
func (s settings) explainConnect(err error) error {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return s.explainRefusal(server)
	}
	text := fmt.Errorf("%s: %s", s, connectCause(err))
	switch {
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return reconciler.Terminalf("DatabaseTLS", "%w: the server speaks no TLS: set up TLS there, or set sslmode in the Secret to disable", text)
	case isCertificate[x509.HostnameError](err):
		return reconciler.Terminalf("DatabaseTLS", "%w: use a host name that the certificate is for, or sslmode verify-ca", text)
	case isCertificate[x509.UnknownAuthorityError](err):
		return reconciler.Terminalf("DatabaseTLS", "%w: put the certificate of its authority into key sslrootcert of the Secret", text)
	case isCertificate[*tls.CertificateVerificationError](err), isCertificate[x509.CertificateInvalidError](err):
		return reconciler.Transientf("DatabaseTLS", "%w: renew the certificate of the server", text)
	default:
		return reconciler.Transient("DatabaseUnreachable", text)
	}
}

func isCertificate[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// explainRefusal is for a server that answered and did not let us in.
func (s settings) explainRefusal(server *pgconn.PgError) error {
	text := &serverError{text: fmt.Sprintf("%s: %s (SQLSTATE %s)", s, safeMessage(server), server.Code), server: server}
	switch {
	case server.Code == codeInvalidPassword && s.lineEnd:
		return reconciler.Terminalf("DatabaseRefused", "%w: the password in the Secret ends in a line break, take that out", text)
	case strings.HasPrefix(server.Code, "28"), strings.HasPrefix(server.Code, "3D"), server.Code == codePrivilege:
		return reconciler.Terminalf("DatabaseRefused", "%w: correct the Secret or the role", text)
	case server.Code == codeProtocolViolation && strings.Contains(server.Message, "startup parameter"):
		return s.pooler(text)
	case passes(server.Code):
		return reconciler.Transient("DatabaseUnreachable", text)
	default:
		return reconciler.Terminal("DatabaseRefused", text)
	}
}

// pooler refuses a connection pooler: it hands one session to several
// servers, and a lock that is taken through it is nobody's (D4).
func (s settings) pooler(cause error) error {
	return reconciler.Terminalf("DatabasePooled",
		"%w: the connection goes through a pooler, where a migration lock does not hold: name the server itself in the Secret", cause)
}

// connectCause is the innermost text of an error that a person can use.
func connectCause(err error) string {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return lookup.Error()
	}
	if network, ok := errors.AsType[*net.OpError](err); ok && !errors.Is(err, context.DeadlineExceeded) {
		return network.Error()
	}
	if whole, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = whole.Unwrap()
	}
	return oneLine(err.Error())
}

// explainSQL adds to an error of a statement of our own what helps. One that
// has a verdict keeps it.
func (s settings) explainSQL(doing string, err error) error {
	if failure, ok := errors.AsType[*reconciler.Failure](err); ok {
		return &reconciler.Failure{Reason: failure.Reason, Terminal: failure.Terminal, Err: fmt.Errorf("%s: %w", s, failure.Err)}
	}
	server, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return reconciler.Transientf("DatabaseUnreachable", "%s: %s: %w", s, doing, err)
	}
	text := &serverError{text: fmt.Sprintf("%s: %s: %s (SQLSTATE %s)", s, doing, safeMessage(server), server.Code), server: server}
	switch {
	case server.Code == codePrivilege:
		return reconciler.Terminalf("DatabasePrivilege", "%w: let role %s own the database, or GRANT it what is missing", text, s.user)
	case passes(server.Code):
		return reconciler.Transient("DatabaseUnreachable", text)
	default:
		return reconciler.Terminal("DatabaseRefused", text)
	}
}
