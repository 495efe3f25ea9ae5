package web_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/web"
)

const fuzzToken = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// FuzzWebhook covers P14: no request ends the server, and a poll follows
// exactly on a request whose signatures, computed here by other means, are all
// right. The bits of sign say which right headers go before the made-up ones.
func FuzzWebhook(f *testing.F) {
	for sign := range uint8(64) {
		f.Add("shop/backend", "X-Github-Event: push\r\n", []byte(payload), sign)
	}
	f.Add("shop/frontend", "X-Gitlab-Token: "+fuzzToken+"\r\n", []byte(payload), uint8(0))
	f.Add("shop/backend", "X-Gitlab-Token: "+fuzzToken+"\r\n", []byte(nil), uint8(1))
	f.Add("shop%2Fbackend/..", "X-Signature: sha256=\r\nX-Signature: sha512=00\r\n", []byte("\x00\xff"), uint8(1))
	f.Add("shop/backend", "X-Hub-Signature: sha1=00\r\nX-Hub-Signature-256:\r\n", []byte(payload), uint8(2))
	f.Add("shop/backend", "Webhook-Id: a.b\r\nWebhook-Timestamp: -9223372036854775808\r\nWebhook-Signature: v1, v1a,x\r\n", []byte("{}"), uint8(0))
	f.Add("shop/backend", "Webhook-Id: b\r\n", []byte("{}"), uint8(32))
	f.Add("shop/backend", "Transfer-Encoding: chunked\r\n", []byte("5\r\nhello\r\n0\r\n\r\n"), uint8(0))
	f.Fuzz(func(t *testing.T, path, made string, body []byte, sign uint8) {
		raw := fmt.Sprintf("POST /hook/%s HTTP/1.1\r\nHost: lockstep\r\n%s%s", path, signed(string(body), sign), made)
		if !strings.Contains(made, "Transfer-Encoding") {
			raw += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		raw += "\r\n" + string(body)
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return // The server would not let it through to a handler.
		}
		arrived, err := io.ReadAll(request.Body)
		if err != nil {
			return // Nor is a body that cannot be read ever whole.
		}
		request.Body = io.NopCloser(bytes.NewReader(arrived))
		hooks, answer := hooksWith(fuzzToken), httptest.NewRecorder()
		web.Webhook(hooks, quiet()).ServeHTTP(answer, request.WithContext(t.Context()))
		toShop := request.Method == http.MethodPost && request.URL.EscapedPath() == "/hook/shop/backend"
		right := rightlySigned(request.Header, string(arrived))
		assert.Equal(t, len(hooks.polled) == 1, answer.Code == http.StatusAccepted, "%q", raw)
		assert.Assert(t, right || len(hooks.polled) == 0, "polled: %q", raw)
		assert.Assert(t, !right || !toShop || len(hooks.polled) == 1, "not polled: %q", raw)
	})
}

// rightHeaders is every header that proves a body, in the way it is sent.
func rightHeaders(body string) [][2]string {
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	return [][2]string{
		{"X-Gitlab-Token", fuzzToken},
		{"X-Hub-Signature-256", "sha256=" + hmac256(fuzzToken, body)},
		{"X-Hub-Signature", "sha512=" + hmac512(fuzzToken, body)},
		{"X-Signature", hmac512(fuzzToken, body)},
		{"X-Gitea-Signature", hmac256(fuzzToken, body)},
		{"Webhook-Signature", "v1," + standardSum("id", timestamp, body) + "\r\nWebhook-Id: id\r\nWebhook-Timestamp: " + timestamp},
	}
}

func signed(body string, sign uint8) string {
	var header strings.Builder
	for i, pair := range rightHeaders(body) {
		if sign&(1<<i) != 0 {
			header.WriteString(pair[0] + ": " + pair[1] + "\r\n")
		}
	}
	return header.String()
}

func standardSum(id, timestamp, body string) string {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(fuzzToken, "whsec_"))
	return message256(string(key), id+"."+timestamp+"."+body)
}

// rightlySigned is the judge: it compares texts, header by header.
func rightlySigned(header http.Header, body string) bool {
	sum256, sum512 := hmac256(fuzzToken, body), hmac512(fuzzToken, body)
	texts := map[string][]string{
		"X-Gitlab-Token":      {fuzzToken},
		"X-Forgejo-Signature": {sum256},
		"X-Gitea-Signature":   {sum256},
		"X-Gogs-Signature":    {sum256},
		"X-Hub-Signature-256": {"sha256=" + sum256},
		"X-Hub-Signature":     {"sha256=" + sum256, "sha512=" + sum512},
		"X-Signature":         {"sha256=" + sum256, "sha512=" + sum512, sum256, sum512},
	}
	proofs := 0
	for name, right := range texts {
		for _, value := range header.Values(name) {
			if name == "X-Hub-Signature" && strings.HasPrefix(value, "sha1=") {
				continue
			}
			if name != "X-Gitlab-Token" {
				digits := strings.Index(value, "=") + 1
				value = value[:digits] + strings.ToLower(value[digits:])
			}
			if !slices.Contains(right, value) {
				return false
			}
			proofs++
		}
	}
	if len(header.Values("Webhook-Signature")) > 0 {
		if !rightMessage(header, body) {
			return false
		}
		proofs++
	}
	return proofs > 0
}

func rightMessage(header http.Header, body string) bool {
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if len(header.Values(name)) != 1 {
			return false
		}
	}
	id, timestamp := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	age := time.Now().Unix() - seconds
	if err != nil || age < -300 || age > 300 || strings.Contains(id, ".") {
		return false
	}
	return slices.Contains(strings.Fields(header.Get("Webhook-Signature")), "v1,"+standardSum(id, timestamp, body))
}
