// Package httpcheck asks the workload over HTTP whether it does what it was
// rolled out for.
package httpcheck

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Bounds of one request.
const (
	requestTimeout = 5 * time.Second
	maxBody        = 64 << 10
)

// Client makes the requests. The zero value is not usable: use New.
type Client struct {
	http *http.Client
}

var _ reconciler.HTTPClient = (*Client)(nil)

// New returns a client that dials with the given function, or as usual when
// it is nil. It follows no redirect: a check is of one Service, not of what
// that Service points to.
func New(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Client {
	return &Client{http: &http.Client{
		Timeout:   requestTimeout,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// Check makes one GET and compares the answer with what is expected. The
// error names the Service and what it answered, never the body.
func (c *Client) Check(ctx context.Context, namespace string, check v1alpha1.HTTPCheck) error {
	host := net.JoinHostPort(check.Service+"."+namespace+".svc", strconv.Itoa(int(check.Port)))
	what := fmt.Sprintf("GET http://%s%s", host, check.Path)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+check.Path, nil)
	if err != nil {
		return reconciler.Terminalf("CheckInvalid", "verify.http of Service %s: path %q: %w", check.Service, check.Path, err)
	}
	request.Header.Set("User-Agent", "lockstep-verify")
	answer, err := c.http.Do(request)
	if err != nil {
		return reconciler.Transientf("CheckFailed", "%s: %w", what, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != int(check.Expect.Status) {
		return reconciler.Transientf("CheckFailed", "%s: status %d, expected %d", what, answer.StatusCode, check.Expect.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return reconciler.Transientf("CheckFailed", "%s: read the body: %w", what, err)
	}
	if !strings.Contains(string(body), check.Expect.Contains) {
		return reconciler.Transientf("CheckFailed", "%s: the body does not contain %q", what, check.Expect.Contains)
	}
	return nil
}
