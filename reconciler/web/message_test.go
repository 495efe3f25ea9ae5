package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/web"
)

func message256(key, text string) string {
	return base64.StdEncoding.EncodeToString(mac(sha256.New, key, text))
}

// message signs as Standard Webhooks does, with the bytes of the key.
func message(key string, at time.Time, body string) http.Header {
	const id = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"
	timestamp := strconv.FormatInt(at.Unix(), 10)
	return headers("Webhook-Id", id, "Webhook-Timestamp", timestamp,
		"Webhook-Signature", "v1,"+message256(key, id+"."+timestamp+"."+body))
}

func with(header http.Header, name string, values ...string) http.Header {
	header[name] = values
	return header
}

// TestSignedMessage covers GitLab's signing token. The example is the one of
// the libraries of Standard Webhooks, at its time.
func TestSignedMessage(t *testing.T) {
	const token = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	const body = `{"test": 2432232314}`
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(token, "whsec_"))
	assert.NilError(t, err)
	key, now := string(raw), time.Unix(1614265330, 0)
	other := message("another key of the service", now, body).Get("Webhook-Signature")
	example := headers("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330",
		"webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	right := message(key, now, body).Get("Webhook-Signature")
	dotted := message256(key, "a.b.1614265330."+body)
	for name, test := range map[string]struct {
		token   string
		headers http.Header
		body    string
		status  int
	}{
		"the published example":              {token, example, body, 202},
		"four minutes late":                  {token, message(key, now.Add(-4*time.Minute), body), body, 202},
		"six minutes late":                   {token, message(key, now.Add(-6*time.Minute), body), body, 401},
		"six minutes early":                  {token, message(key, now.Add(6*time.Minute), body), body, 401},
		"signed with two keys, ours second":  {token, with(message(key, now, body), "Webhook-Signature", other+" "+right), body, 202},
		"signed with Ed25519 too":            {token, with(message(key, now, body), "Webhook-Signature", "v1a,AAAA "+right), body, 202},
		"with the same token sent plainly":   {token, with(message(key, now, body), "X-Gitlab-Token", token), body, 202},
		"with another token sent plainly":    {token, with(message(key, now, body), "X-Gitlab-Token", "another token"), body, 401},
		"signed with Ed25519 only":           {token, with(message(key, now, body), "Webhook-Signature", "v1a,AAAA"), body, 401},
		"signed with another key":            {token, with(message(key, now, body), "Webhook-Signature", other), body, 401},
		"signed with the text of the token":  {token, message(token, now, body), body, 401},
		"an empty signature":                 {token, with(message(key, now, body), "Webhook-Signature", ""), body, 401},
		"a signature of no bytes":            {token, with(message(key, now, body), "Webhook-Signature", "v1,"), body, 401},
		"the body changed":                   {token, message(key, now, body), body + " ", 401},
		"another id":                         {token, with(message(key, now, body), "Webhook-Id", "msg_2"), body, 401},
		"another time":                       {token, with(message(key, now, body), "Webhook-Timestamp", "1614265331"), body, 401},
		"no id":                              {token, with(message(key, now, body), "Webhook-Id"), body, 401},
		"two ids":                            {token, with(message(key, now, body), "Webhook-Id", "a", "b"), body, 401},
		"no time":                            {token, with(message(key, now, body), "Webhook-Timestamp"), body, 401},
		"a time that is no number":           {token, with(message(key, now, body), "Webhook-Timestamp", "now"), body, 401},
		"two signatures in two headers":      {token, with(message(key, now, body), "Webhook-Signature", right, right), body, 401},
		"an id with a dot, rightly signed":   {token, headers("Webhook-Id", "a.b", "Webhook-Timestamp", "1614265330", "Webhook-Signature", "v1,"+dotted), body, 401},
		"a token without its mark":           {key, message(key, now, body), body, 401},
		"a token that is no base64":          {"whsec_!!!!!!!!", message("!!!!!!!!", now, body), body, 401},
		"a token that holds an empty key":    {"whsec_", message("", now, body), body, 401},
		"a token that holds a key too short": {"whsec_YWJj", message("abc", now, body), body, 401},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				<-time.After(time.Until(now))
				hooks := hooksWith(test.token)
				answer := post(t, web.Webhook(hooks, quiet()), "/hook/shop/backend", test.headers, strings.NewReader(test.body))
				assert.Equal(t, answer.Code, test.status)
				assert.Equal(t, len(hooks.polled) == 1, test.status == 202)
			})
		})
	}
}
