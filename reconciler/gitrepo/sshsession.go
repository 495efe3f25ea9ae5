package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// sshSession is git's conversation over SSH, as go-git knows sessions.
type sshSession struct {
	*sshClient
	refs  *packp.AdvRefs
	limit int64
	notes *notes
}

// AdvertisedReferences is there for go-git's interface.
func (s *sshSession) AdvertisedReferences() (*packp.AdvRefs, error) { return s.refs, nil }

// AdvertisedReferencesContext reads the branches and tags of the server.
func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	if err := refs.Decode(&limitedReader{r: s.stdout, left: maxRefs, notes: s.notes}); err != nil {
		return nil, s.explain(err)
	}
	if refs.IsEmpty() {
		return nil, transport.ErrEmptyRemoteRepository
	}
	transport.FilterUnsupportedCapabilities(refs.Capabilities)
	s.refs = refs
	return refs, nil
}

// UploadPack asks for objects. Without an answer to the references this is
// also how a server is told good-bye.
func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := s.ask(req); err != nil {
		return nil, s.explain(err)
	}
	res := packp.NewUploadPackResponse(req)
	body := &limitedReader{r: s.stdout, left: s.limit, notes: s.notes}
	if err := res.Decode(io.NopCloser(body)); err != nil {
		return nil, s.explain(err)
	}
	return res, nil
}

func (s *sshSession) ask(req *packp.UploadPackRequest) error {
	if err := req.UploadRequest.Encode(s.stdin); err != nil {
		return err
	}
	if err := req.UploadHaves.Encode(s.stdin, true); err != nil {
		return err
	}
	if err := pktline.NewEncoder(s.stdin).EncodeString("done\n"); err != nil {
		return err
	}
	return s.stdin.Close()
}

// explain finds the reason for a conversation that ended early: what git said
// on the side, or the exit status.
func (s *sshSession) explain(err error) error {
	if line, ok := errors.AsType[*pktline.ErrorLine](err); ok {
		return notFoundOr(line.Text, err)
	}
	if errors.Is(err, packp.ErrEmptyAdvRefs) {
		return transport.ErrEmptyRemoteRepository
	}
	if !errors.Is(err, packp.ErrEmptyInput) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	text := s.lastWords()
	if text == "" {
		return fmt.Errorf("%w: %w", errNoEnd, err)
	}
	return notFoundOr(text, fmt.Errorf("%w: %s", errNoEnd, text))
}

// lastWords waits a moment for the text that belongs to an early end: it
// arrives on its own way and may be late.
func (s *sshSession) lastWords() string {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.session.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(errorBodyTime):
	}
	return s.stderr.String()
}

// notFoundOr recognises what servers say of a repository that is not there.
func notFoundOr(text string, err error) error {
	lower := strings.ToLower(text)
	for _, words := range []string{"not found", "does not exist", "does not appear to be a git repository", "no such repository", "could not be found"} {
		if strings.Contains(lower, words) {
			return fmt.Errorf("%w: %s", transport.ErrRepositoryNotFound, text)
		}
	}
	return err
}

// limitedReader ends an answer that is too large.
type limitedReader struct {
	r     io.Reader
	left  int64
	notes *notes
}

// Read reads from the answer.
func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, l.notes.keep(errAnswerBig)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
