package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// conversation is a session with a server and what went wrong in it first.
type conversation struct {
	transport.UploadPackSession
	notes *notes
}

func (s *Store) converse(ctx context.Context, t target) (conversation, error) {
	n := &notes{}
	if t.addr.scheme != "ssh" {
		session, err := openHTTP(s.transport(t), s.options, t.addr, t.creds, n)
		return conversation{session, n}, err
	}
	client, err := dialSSH(ctx, s.options, t.addr, t.creds, s.dir, n)
	if err != nil {
		return conversation{}, n.instead(err)
	}
	return conversation{&sshSession{sshClient: client, limit: s.options.MaxPack, notes: n}, n}, nil
}

// advertise asks a server for its branches and tags.
func (c conversation) advertise(ctx context.Context) (*packp.AdvRefs, error) {
	adv, err := c.AdvertisedReferencesContext(ctx)
	return adv, explain(c.notes, err)
}

// explain tells an error of the connection from an answer that is not git's.
func explain(n *notes, err error) error {
	if unexpected, ok := errors.AsType[*plumbing.UnexpectedError](err); ok && unexpected.Err != nil {
		err = unexpected.Err
	}
	if _, request := errors.AsType[*url.Error](err); err == nil || request || n.noted() != nil {
		return n.instead(err)
	}
	return &protocolError{err}
}

// slack is how many times its deadline a call may take before it is held to be
// stuck: a busy machine is no reason to restart.
const slack = 3

// refs asks for branches and tags, or shares what another just asked for.
func (s *Store) refs(ctx context.Context, t target, maxAge time.Duration) (Refs, error) {
	return s.polls.get(ctx, t, maxAge, func(ctx context.Context) (Refs, error) {
		defer s.options.Watch("poll of git server "+t.addr.host, slack*s.options.Timeout)()
		ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
		defer cancel()
		refs := Refs{}
		err := s.gated(ctx, t, func() (err error) {
			refs, err = s.list(ctx, t)
			return err
		})
		return refs, err
	})
}

// gated talks to a server unless it failed just now, and says how it went.
// Damage is passed on as it is: the caller clones once before it is reported.
func (s *Store) gated(ctx context.Context, t target, talk func() error) error {
	if err := s.gates.enter(t, time.Now()); err != nil {
		return err
	}
	err := talk()
	if err == nil {
		s.gates.passed(t)
		return nil
	}
	if errors.Is(err, errPack) || errors.Is(err, errObject) {
		return err
	}
	wait := time.Duration(0)
	if answer, ok := errors.AsType[*answerError](err); ok {
		wait = answer.wait
	}
	classified := s.explain(ctx, t, err)
	s.gates.failed(t, classified, wait, time.Now())
	return classified
}

// fetch brings a commit into the folder.
func (s *Store) fetch(ctx context.Context, r *repository, t target, g goal) error {
	defer s.options.Watch("fetch from git server "+t.addr.host, slack*s.options.FetchTimeout)()
	ctx, cancel := context.WithTimeout(ctx, s.options.FetchTimeout)
	defer cancel()
	return s.gated(ctx, t, func() error {
		epoch := s.polls.epoch(t)
		c, err := s.converse(ctx, t)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // The answer is here already.
		adv, err := c.advertise(ctx)
		if err != nil {
			return err
		}
		refs := readRefs(adv)
		s.polls.put(t, epoch, refs, time.Now())
		want, err := refs.wanted(g, givesAny(adv.Capabilities))
		if err != nil {
			return err
		}
		return s.download(ctx, r, c, request(adv.Capabilities, want, s.options.MaxFile), g.commit)
	})
}

// givesAny tells whether a server also gives out commits that it does not name.
func givesAny(offer *capability.List) bool {
	return offer.Supports(capability.AllowReachableSHA1InWant) || offer.Supports("allow-any-sha1-in-want")
}

// request asks for one commit without its history. Servers that can are asked
// to leave out files that would not be read anyway (G12). Setting a capability
// fails only for one that takes an argument.
func request(offer *capability.List, want plumbing.Hash, maxFile int64) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequestFromCapabilities(offer)
	req.Wants = []plumbing.Hash{want}
	if offer.Supports(capability.Shallow) {
		_ = req.Capabilities.Set(capability.Shallow)
		req.Depth = packp.DepthCommits(1)
	}
	if offer.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress)
	}
	if offer.Supports(capability.Filter) {
		_ = req.Capabilities.Set(capability.Filter)
		req.Filter = packp.FilterBlobLimit(uint64(maxFile)+1, packp.BlobLimitPrefixNone)
	}
	return req
}

// download receives the answer. Nothing of it is left on disk when it fails (G14).
func (s *Store) download(ctx context.Context, r *repository, c conversation, req *packp.UploadPackRequest, commit plumbing.Hash) (err error) {
	alone := r.worn() || req.Depth.IsZero()
	var outer *objects
	if alone {
		// Azure DevOps gives nothing to those who do not offer this. go-git
		// cannot read what it means beside what is there already.
		_ = req.Capabilities.Set(capability.MultiACK)
	} else {
		outer = r.objects
		req.Haves = append(req.Haves, r.commits...)
		req.Shallows = append(req.Shallows, r.commits...)
		// Only for packs that build upon others does git look at what a
		// shallow clone has already. go-git never asks for them itself.
		_ = req.Capabilities.Set(capability.ThinPack)
	}
	answer, err := c.UploadPack(ctx, req)
	if err != nil {
		return superseded(commit, explain(c.notes, err))
	}
	defer func() { _ = answer.Close() }() // Errors of reading have been seen.
	file, err := r.newPack()
	if err != nil {
		return storeFailed(err)
	}
	p, err := readPack(ctx, demux(req.Capabilities, answer), file, outer, c.notes)
	if err == nil {
		_, _, err = (&objects{packs: append([]*pack{p}, outer.all()...)}).find(commit)
	}
	if err != nil {
		_ = file.Close()
		return r.makeRoom(c.notes.instead(err), file.Name())
	}
	if err := r.add(p, commit, req.Filter != "", alone); err != nil {
		return storeFailed(err)
	}
	return nil
}

// superseded recognises that the branch moved between the two halves of a
// fetch: git says that it does not name the commit any more.
func superseded(commit plumbing.Hash, err error) error {
	if strings.Contains(err.Error(), "not our ref") {
		return fmt.Errorf("commit %s is no tip of the server any more: %w", commit, reconciler.ErrSuperseded)
	}
	return err
}

// makeRoom removes a pack that was not finished. On a full disk all of the
// repository goes, also for trees that are in use, which fetch it again if they
// must: a fresh clone may fit where one beside the old did not.
func (r *repository) makeRoom(err error, name string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		for _, p := range r.objects.all() {
			_ = p.file.Close()
		}
		return errors.Join(err, r.clear())
	}
	if gone := os.Remove(name); gone != nil && !errors.Is(gone, os.ErrNotExist) {
		return errors.Join(err, gone)
	}
	return err
}

// demux takes the pack out of the channels that servers mix into one stream.
func demux(agreed *capability.List, stream io.Reader) io.Reader {
	switch {
	case agreed.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, stream)
	case agreed.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, stream)
	default:
		return stream
	}
}
