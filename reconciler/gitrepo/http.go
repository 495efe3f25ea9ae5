package gitrepo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

const (
	// maxErrorBody is read of an answer that is not a success (G21).
	maxErrorBody = 4 << 10
	// errorBodyTime is waited for that.
	errorBodyTime = 2 * time.Second
	// maxRefs bounds the list of branches and tags. A reference takes about 60 bytes.
	maxRefs = 32 << 20
	// maxWait bounds what a server can ask for in Retry-After.
	maxWait = time.Hour
)

// newTransport makes the transport for one set of TLS credentials.
func newTransport(o Options, c credentials) *http.Transport {
	dialer := &net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}
	if c.client != nil {
		config.Certificates = []tls.Certificate{*c.client}
	}
	return &http.Transport{
		Proxy:                  o.Proxy,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    o.Timeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// openHTTP prepares a conversation. Nothing is sent yet. The client is made
// for it alone: go-git's registry of protocols is process-wide and stays as it is.
func openHTTP(base http.RoundTripper, o Options, addr address, c credentials, n *notes) (transport.UploadPackSession, error) {
	git := githttp.NewClientWithOptions(newClient(base, o, o.MaxPack, n), &githttp.ClientOptions{RedirectPolicy: githttp.FollowInitialRedirects})
	u := url.URL{Host: addr.host}
	port, _ := strconv.Atoi(u.Port())
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return git.NewUploadPackSession(&transport.Endpoint{Protocol: addr.scheme, Host: host, Port: port, Path: addr.path}, c.auth())
}

// newClient makes a client whose answers are bounded; those to a POST by maxPost bytes.
func newClient(base http.RoundTripper, o Options, maxPost int64, n *notes) *http.Client {
	return &http.Client{Transport: &guard{base: base, silence: o.Timeout, maxPost: maxPost, notes: n}, CheckRedirect: stayOnHost}
}

// stayOnHost refuses to be sent to another host or port (G16). The step from
// http to https on the usual ports is taken.
func stayOnHost(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	if len(via) >= 10 {
		return fmt.Errorf("%w: too many redirects", errRedirect)
	}
	if via[0].Method == http.MethodPost {
		return fmt.Errorf("%w: in answer to a POST", errRedirect)
	}
	same := strings.EqualFold(from.Hostname(), to.Hostname())
	upgrade := from.Scheme == "http" && to.Scheme == "https" && from.Port() == "" && to.Port() == ""
	if same && (upgrade || from.Scheme == to.Scheme && from.Port() == to.Port()) {
		return nil
	}
	return fmt.Errorf("%w: %s", errRedirect, to.Host)
}

// guard is what stands between go-git and a server: it bounds every answer in
// time and size, and turns answers that are not a success into errors before
// go-git reads them whole.
type guard struct {
	base    http.RoundTripper
	silence time.Duration
	maxPost int64
	notes   *notes
}

// RoundTrip sends one request.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	silence := time.AfterFunc(g.silence, func() { cancel(errSilent) })
	res, err := g.base.RoundTrip(req.WithContext(ctx)) // The body is wrapped below and closed by the caller.
	silence.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = fmt.Errorf("%w for %s", errSilent, g.silence)
		}
		cancel(nil)
		return nil, g.notes.keep(err)
	}
	body := &watchedBody{ReadCloser: res.Body, guard: g, ctx: ctx, cancel: cancel, silence: silence, left: g.limit(req)}
	if res.StatusCode >= 200 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified {
		res.Body = body
		return res, nil
	}
	answer := &answerError{status: res.StatusCode, wait: retryAfter(res.Header, time.Now())}
	silence.Reset(errorBodyTime)
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // What was read of the text is enough.
	answer.text = string(text)
	_ = body.Close()
	return nil, g.notes.keep(answer)
}

func (g *guard) limit(req *http.Request) int64 {
	if req.Method == http.MethodPost {
		return g.maxPost
	}
	return maxRefs
}

// watchedBody ends an answer that is too large or falls silent (G7).
type watchedBody struct {
	io.ReadCloser
	guard   *guard
	ctx     context.Context // It is the context of the request whose body this is.
	cancel  context.CancelCauseFunc
	silence *time.Timer
	left    int64
}

// Read reads from the answer.
func (b *watchedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.guard.notes.keep(errAnswerBig)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	b.silence.Reset(b.guard.silence)
	n, err := b.ReadCloser.Read(p)
	b.silence.Stop()
	b.left -= int64(n)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if errors.Is(context.Cause(b.ctx), errSilent) {
		err = fmt.Errorf("%w for %s", errSilent, b.guard.silence)
	}
	return n, b.guard.notes.keep(err)
}

// Close ends the request.
func (b *watchedBody) Close() error {
	b.silence.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// retryAfter reads how long a server wants to be left alone. GitHub says it in
// other headers when a quota is used up.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	var wait time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	} else if header.Get("X-Ratelimit-Remaining") == "0" {
		if at, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
			wait = time.Unix(at, 0).Sub(now)
		}
	}
	return min(max(wait, 0), maxWait)
}
