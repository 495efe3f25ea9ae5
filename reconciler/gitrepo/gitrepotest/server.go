// Package gitrepotest starts real git servers for tests: git http-backend
// behind net/http, and sshd. They can be told to misbehave.
package gitrepotest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Server is a git server over HTTP or HTTPS.
type Server struct {
	// URL without a path.
	URL string
	// Root is the folder of the repositories.
	Root string

	server *httptest.Server
	tls    bool
	client *x509.CertPool

	mu          sync.Mutex
	user, pass  string
	bearer      string
	misbehave   Misbehaviour
	requests    []Request
	concurrent  int
	mostAtATime int
}

// Request is what a client asked for.
type Request struct {
	// Method, Path and Query of the request.
	Method, Path, Query string
	// Authorization and Protocol are the headers, empty for none.
	Authorization, Protocol string
}

// Option sets up a Server.
type Option func(*Server)

// WithBasicAuth asks for a user and password.
func WithBasicAuth(user, pass string) Option { return func(s *Server) { s.user, s.pass = user, pass } }

// WithBearer asks for a bearer token.
func WithBearer(token string) Option { return func(s *Server) { s.bearer = token } }

// WithTLS serves https with a certificate of the test.
func WithTLS() Option { return func(s *Server) { s.tls = true } }

// WithClientCA serves https and asks for a client certificate of this CA, in PEM.
func WithClientCA(ca []byte) Option {
	return func(s *Server) {
		s.tls, s.client = true, x509.NewCertPool()
		s.client.AppendCertsFromPEM(ca)
	}
}

// New starts a server. It ends with the test.
func New(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{Root: t.TempDir()}
	for _, option := range options {
		option(s)
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve(backend(t, s.Root))))
	if s.tls {
		s.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		if s.client != nil {
			s.server.TLS.ClientAuth, s.server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, s.client
		}
		s.server.StartTLS()
	} else {
		s.server.Start()
	}
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	s.URL = s.server.URL
	return s
}

// backend runs git's own server program for each request.
func backend(t testing.TB, root string) http.Handler {
	t.Helper()
	path, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git is needed for this test: %s", err)
	}
	return &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "HOME=" + root,
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
		Stderr: os.Stderr,
	}
}

func (s *Server) serve(git http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, pass, bearer, misbehave := s.begin(r)
		defer s.end()
		if misbehave != nil && misbehave(w, r, git) {
			return
		}
		gotUser, gotPass, _ := r.BasicAuth()
		if user != "" && (gotUser != user || gotPass != pass) || bearer != "" && r.Header.Get("Authorization") != "Bearer "+bearer {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(w, r)
	}
}

func (s *Server) begin(r *http.Request) (user, pass, bearer string, misbehave Misbehaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("Git-Protocol")})
	s.concurrent++
	s.mostAtATime = max(s.mostAtATime, s.concurrent)
	return s.user, s.pass, s.bearer, s.misbehave
}

func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.concurrent--
}

// SetBasicAuth changes the user and password.
func (s *Server) SetBasicAuth(user, pass string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.pass = user, pass
}

// Misbehave makes the server do something else, nil to behave again.
func (s *Server) Misbehave(how Misbehaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.misbehave = how
}

// Requests are all requests so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Count counts the requests whose path or query contains part.
func (s *Server) Count(part string) int {
	n := 0
	for _, r := range s.Requests() {
		if strings.Contains(r.Path+"?"+r.Query, part) {
			n++
		}
	}
	return n
}

// Fetches counts the requests for a pack.
func (s *Server) Fetches() int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost && r.Protocol == "" {
			n++
		}
	}
	return n
}

// Polls counts the requests for references that were made to learn them, and
// not as the first part of a fetch.
func (s *Server) Polls() int {
	n := 0
	for _, r := range s.Requests() {
		if r.Protocol != "" {
			n++
		}
	}
	return n
}

// CA is the certificate that a client must trust, in PEM.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
}

// CloseConnections cuts all connections, as a proxy that restarts does.
func (s *Server) CloseConnections() { s.server.CloseClientConnections() }
