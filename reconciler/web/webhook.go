package web

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// ShortestToken is the least number of bytes of a token. A shorter one never
// verifies anything: it could be guessed from one signed request.
const ShortestToken = 8

// largestBody is the most that a request may carry, in bytes. GitHub sends up
// to 25 MB; the body is hashed as it comes and never held.
const largestBody = 25 << 20

const notVerified = "no hook of that name, or no signature that it verifies"

// Hooks is who a webhook is for.
type Hooks interface {
	// Token returns the shared secret of the hook; false when there is none.
	// It asks nobody: an unauthenticated request must cost nothing.
	Token(release types.NamespacedName) ([]byte, bool)
	// Refused notes a request whose signature did not verify. It is told of
	// hooks that exist only, so that a stranger cannot fill a table with names.
	Refused(release types.NamespacedName)
	// Poll has the branch of the Release read now. It does not wait for that.
	Poll(release types.NamespacedName)
}

// Webhook serves POST /hook/{namespace}/{name}. Whoever knows the token of the
// hook may ask for a poll, and for nothing else: the body is hashed, never
// parsed, so nothing in it can be believed (P14, S21).
//
// A request proves itself by any header of these, and if it has several, each
// one has to hold: X-Hub-Signature-256 (GitHub), X-Forgejo-Signature,
// X-Gitea-Signature, X-Gogs-Signature, X-Gitlab-Token, webhook-signature
// (GitLab's signing token, which is Standard Webhooks), X-Hub-Signature
// (Bitbucket) and X-Signature (anything that can compute an HMAC).
// HMAC-SHA1 proves nothing.
//
// An unknown hook, a token too short and a wrong signature are answered alike
// and for the same work, so that names cannot be guessed.
func Webhook(hooks Hooks, log *slog.Logger) http.Handler {
	decoy := make([]byte, 32)
	_, _ = rand.Read(decoy) // It ends the process rather than return an error.
	receiver := &receiver{hooks: hooks, log: log, decoy: decoy}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hook/{namespace}/{name}", receiver.serve)
	return mux
}

type receiver struct {
	hooks Hooks
	log   *slog.Logger
	// decoy is the token of hooks that have none.
	decoy []byte
}

func (h *receiver) serve(w http.ResponseWriter, r *http.Request) {
	release := types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")}
	token, exists := h.hooks.Token(release)
	usable := exists && len(token) >= ShortestToken
	if !usable {
		token = h.decoy
	}
	log := h.log.With("namespace", release.Namespace, "release", release.Name)
	refuse := func(source string) {
		if exists {
			h.hooks.Refused(release)
		}
		log.DebugContext(r.Context(), "webhook refused", "source", source)
		plain(w, http.StatusUnauthorized, notVerified)
	}

	claims := readClaims(r.Header, time.Now())
	if !claims.verifiable() {
		refuse(claims.source)
		return
	}
	verified, err := verify(claims, token, http.MaxBytesReader(w, r.Body, largestBody), r.ContentLength)
	switch {
	case errors.Is(err, errTooLarge):
		log.DebugContext(r.Context(), "webhook too large", "source", claims.source)
		plain(w, http.StatusRequestEntityTooLarge, "the body is larger than 25 MiB")
	case err != nil:
		log.DebugContext(r.Context(), "webhook not received whole", "source", claims.source)
		plain(w, http.StatusBadRequest, "the body did not arrive whole")
	case !verified || !usable:
		refuse(claims.source)
	default:
		h.hooks.Poll(release)
		log.InfoContext(r.Context(), "webhook received", "source", claims.source)
		plain(w, http.StatusAccepted, "the branch is read now")
	}
}

var errTooLarge = errors.New("body too large")

// verify reads the body to its end and tells whether all claims hold for it.
// A body that says that it is too large is not begun.
func verify(claims claims, token []byte, body io.Reader, length int64) (bool, error) {
	if length > largestBody {
		return false, errTooLarge
	}
	check := newCheck(claims, token)
	if _, err := io.Copy(check, body); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return false, errTooLarge
		}
		return false, err
	}
	return check.holds(), nil
}
