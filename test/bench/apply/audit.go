package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// request is what the API server has noted of one.
type request struct {
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	ObjectRef  struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
}

// dry tells whether nothing was written.
func (r request) dry() bool { return strings.Contains(r.RequestURI, "dryRun=All") }

// kind of the request, in words.
func (r request) kind() string {
	words := []string{r.Verb, r.ObjectRef.Resource}
	if r.ObjectRef.Resource == "" {
		words[1] = r.RequestURI
	}
	if r.ObjectRef.Subresource != "" {
		words[1] += "/" + r.ObjectRef.Subresource
	}
	if r.dry() {
		words = append(words, "dry")
	}
	return strings.Join(words, " ")
}

// ledger is the audit log from one moment on.
type ledger struct {
	path string
	file *os.File
}

// listen begins with what is asked from now on.
func (w *world) listen() (*ledger, error) {
	file, err := os.Open(w.audit)
	if err != nil {
		return nil, err
	}
	_, err = file.Seek(0, io.SeekEnd)
	return &ledger{w.audit, file}, err
}

// requests are those of the daemon since then that are done. The log is a new
// file when the old one has become too large.
func (l *ledger) requests(ctx context.Context) ([]request, error) {
	defer func() { _ = l.file.Close() }()
	// The log may be a little late.
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return nil, err
	}
	found, err := daemonRequests(l.file)
	if err != nil {
		return nil, err
	}
	current, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = current.Close() }()
	before, errBefore := l.file.Stat()
	now, errNow := current.Stat()
	if err := errors.Join(errBefore, errNow); err != nil || os.SameFile(before, now) {
		return found, err
	}
	more, err := daemonRequests(current)
	return append(found, more...), err
}

func daemonRequests(log io.Reader) ([]request, error) {
	var found []request
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(line, []byte(`"userAgent":"lockstep/`)) {
			continue
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, err
		}
		if r.Stage == "ResponseComplete" {
			found = append(found, r)
		}
	}
}

// tally counts requests by kind, for people.
func tally(requests []request) string {
	counts := map[string]int{}
	for _, r := range requests {
		counts[r.kind()]++
	}
	var words []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, kind+" × "+strconv.Itoa(counts[kind]))
	}
	return strings.Join(words, ", ")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
