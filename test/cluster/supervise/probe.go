package supervise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"
)

// Probe asks the API server whether it is ready.
type Probe struct {
	URL         string `json:"url"`
	Authority   string `json:"authority"`   // PEM
	Certificate string `json:"certificate"` // PEM, of a user that may ask
	Key         string `json:"key"`         // PEM
}

// Client returns an HTTP client that trusts the authority and shows the
// certificate.
func (p Probe) Client() (*http.Client, error) {
	pair, err := tls.X509KeyPair([]byte(p.Certificate), []byte(p.Key))
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(p.Authority)) {
		return nil, fmt.Errorf("authority: no certificate in it")
	}
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}},
	}, nil
}

// wait asks until the answer is yes, and returns false when the context ends
// first.
func (p Probe) wait(ctx context.Context) bool {
	client, err := p.Client()
	if err != nil {
		return false
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !p.ask(ctx, client) {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

func (p Probe) ask(ctx context.Context, client *http.Client) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode == http.StatusOK
}
