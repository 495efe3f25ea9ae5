package gitrepo

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// G8: the pause doubles, has a limit, and is never the same for two daemons.
func TestPause(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 30 * time.Second, 100: 30 * time.Second} {
		assert.Equal(t, pause(failures, 30*time.Second, 1), want, "after %d failures", failures)
		assert.Equal(t, pause(failures, 30*time.Second, 0), want/2)
	}
}

// G8: trouble of a host pauses all who ask it, a quota only those with the
// same credentials, and success ends both.
func TestGates(t *testing.T) {
	now := time.Now()
	ada := target{addr: address{scheme: "https", host: "a.example"}, id: "ada"}
	bob := target{addr: address{scheme: "https", host: "a.example"}, id: "bob"}
	other := target{addr: address{scheme: "https", host: "b.example"}, id: "other"}
	for name, test := range map[string]struct {
		reason  string
		wait    time.Duration
		ada     time.Duration
		stopBob bool
	}{
		"an outage":               {ReasonUnreachable, 0, time.Second, true},
		"a timeout":               {ReasonTimeout, 0, time.Second, true},
		"an error with a time":    {ReasonServerError, time.Minute, time.Minute, true},
		"a quota":                 {ReasonRateLimited, time.Minute, time.Minute, false},
		"a wrong password":        {ReasonAuthenticationFailed, time.Minute, 0, false},
		"a missing repository":    {ReasonRepositoryNotFound, 0, 0, false},
		"an empty repository":     {ReasonEmptyRepository, 0, 0, false},
		"a certificate of theirs": {ReasonCertificateInvalid, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := gates{entries: map[string]*gate{}, limit: time.Hour}
			g.failed(ada, reconciler.Transient(test.reason, errors.New("trouble")), test.wait, now)
			err := g.enter(ada, now)
			assert.Equal(t, err != nil, test.ada > 0)
			if err != nil {
				assert.ErrorContains(t, err, "not asked again for")
				assert.ErrorContains(t, err, "after: trouble")
				assert.Equal(t, reconciler.ReasonOf(err, ""), test.reason)
				assert.Assert(t, !reconciler.IsTerminal(err))
			}
			assert.NilError(t, g.enter(ada, now.Add(test.ada)))
			assert.Equal(t, g.enter(bob, now) != nil, test.stopBob)
			assert.NilError(t, g.enter(other, now))
			g.passed(ada)
			assert.NilError(t, g.enter(ada, now))
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing":             {http.Header{}, 0},
		"seconds":             {http.Header{"Retry-After": {"120"}}, 2 * time.Minute},
		"a date":              {http.Header{"Retry-After": {"Thu, 01 Jan 2026 00:01:00 GMT"}}, time.Minute},
		"a date in the past":  {http.Header{"Retry-After": {"Thu, 01 Jan 2020 00:01:00 GMT"}}, 0},
		"less than nothing":   {http.Header{"Retry-After": {"-5"}}, 0},
		"ten years":           {http.Header{"Retry-After": {"315360000"}}, maxWait},
		"more than a number":  {http.Header{"Retry-After": {"99999999999999999999"}}, 0},
		"a word":              {http.Header{"Retry-After": {"soon"}}, 0},
		"a quota of GitHub":   {http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1767225660"}}, time.Minute},
		"a quota that is not": {http.Header{"X-Ratelimit-Remaining": {"9"}, "X-Ratelimit-Reset": {"1767225660"}}, 0},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, retryAfter(test.header, now), test.want) })
	}
}

// G21: what is repeated of a server's text.
func TestQuoteText(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"plain":                      {"hello", "hello"},
		"spaces and lines":           {"\r\n a  b\n\tc \n", "a b c"},
		"colours and bells":          {"\x1b[31mred\x07\x00", "[31mred"},
		"text that runs backwards":   {"a\u202eb\u200bc", "abc"},
		"bytes that are no text":     {"a\xff\xfeb", "ab"},
		"a secret":                   {"it is s3cret-word!", "it is ***!"},
		"a secret with a stray byte": {"it is s3cret\x00-word!", "it is ***!"},
		"a short secret stays":       {"abc", "abc"},
		"long":                       {strings.Repeat("ä", 300), strings.Repeat("ä", 200) + "…"},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, quoteText(test.text, []string{"s3cret-word", "abc"}), test.want) })
	}
}

// The path of an ssh URL becomes one word for the shell at the other end.
func TestShellQuote(t *testing.T) {
	for path, want := range map[string]string{
		"/app.git": `'/app.git'`, "/it's": `'/it'\''s'`, "/a!b": `'/a'\!'b'`, "/$(x) `y`": "'/$(x) `y`'", "~me/app": `'~me/app'`,
	} {
		assert.Equal(t, shellQuote(path), want)
	}
}

func TestAddresses(t *testing.T) {
	for raw, want := range map[string]struct{ text, hostPort, path string }{
		"https://Git.Example/App.git":      {"https://git.example/App.git", "git.example:443", "/App.git"},
		"http://git.example:8080/a%20b":    {"http://git.example:8080/a%20b", "git.example:8080", "/a b"},
		"ssh://git.example/app.git":        {"ssh://git@git.example/app.git", "git.example:22", "/app.git"},
		"ssh://me@git.example:2222/~me/x":  {"ssh://me@git.example:2222/~me/x", "git.example:2222", "~me/x"},
		"https://[2001:db8::1]:8443/a.git": {"https://[2001:db8::1]:8443/a.git", "[2001:db8::1]:8443", "/a.git"},
		"https://git.example/app.git//":    {"https://git.example/app.git", "git.example:443", "/app.git"},
		"https://[2001:db8::1]/a.git":      {"https://[2001:db8::1]/a.git", "[2001:db8::1]:443", "/a.git"},
	} {
		addr, err := parseAddress(raw)
		assert.NilError(t, err)
		assert.Equal(t, addr.String(), want.text)
		assert.Equal(t, addr.hostPort(), want.hostPort)
		assert.Equal(t, addr.remotePath(), want.path)
	}
}

// The name of a folder must not tell whether a password was guessed right.
func TestFingerprintIsKeyed(t *testing.T) {
	addr := address{scheme: "https", host: "git.example", path: "/a"}
	secret := reconciler.Secret{"username": []byte("ada"), "password": []byte("x")}
	one := fingerprint([]byte("one"), addr, secret)
	assert.Equal(t, fingerprint([]byte("one"), addr, reconciler.Secret{"password": []byte("x"), "username": []byte("ada")}), one)
	assert.Assert(t, fingerprint([]byte("two"), addr, secret) != one)
	assert.Assert(t, fingerprint([]byte("one"), addr, reconciler.Secret{"username": []byte("adap"), "assword": []byte("x")}) != one)
	assert.Assert(t, fingerprint([]byte("one"), addr, nil) != one)
}

// G4: a list of references that is cut off is an error, wherever it ends.
func TestReadListing(t *testing.T) {
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 40)
	whole := "003d" + one + " refs/heads/main\n" + "006b" + one + " refs/tags/v1 peeled:" + two + "\n0000"
	whole = strings.Replace(whole, "006b", fmt.Sprintf("%04x", 4+len(one+" refs/tags/v1 peeled:"+two+"\n")), 1)
	refs, err := readListing(strings.NewReader(whole))
	assert.NilError(t, err)
	assert.DeepEqual(t, refs, Refs{Branches: map[string]string{"main": one}, Tags: map[string]Tag{"v1": {Object: one, Commit: two}}})
	for end := range whole {
		_, err := readListing(strings.NewReader(whole[:end]))
		assert.Assert(t, err != nil, "cut off at %d", end)
	}
	for name, text := range map[string]string{
		"a short hash": "0015" + "abc refs/heads/x\n" + "0000", "no name": "002d" + one + "\n0000",
		"an error": "000cERR nope", "junk": "zzzz", "unborn": "0015unborn HEAD abcd\n0000",
	} {
		_, err := readListing(strings.NewReader(text))
		assert.Assert(t, err != nil, name)
	}
}
