package gitrepo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// go-git speaks only the first version of git's protocol, in which a server
// lists every reference it has, those of all pull requests ever made included.
// In version 2 it lists what is asked for. That is all of version 2 that is
// spoken here: fetching is the same in both, as far as one commit is concerned.
const (
	versionHeader = "Git-Protocol"
	version2      = "version=2"
	// listing asks for branches and tags, and what stands behind annotated tags.
	listing = "0014command=ls-refs\n" + "0001" + "0009peel\n" + "001bref-prefix refs/heads/\n" + "001aref-prefix refs/tags/\n" + "0000"
	// preamble is what smart servers say before anything else; some leave it out in version 2.
	preamble = "001e# service=git-upload-pack\n0000"
	greeting = "000eversion 2\n"
)

// list asks a server for its branches and tags.
func (s *Store) list(ctx context.Context, t target) (Refs, error) {
	if t.addr.scheme != "ssh" {
		return s.listHTTP(ctx, t)
	}
	c, err := s.converse(ctx, t)
	if err != nil {
		return Refs{}, err
	}
	defer func() { _ = c.Close() }() // The answer is here already.
	adv, err := c.advertise(ctx)
	if err != nil {
		return Refs{}, err
	}
	return readRefs(adv), nil
}

// listHTTP asks at once in the version that the server spoke last time. Where
// that is not known, or does not work any more, another request finds out: the
// repository may have been renamed, or the server replaced.
func (s *Store) listHTTP(ctx context.Context, t target) (Refs, error) {
	place := s.polls.place(t)
	if place != "" {
		n := &notes{}
		refs, err := s.lister(t, n).list(ctx, place)
		if err == nil || n.noted() != nil {
			return refs, explain(n, err)
		}
	}
	n := &notes{}
	l := s.lister(t, n)
	refs, place, err := l.discover(ctx)
	if err == nil && place != "" {
		refs, err = l.list(ctx, place)
	}
	if err != nil {
		place = ""
	}
	s.polls.setPlace(t, place)
	return refs, explain(n, err)
}

func (s *Store) lister(t target, n *notes) lister {
	return lister{target: t, client: newClient(s.transport(t), s.options, maxRefs, n)}
}

type lister struct {
	client *http.Client
	target target
}

// discover returns the references if the server speaks the first version, or
// else the place to ask for them.
func (l lister) discover(ctx context.Context) (refs Refs, place string, err error) {
	res, err := l.send(ctx, http.MethodGet, l.target.addr.String()+"/info/refs?service=git-upload-pack", nil)
	if err != nil {
		return Refs{}, "", err
	}
	defer func() { _ = res.Body.Close() }() // Errors of reading have been seen.
	body := bufio.NewReader(res.Body)
	start, _ := body.Peek(len(preamble) + len(greeting)) // A short answer is judged by what it is.
	if strings.HasPrefix(strings.TrimPrefix(string(start), preamble), greeting) {
		// The repository may have been found at another path.
		to := *res.Request.URL
		to.RawQuery, to.Path, to.RawPath = "", strings.TrimSuffix(to.Path, "/info/refs"), strings.TrimSuffix(to.RawPath, "/info/refs")
		_, err := io.Copy(io.Discard, body)
		return Refs{}, to.String(), err
	}
	adv := packp.NewAdvRefs()
	if err := adv.Decode(body); err != nil {
		return Refs{}, "", emptyOr(err)
	}
	if adv.IsEmpty() {
		return Refs{}, "", transport.ErrEmptyRemoteRepository
	}
	return readRefs(adv), "", nil
}

// emptyOr recognises how servers say that there is no reference.
func emptyOr(err error) error {
	if errors.Is(err, packp.ErrEmptyAdvRefs) {
		return transport.ErrEmptyRemoteRepository
	}
	return err
}

// list asks for references in version 2.
func (l lister) list(ctx context.Context, place string) (Refs, error) {
	res, err := l.send(ctx, http.MethodPost, place+"/git-upload-pack", strings.NewReader(listing))
	if err != nil {
		return Refs{}, err
	}
	defer func() { _ = res.Body.Close() }() // Errors of reading have been seen.
	return readListing(res.Body)
}

// readListing reads an answer in version 2. Without its end it is an error:
// a branch must not be taken for deleted because an answer was cut off (G4).
func readListing(body io.Reader) (Refs, error) {
	refs := Refs{Branches: map[string]string{}, Tags: map[string]Tag{}}
	scanner := pktline.NewScanner(body)
	for scanner.Scan() {
		line := strings.TrimSuffix(string(scanner.Bytes()), "\n")
		if line == "" {
			if len(refs.Branches)+len(refs.Tags) == 0 {
				return Refs{}, transport.ErrEmptyRemoteRepository
			}
			return refs, nil
		}
		if err := refs.add(line); err != nil {
			return Refs{}, err
		}
	}
	if err := scanner.Err(); err != nil {
		return Refs{}, err
	}
	return Refs{}, io.ErrUnexpectedEOF
}

// add reads "HASH NAME" or "HASH NAME peeled:HASH".
func (r Refs) add(line string) error {
	words := strings.Split(line, " ")
	if len(words) < 2 || !plumbing.IsHash(words[0]) {
		return fmt.Errorf("%q is no reference", shorten(line))
	}
	hash, name := words[0], words[1]
	commit := hash
	for _, attribute := range words[2:] {
		if peeled, ok := strings.CutPrefix(attribute, "peeled:"); ok && plumbing.IsHash(peeled) {
			commit = peeled
		}
	}
	if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
		r.Branches[branch] = hash
	} else if tag, ok := strings.CutPrefix(name, "refs/tags/"); ok {
		r.Tags[tag] = Tag{Object: hash, Commit: commit}
	}
	return nil
}

func (l lister) send(ctx context.Context, method, url string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set(versionHeader, version2)
	req.Header.Set("Accept", "*/*")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	}
	if auth, ok := l.target.creds.auth().(githttp.AuthMethod); ok {
		auth.SetAuth(req)
	}
	res, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // It is a redirect without a target.
		return nil, &answerError{status: res.StatusCode}
	}
	return res, nil
}
