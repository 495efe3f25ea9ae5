package web

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	_ "crypto/sha512" // Makes crypto.SHA512 available.
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// clockSkew is how far the timestamp of a signed message may be from our own
// clock: the tolerance that the libraries of Standard Webhooks use.
const clockSkew = 5 * time.Minute

// form is one way to write an HMAC of the body: a prefix, then hex.
type form struct {
	prefix    string
	algorithm crypto.Hash
}

// scheme is a header that carries an HMAC of the body, and who sends it.
type scheme struct {
	source, header string
	forms          []form
	// ignored is a prefix that says that the value is none of ours.
	ignored string
}

// schemes lists the most telling headers first: Forgejo sends those of Gitea,
// Gogs and GitHub too.
func schemes() []scheme {
	bare := []form{{"", crypto.SHA256}}
	named := []form{{"sha256=", crypto.SHA256}, {"sha512=", crypto.SHA512}}
	return []scheme{
		{source: "forgejo", header: "X-Forgejo-Signature", forms: bare},
		{source: "gitea", header: "X-Gitea-Signature", forms: bare},
		{source: "gogs", header: "X-Gogs-Signature", forms: bare},
		{source: "github", header: "X-Hub-Signature-256", forms: named[:1]},
		// GitHub, Gitea and Forgejo send an HMAC-SHA1 in the header in which
		// Bitbucket sends a good one; their good one is in another.
		{source: "bitbucket", header: "X-Hub-Signature", forms: named, ignored: "sha1="},
		{source: "generic", header: "X-Signature", forms: append(named, form{"", crypto.SHA256}, form{"", crypto.SHA512})},
	}
}

// claims is what the headers of a request say of its body. They are read
// before the token is looked at and mean nothing until a check holds.
type claims struct {
	// source is the kind of service that sent the request, for people.
	source string
	// sums are the HMACs of the body. One hash per algorithm serves them all:
	// a request with a thousand headers costs no more than one with one.
	sums map[crypto.Hash][][]byte
	// tokens are shared secrets sent as they are.
	tokens []string
	// message is a Standard Webhooks message.
	message *message
	// broken: a header that had to hold cannot hold whatever the token is.
	broken bool
}

// message is the part of a Standard Webhooks message that is in its headers.
type message struct {
	prefix string
	// sums are alternatives, for a key that is being replaced.
	sums [][]byte
}

func readClaims(header http.Header, now time.Time) claims {
	c := claims{source: "unknown", sums: map[crypto.Hash][][]byte{}}
	for _, scheme := range schemes() {
		for _, value := range header.Values(scheme.header) {
			if scheme.ignored != "" && strings.HasPrefix(value, scheme.ignored) {
				continue
			}
			c.from(scheme.source)
			c.addSum(scheme.forms, value)
		}
	}
	if c.tokens = header.Values("X-Gitlab-Token"); len(c.tokens) > 0 {
		c.from("gitlab")
	}
	if header.Values("Webhook-Signature") != nil {
		c.from("standard-webhooks")
		c.message = readMessage(header, now)
		c.broken = c.broken || c.message == nil
	}
	return c
}

// verifiable tells whether there is something to verify and all of it could
// hold. The answer does not depend on the token.
func (c *claims) verifiable() bool {
	return !c.broken && (len(c.sums) > 0 || len(c.tokens) > 0 || c.message != nil)
}

func (c *claims) from(source string) {
	if c.source == "unknown" {
		c.source = source
	}
}

func (c *claims) addSum(forms []form, value string) {
	for _, form := range forms {
		digits, ok := strings.CutPrefix(value, form.prefix)
		if !ok || len(digits) != hex.EncodedLen(form.algorithm.Size()) {
			continue
		}
		if sum, err := hex.DecodeString(digits); err == nil {
			c.sums[form.algorithm] = append(c.sums[form.algorithm], sum)
			return
		}
	}
	c.broken = true
}

// readMessage answers nil for a message that cannot be verified: one without
// an HMAC (an Ed25519 signature, "v1a", needs a public key, not a token), one
// too old or too new, or one whose id could hide where the body begins.
func readMessage(header http.Header, now time.Time) *message {
	ids, timestamps, signatures := header.Values("Webhook-Id"), header.Values("Webhook-Timestamp"), header.Values("Webhook-Signature")
	if len(ids) != 1 || len(timestamps) != 1 || len(signatures) != 1 || strings.Contains(ids[0], ".") {
		return nil
	}
	seconds, err := strconv.ParseInt(timestamps[0], 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > clockSkew {
		return nil
	}
	m := &message{prefix: ids[0] + "." + timestamps[0] + "."}
	for entry := range strings.FieldsSeq(signatures[0]) {
		digits, ok := strings.CutPrefix(entry, "v1,")
		if !ok {
			continue
		}
		if sum, err := base64.StdEncoding.Strict().DecodeString(digits); err == nil && len(sum) == sha256.Size {
			m.sums = append(m.sums, sum)
		}
	}
	if len(m.sums) == 0 {
		return nil
	}
	return m
}

// check is a body on its way through the hashes that its claims need.
type check struct {
	claims  claims
	token   []byte
	bodies  map[crypto.Hash]hash.Hash
	message hash.Hash
	// unsigned: the token is none that could have signed the message.
	unsigned bool
}

func newCheck(claims claims, token []byte) *check {
	c := &check{claims: claims, token: token, bodies: map[crypto.Hash]hash.Hash{}}
	for algorithm := range claims.sums {
		c.bodies[algorithm] = hmac.New(algorithm.New, token)
	}
	if claims.message != nil {
		key, ok := signingKey(token)
		c.message, c.unsigned = hmac.New(sha256.New, key), !ok
		_, _ = c.message.Write([]byte(claims.message.prefix))
	}
	return c
}

// signingKey returns the key in a token of Standard Webhooks ("whsec_" and
// base64). Of any other token it returns the token, and false.
func signingKey(token []byte) ([]byte, bool) {
	encoded, ok := bytes.CutPrefix(token, []byte("whsec_"))
	if !ok {
		return token, false
	}
	key, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil || len(key) < ShortestToken {
		return token, false
	}
	return key, true
}

// Write takes a piece of the body. A hash never fails.
func (c *check) Write(piece []byte) (int, error) {
	for _, body := range c.bodies {
		_, _ = body.Write(piece)
	}
	if c.message != nil {
		_, _ = c.message.Write(piece)
	}
	return len(piece), nil
}

// holds tells whether every claim is true of the body so far. Everything is
// compared whatever the outcome, and in constant time.
func (c *check) holds() bool {
	good := !c.unsigned
	for algorithm, sums := range c.claims.sums {
		want := c.bodies[algorithm].Sum(nil)
		for _, sum := range sums {
			good = hmac.Equal(sum, want) && good
		}
	}
	for _, token := range c.claims.tokens {
		good = sameToken([]byte(token), c.token) && good
	}
	if c.message != nil {
		one, want := false, c.message.Sum(nil)
		for _, sum := range c.claims.message.sums {
			one = hmac.Equal(sum, want) || one
		}
		good = one && good
	}
	return good
}

// sameToken compares digests, so that the length is no secret to find either.
func sameToken(a, b []byte) bool {
	x, y := sha256.Sum256(a), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
