// Package api is the little of the Kubernetes API that bringing up a cluster
// needs. It keeps the command free of dependencies.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Server is one API server, asked as one user.
type Server struct {
	URL    string // for example "https://127.0.0.1:6443"
	Client *http.Client
}

// Get returns the body of a 200 answer.
func (s Server) Get(ctx context.Context, path string) ([]byte, error) {
	return s.do(ctx, http.MethodGet, path, nil)
}

// Apply makes the object what the JSON body says, and creates it if need be.
func (s Server) Apply(ctx context.Context, path string, body []byte) error {
	_, err := s.do(ctx, http.MethodPatch, path+"?fieldManager=test-cluster&force=true", body)
	return err
}

func (s Server) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	request.Header.Set("Content-Type", "application/apply-patch+yaml")
	response, err := s.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, message(text))
	}
	return text, nil
}

// message is the human part of an error answer.
func message(text []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(text, &status) == nil && status.Message != "" {
		return status.Message
	}
	return strings.TrimSpace(string(text))
}

// NodeReady tells whether the JSON of a Node has the condition Ready.
func NodeReady(node []byte) bool {
	var n struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if json.Unmarshal(node, &n) != nil {
		return false
	}
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// Until tries until it succeeds or the context ends, and then returns the last
// failure: it says more than that time is up.
func Until(ctx context.Context, try func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
