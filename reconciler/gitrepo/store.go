package gitrepo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

var _ reconciler.Source = (*Store)(nil)

// Store asks git servers and keeps what was fetched from them. It may be used
// by many at once.
type Store struct {
	options Options
	dir     string
	// key keeps fingerprints of credentials from being compared with anything
	// outside this process.
	key    []byte
	shared *http.Transport
	polls  polls
	gates  gates

	mu           sync.Mutex
	repositories map[string]*repository
	transports   map[string]*http.Transport
	// serial keeps the folder of a repository apart from that of a dropped one.
	serial int
}

// New makes a Store on an empty folder. What an earlier process left there is
// removed, finished or not: it is one shallow fetch away, and a crash may have
// cut it off anywhere (G10, G13).
func New(options Options) (*Store, error) {
	options = options.withDefaults()
	if options.Dir == "" {
		return nil, errors.New("git store: no folder given")
	}
	dir := filepath.Join(options.Dir, "repositories")
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("git store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("git store: %w", err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // It never fails, and ends the process if it does.
	return &Store{
		options:      options,
		dir:          dir,
		key:          key,
		shared:       newTransport(options, credentials{}),
		polls:        polls{changed: options.Changed, entries: map[string]*poll{}},
		gates:        gates{entries: map[string]*gate{}, limit: options.MaxBackoff},
		repositories: map[string]*repository{},
		transports:   map[string]*http.Transport{},
	}, nil
}

// Resolve asks the server where a reference leads. All who ask for the same URL
// with the same credentials share one request, whatever they follow: an answer
// that is younger than MaxAge is given again.
func (s *Store) Resolve(ctx context.Context, repo reconciler.Repository) (reconciler.Tip, error) {
	t, err := s.target(repo)
	if err != nil {
		return reconciler.Tip{}, err
	}
	refs, err := s.refs(ctx, t, repo.MaxAge)
	if err != nil {
		return reconciler.Tip{}, err
	}
	tip, err := Resolve(refs, repo.Reference)
	if err != nil {
		return reconciler.Tip{}, fmt.Errorf("git server %s: %w", t.addr.host, err)
	}
	return tip, nil
}

// Fetch opens the tree of a commit and fetches it first, if it is not there
// yet. A commit that the server does not name any more is ErrSuperseded.
func (s *Store) Fetch(ctx context.Context, repo reconciler.Repository, tip reconciler.Tip) (reconciler.Tree, error) {
	tree, err := s.FetchTree(ctx, repo, tip)
	if err != nil {
		return nil, err
	}
	return tree, nil
}

// FetchTree is Fetch with more to ask of the result. The annotated tag of the
// tip comes along, so that its signature can be checked.
func (s *Store) FetchTree(ctx context.Context, repo reconciler.Repository, tip reconciler.Tip) (*Tree, error) {
	t, err := s.target(repo)
	if err != nil {
		return nil, err
	}
	if !plumbing.IsHash(tip.Commit) {
		return nil, fmt.Errorf("commit %q is not forty hexadecimal digits", tip.Commit)
	}
	r := s.repository(t)
	defer s.dropUnused(time.Now())
	if err := r.lock(ctx); err != nil {
		return nil, err
	}
	defer r.unlock()
	return s.open(ctx, r, t, goal{plumbing.NewHash(tip.Commit), plumbing.NewHash(tip.TagObject)})
}

// Verify checks the signature of what a tip was reached by: of the annotated
// tag when a tag was followed, else of the commit. It returns who signed.
func (s *Store) Verify(tree reconciler.Tree, repo reconciler.Repository, tip reconciler.Tip, keys reconciler.Secret) (string, error) {
	fetched, ok := tree.(*Tree)
	if !ok {
		return "", fmt.Errorf("signature of %s: %T is no tree of this store", tip.Commit, tree)
	}
	check := fetched.VerifyCommit
	if repo.Branch == "" {
		check = func(keys reconciler.Secret) (Signer, error) { return fetched.VerifyTag(tip.Name, keys) }
	}
	signer, err := check(keys)
	if err != nil {
		return "", err
	}
	return signer.String(), nil
}

// Expire makes the next Tip of a URL ask the server, whatever was answered
// just now. A webhook calls it.
func (s *Store) Expire(url string) {
	addr, err := parseAddress(url)
	if err != nil {
		return
	}
	s.polls.expire(addr.String())
	s.gates.reset(addr.hostPort())
}

// CanonicalURL is how Changed names a repository, whatever way it is written.
// A URL that is none stays as it is.
func CanonicalURL(url string) string {
	addr, err := parseAddress(url)
	if err != nil {
		return url
	}
	return addr.String()
}

// Close drops idle connections and everything on disk. Trees that are in use
// can still be read.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared.CloseIdleConnections()
	for _, transport := range s.transports {
		transport.CloseIdleConnections()
	}
	s.repositories, s.transports = map[string]*repository{}, map[string]*http.Transport{}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("git store: %w", err)
	}
	return nil
}

// target is a repository and the credentials for it, checked.
type target struct {
	addr  address
	creds credentials
	// id stands for both.
	id string
}

func (s *Store) target(repo reconciler.Repository) (target, error) {
	addr, err := parseAddress(repo.URL)
	if err != nil {
		return target{}, err
	}
	creds, err := readCredentials(addr, repo.Credentials)
	if err != nil {
		return target{}, err
	}
	return target{addr: addr, creds: creds, id: fingerprint(s.key, addr, repo.Credentials)}, nil
}

// repository is the folder for a target. Credentials are part of it: who may
// not read a repository must not find in the store what another fetched.
func (s *Store) repository(t target) *repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.repositories[t.id]
	if !ok {
		s.serial++
		r = &repository{dir: filepath.Join(s.dir, fmt.Sprintf("%s-%d", t.id, s.serial)), busy: make(chan struct{}, 1)}
		s.repositories[t.id] = r
	}
	r.used = time.Now()
	return r
}

// transport keeps connections apart that differ in what TLS shows or trusts.
func (s *Store) transport(t target) *http.Transport {
	if t.creds.roots == nil && t.creds.client == nil {
		return s.shared
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	transport, ok := s.transports[t.id]
	if !ok {
		transport = newTransport(s.options, t.creds)
		s.transports[t.id] = transport
	}
	return transport
}

// dropUnused removes repositories that nobody fetched for a while: those of
// Releases that are gone, and of credentials that were changed.
func (s *Store) dropUnused(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.repositories {
		if now.Sub(r.used) < s.options.KeepUnused || !r.tryLock() {
			continue
		}
		delete(s.repositories, id)
		r.dropped = true
		if err := r.clear(); err != nil {
			s.options.Log.Warn("unused git repository not removed", "folder", id, "error", err)
		}
		r.unlock()
		if transport, ok := s.transports[id]; ok {
			transport.CloseIdleConnections()
			delete(s.transports, id)
		}
	}
	s.polls.drop(now.Add(-s.options.KeepUnused))
	s.gates.drop(now.Add(-s.options.KeepUnused))
}

func storeFailed(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return reconciler.Transientf(ReasonDiskFull, "work folder: %w; make its volume larger", err)
	}
	return reconciler.Transientf(ReasonStoreFailed, "work folder: %w", err)
}
