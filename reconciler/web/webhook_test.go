package web_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/web"
)

const (
	secret  = "It's a Secret to Everybody"
	payload = `{"ref":"refs/heads/main"}`
	limit   = 25 << 20
)

// shop is the Release of these tests.
func shop() types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: "backend"} }

// hooks remembers what it was told.
type hooks struct {
	tokens map[types.NamespacedName]string

	mutex           sync.Mutex
	polled, refused []types.NamespacedName
}

func hooksWith(token string) *hooks {
	return &hooks{tokens: map[types.NamespacedName]string{shop(): token}}
}

func (h *hooks) Token(release types.NamespacedName) ([]byte, bool) {
	token, ok := h.tokens[release]
	return []byte(token), ok
}

func (h *hooks) Refused(release types.NamespacedName) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.refused = append(h.refused, release)
}

func (h *hooks) Poll(release types.NamespacedName) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.polled = append(h.polled, release)
}

func mac(algorithm func() hash.Hash, key, text string) []byte {
	h := hmac.New(algorithm, []byte(key))
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hmac256(key, text string) string { return hex.EncodeToString(mac(sha256.New, key, text)) }
func hmac512(key, text string) string { return hex.EncodeToString(mac(sha512.New, key, text)) }
func hmac1(key, text string) string   { return hex.EncodeToString(mac(sha1.New, key, text)) }

// headers makes a header of names and values in turn.
func headers(pairs ...string) http.Header {
	header := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		header.Add(pairs[i], pairs[i+1])
	}
	return header
}

// forgejo signs as Forgejo does, which sends the headers of its ancestors too.
func forgejo(key, body string) http.Header {
	sum := hmac256(key, body)
	return headers("X-Forgejo-Signature", sum, "X-Gitea-Signature", sum, "X-Gogs-Signature", sum,
		"X-Hub-Signature", "sha1="+hmac1(key, body), "X-Hub-Signature-256", "sha256="+sum)
}

func post(t *testing.T, handler http.Handler, path string, header http.Header, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, body)
	request.Header = header
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestWebhook covers P14 and S21: a poll for the right signature of each
// service, and for nothing else.
func TestWebhook(t *testing.T) {
	const wrong = "It's a Secret to Nobody"
	good := hmac256(secret, payload)
	for name, test := range map[string]struct {
		headers http.Header
		body    string
		status  int
	}{
		"GitHub's published example":    {headers("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), "Hello, World!", 202},
		"Bitbucket's published example": {headers("X-Hub-Signature", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"), "Hello World!", 202},

		"GitHub":                     {headers("X-Hub-Signature-256", "sha256="+good), payload, 202},
		"GitHub with its old header": {headers("X-Hub-Signature-256", "sha256="+good, "X-Hub-Signature", "sha1="+hmac1(secret, payload)), payload, 202},
		"GitHub's ping":              {headers("X-Github-Event", "ping", "X-Hub-Signature-256", "sha256="+good), payload, 202},
		"GitLab":                     {headers("X-Gitlab-Token", secret), payload, 202},
		"Gitea":                      {headers("X-Gitea-Signature", good), payload, 202},
		"Gogs":                       {headers("X-Gogs-Signature", good), payload, 202},
		"Forgejo with all it sends":  {forgejo(secret, payload), payload, 202},
		"Bitbucket with SHA-512":     {headers("X-Hub-Signature", "sha512="+hmac512(secret, payload)), payload, 202},
		"generic":                    {headers("X-Signature", "sha256="+good), payload, 202},
		"generic with SHA-512":       {headers("X-Signature", "sha512="+hmac512(secret, payload)), payload, 202},
		"generic, bare":              {headers("X-Signature", good), payload, 202},
		"generic, bare SHA-512":      {headers("X-Signature", hmac512(secret, payload)), payload, 202},
		"an empty body":              {headers("X-Signature", hmac256(secret, "")), "", 202},
		"upper-case hex":             {headers("X-Hub-Signature-256", "sha256="+strings.ToUpper(good)), payload, 202},
		"the same header twice":      {headers("X-Signature", good, "X-Signature", "sha256="+good), payload, 202},

		"GitHub with another secret":            {headers("X-Hub-Signature-256", "sha256="+hmac256(wrong, payload)), payload, 401},
		"GitLab with another token":             {headers("X-Gitlab-Token", wrong), payload, 401},
		"GitLab with the beginning of it":       {headers("X-Gitlab-Token", secret[:len(secret)-1]), payload, 401},
		"GitLab with more than it":              {headers("X-Gitlab-Token", secret+"x"), payload, 401},
		"GitLab with an empty token":            {headers("X-Gitlab-Token", ""), payload, 401},
		"Gitea with another secret":             {headers("X-Gitea-Signature", hmac256(wrong, payload)), payload, 401},
		"Gitea without a secret":                {headers("X-Gitea-Signature", "", "X-Gogs-Signature", "", "X-Hub-Signature", "sha1=", "X-Hub-Signature-256", "sha256="), payload, 401},
		"Forgejo with another secret":           {forgejo(wrong, payload), payload, 401},
		"Bitbucket with another secret":         {headers("X-Hub-Signature", "sha256="+hmac256(wrong, payload)), payload, 401},
		"generic with another secret":           {headers("X-Signature", hmac256(wrong, payload)), payload, 401},
		"generic SHA-512 with another secret":   {headers("X-Signature", "sha512="+hmac512(wrong, payload)), payload, 401},
		"no signature":                          {headers(), payload, 401},
		"only SHA-1":                            {headers("X-Hub-Signature", "sha1="+hmac1(secret, payload)), payload, 401},
		"only SHA-1, in the generic header":     {headers("X-Signature", "sha1="+hmac1(secret, payload)), payload, 401},
		"SHA-1 in Gitea's header":               {headers("X-Gitea-Signature", hmac1(secret, payload)), payload, 401},
		"the sum of SHA-512 called SHA-256":     {headers("X-Signature", "sha256="+hmac512(secret, payload)), payload, 401},
		"GitHub without the prefix":             {headers("X-Hub-Signature-256", good), payload, 401},
		"Bitbucket without the prefix":          {headers("X-Hub-Signature", good), payload, 401},
		"Gitea with a prefix":                   {headers("X-Gitea-Signature", "sha256="+good), payload, 401},
		"upper-case prefix":                     {headers("X-Hub-Signature-256", "SHA256="+good), payload, 401},
		"a signature cut short":                 {headers("X-Hub-Signature-256", "sha256="+good[:32]), payload, 401},
		"a signature that is not hex":           {headers("X-Signature", strings.Repeat("z", 64)), payload, 401},
		"an empty signature":                    {headers("X-Signature", ""), payload, 401},
		"the body cut short":                    {headers("X-Hub-Signature-256", "sha256="+good), payload[:10], 401},
		"the body changed":                      {headers("X-Hub-Signature-256", "sha256="+good), strings.Replace(payload, "main", "evil", 1), 401},
		"the body with a line more":             {headers("X-Hub-Signature-256", "sha256="+good), payload + "\n", 401},
		"one header right, another wrong":       {headers("X-Hub-Signature-256", "sha256="+good, "X-Gitea-Signature", hmac256(wrong, payload)), payload, 401},
		"one header right, another no hex":      {headers("X-Hub-Signature-256", "sha256="+good, "X-Signature", "?"), payload, 401},
		"one header right, GitLab's token not":  {headers("X-Hub-Signature-256", "sha256="+good, "X-Gitlab-Token", wrong), payload, 401},
		"GitLab's token right, a header wrong":  {headers("X-Gitlab-Token", secret, "X-Signature", hmac256(wrong, payload)), payload, 401},
		"the same header right, then wrong":     {headers("X-Signature", good, "X-Signature", hmac256(wrong, payload)), payload, 401},
		"the same header wrong, then right":     {headers("X-Signature", hmac256(wrong, payload), "X-Signature", good), payload, 401},
		"a signed message with a plain token":   {message(secret, time.Now(), payload), payload, 401},
		"a right header and a message unsigned": {headers("X-Signature", good, "Webhook-Signature", "v1,"), payload, 401},
	} {
		t.Run(name, func(t *testing.T) {
			hooks := hooksWith(secret)
			answer := post(t, web.Webhook(hooks, quiet()), "/hook/shop/backend", test.headers, strings.NewReader(test.body))
			assert.Equal(t, answer.Code, test.status)
			if test.status == http.StatusAccepted {
				assert.Equal(t, answer.Body.String(), "the branch is read now\n")
				assert.DeepEqual(t, hooks.polled, []types.NamespacedName{shop()})
				assert.Assert(t, cmp.Len(hooks.refused, 0))
				return
			}
			assert.Assert(t, cmp.Len(hooks.polled, 0))
			assert.DeepEqual(t, hooks.refused, []types.NamespacedName{shop()})
		})
	}
}

// TestWebhookKeepsNames covers P14: nobody learns from an answer which hooks
// there are.
func TestWebhookKeepsNames(t *testing.T) {
	right := headers("X-Signature", hmac256(secret, payload))
	refusals := map[string]*httptest.ResponseRecorder{}
	for name, test := range map[string]struct {
		hooks   *hooks
		headers http.Header
		refused int
	}{
		"unknown hook":               {&hooks{}, right, 0},
		"unknown hook, no signature": {&hooks{}, headers(), 0},
		"wrong signature":            {hooksWith("another secret"), right, 1},
		"no signature":               {hooksWith(secret), headers(), 1},
		"an empty token":             {hooksWith(""), headers("X-Signature", hmac256("", payload)), 1},
		"an empty token, plainly":    {hooksWith(""), headers("X-Gitlab-Token", ""), 1},
		"a token too short":          {hooksWith("1234567"), headers("X-Signature", hmac256("1234567", payload)), 1},
		"a token too short, plainly": {hooksWith("1234567"), headers("X-Gitlab-Token", "1234567"), 1},
	} {
		answer := post(t, web.Webhook(test.hooks, quiet()), "/hook/shop/backend", test.headers, strings.NewReader(payload))
		assert.Assert(t, cmp.Len(test.hooks.polled, 0), name)
		assert.Assert(t, cmp.Len(test.hooks.refused, test.refused), name)
		refusals[name] = answer
	}
	for name, answer := range refusals {
		assert.Equal(t, answer.Code, http.StatusUnauthorized, name)
		assert.Equal(t, answer.Body.String(), "no hook of that name, or no signature that it verifies\n", name)
		assert.DeepEqual(t, answer.Header(), refusals["unknown hook"].Header())
	}
	eight := hooksWith("12345678")
	assert.Equal(t, post(t, web.Webhook(eight, quiet()), "/hook/shop/backend", headers("X-Gitlab-Token", "12345678"), http.NoBody).Code, 202)
}

// TestWebhookTakesPost covers P13 for the one path that is written to.
func TestWebhookTakesPost(t *testing.T) {
	hooks := hooksWith(secret)
	handler := web.Webhook(hooks, quiet())
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, "ABCD", "post"} {
		answer := ask(t, handler, method, "/hook/shop/backend")
		assert.Equal(t, answer.Code, http.StatusMethodNotAllowed, method)
		assert.Equal(t, answer.Header().Get("Allow"), "POST", method)
	}
	for _, path := range []string{"/", "/hook", "/hook/shop", "/hook/shop/", "/hook/shop/backend/", "/hook/shop/backend/more"} {
		assert.Equal(t, post(t, handler, path, headers("X-Gitlab-Token", secret), http.NoBody).Code, http.StatusNotFound, path)
	}
	assert.Assert(t, cmp.Len(hooks.polled, 0))
	assert.Assert(t, cmp.Len(hooks.refused, 0))
}

// flow is a body of zeros that counts what is taken of it.
type flow struct{ left, taken, largest int }

func (f *flow) Read(piece []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n := min(len(piece), f.left)
	clear(piece[:n])
	f.left, f.taken, f.largest = f.left-n, f.taken+n, max(f.largest, len(piece))
	return n, nil
}

// TestWebhookBodyIsNotHeld covers P14: a large body is hashed in pieces, and
// no more than the limit is taken of a larger one.
func TestWebhookBodyIsNotHeld(t *testing.T) {
	zeros := hmac.New(sha256.New, []byte(secret))
	_, err := io.Copy(zeros, &flow{left: limit})
	assert.NilError(t, err)
	signature := "sha256=" + hex.EncodeToString(zeros.Sum(nil))
	for name, test := range map[string]struct {
		size     int
		declared int64
		most     int
		status   int
	}{
		"as large as may be":          {limit, limit, limit, 202},
		"as large, length not known":  {limit, -1, limit, 202},
		"one byte more":               {limit + 1, limit + 1, 0, 413},
		"one more, length not known":  {limit + 1, -1, limit + 1, 413},
		"endless":                     {1 << 40, -1, limit + 1, 413},
		"endless, and it says little": {1 << 40, 10, limit + 1, 413},
	} {
		t.Run(name, func(t *testing.T) {
			hooks, body := hooksWith(secret), &flow{left: test.size}
			request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hook/shop/backend", body)
			request.ContentLength = test.declared
			request.Header.Set("X-Hub-Signature-256", signature)
			answer := httptest.NewRecorder()
			web.Webhook(hooks, quiet()).ServeHTTP(answer, request)
			assert.Equal(t, answer.Code, test.status)
			assert.Equal(t, len(hooks.polled) == 1, test.status == 202)
			assert.Assert(t, body.taken <= test.most, "%d bytes taken", body.taken)
			assert.Assert(t, body.largest <= 64<<10, "%d bytes held", body.largest)
		})
	}
	unsigned := &flow{left: 1 << 40}
	assert.Equal(t, post(t, web.Webhook(hooksWith(secret), quiet()), "/hook/shop/backend", headers(), unsigned).Code, 401)
	assert.Equal(t, unsigned.taken, 0, "a body without a signature is not read")
}

// TestWebhookServed covers P14 and S18 over a connection: a whole request is
// accepted, one that stops in the middle is not, and the server lives on.
func TestWebhookServed(t *testing.T) {
	hooks := hooksWith(secret)
	server := httptest.NewUnstartedServer(nil)
	server.Config = web.Server("", web.Webhook(hooks, quiet()))
	server.Start()
	defer server.Close()
	request := "POST /hook/shop/backend HTTP/1.1\r\nHost: lockstep\r\nConnection: close\r\nX-Signature: " +
		hmac256(secret, payload) + "\r\nContent-Length: " + strconv.Itoa(len(payload)) + "\r\n\r\n" + payload
	for _, test := range []struct{ sent, status string }{
		{request, "HTTP/1.1 202 Accepted"},
		{request[:len(request)-1], "HTTP/1.1 400 Bad Request"},
		{strings.Replace(request, "main", "evil", 1), "HTTP/1.1 401 Unauthorized"},
		{request, "HTTP/1.1 202 Accepted"},
	} {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		assert.NilError(t, err)
		_, err = io.WriteString(connection, test.sent)
		assert.NilError(t, err)
		assert.NilError(t, connection.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(connection)
		assert.NilError(t, err)
		status, _, _ := strings.Cut(string(answer), "\r\n")
		assert.Equal(t, status, test.status)
		assert.NilError(t, connection.Close())
	}
	assert.DeepEqual(t, hooks.polled, []types.NamespacedName{shop(), shop()})
	assert.DeepEqual(t, hooks.refused, []types.NamespacedName{shop()})
}

// TestWebhookLog covers P14: a stranger writes nothing into the log, and no
// line holds a token, a signature or a body.
func TestWebhookLog(t *testing.T) {
	var usual, all bytes.Buffer
	for level, out := range map[slog.Level]*bytes.Buffer{slog.LevelInfo: &usual, slog.LevelDebug: &all} {
		log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		handler := web.Webhook(hooksWith(secret), log)
		post(t, handler, "/hook/shop/backend", forgejo("another secret", payload), strings.NewReader(payload))
		post(t, handler, "/hook/a%0Alevel=ERROR/b", headers(), strings.NewReader(payload))
		post(t, handler, "/hook/shop/backend", headers("X-Gitlab-Token", secret), &flow{left: limit + 1})
		post(t, handler, "/hook/shop/backend", forgejo(secret, payload), strings.NewReader(payload))
	}
	received := "level=INFO msg=\"webhook received\" namespace=shop release=backend source=forgejo\n"
	assert.Equal(t, usual.String(), received)
	assert.Equal(t, all.String(), "level=DEBUG msg=\"webhook refused\" namespace=shop release=backend source=forgejo\n"+
		"level=DEBUG msg=\"webhook refused\" namespace=\"a\\nlevel=ERROR\" release=b source=unknown\n"+
		"level=DEBUG msg=\"webhook too large\" namespace=shop release=backend source=gitlab\n"+received)
}
