package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"golang.org/x/sync/errgroup"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Bounds of trying a request anew. client-go tries one again only when the
// answer carries Retry-After, and ten times at most (A12).
const (
	maxTries   = 7
	firstTry   = 100 * time.Millisecond
	longestTry = 3 * time.Second
	// maxTrying ends a row of tries that each take long.
	maxTrying = 30 * time.Second
	// requestTimeout ends a request that nobody answers. The API server gives
	// up by itself after a minute.
	requestTimeout = 70 * time.Second
)

// stamina is shared by the requests of one call. Once a kind has been tried
// often enough, its other objects are tried once each: a broken backend of one
// kind must not hold up a thousand objects one by one.
type stamina struct {
	mu    sync.Mutex
	spent map[place]bool
}

func (s *stamina) isSpent(at place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spent[at]
}

func (s *stamina) spend(at place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spent == nil {
		s.spent = map[place]bool{}
	}
	s.spent[at] = true
}

// try makes a request, and makes it again while that may help. All requests
// here may be repeated: an apply and a delete of one UID have no second effect.
func (t *tenant) try(ctx context.Context, s *stamina, id identity, request func(context.Context) error) error {
	began, pause, at := time.Now(), firstTry, place{id.resource, id.namespace}
	for n := 1; ; n++ {
		err := t.once(ctx, request)
		switch {
		case err == nil || !passes(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case n == maxTries || time.Since(began) > maxTrying || s.isSpent(at):
			s.spend(at)
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, longestTry)
	}
}

// once makes a request with a time limit of its own.
func (t *tenant) once(ctx context.Context, request func(context.Context) error) error {
	limit := t.cluster.options.RequestTimeout
	if limit == 0 {
		limit = requestTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := request(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		// The text of a time that ran out must not look like the end of ctx.
		return &silenceError{after: limit}
	}
	return err
}

// silenceError is a request that was not answered.
type silenceError struct{ after time.Duration }

// Error says how long was waited.
func (e *silenceError) Error() string {
	return fmt.Sprintf("the API server did not answer within %s", e.after)
}

// passes tells whether an error may be gone at the next try: a busy or broken
// server, or none at all. A manifest that is wrong is answered with 500, too.
func passes(err error) bool {
	status, answered := statusOf(err)
	if !answered {
		return !errors.Is(err, context.Canceled)
	}
	return status.Code == http.StatusTooManyRequests || (status.Code >= http.StatusInternalServerError && !malformed(err.Error()) && !tooLarge(err))
}

// unreachable tells whether an error, after all tries, is about the API server
// as a whole and not about one object.
func unreachable(err error) bool {
	if err == nil || isNoMatch(err) || isIncomplete(err) {
		return false
	}
	if _, judged := errors.AsType[*reconciler.Failure](err); judged {
		return false
	}
	status, answered := statusOf(err)
	return !answered || status.Code == http.StatusTooManyRequests
}

// outOfReach is the error of a call that ended because of ctx or because the
// API server does not answer.
func outOfReach(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return reconciler.Transient("ClusterUnavailable", fmt.Errorf("the Kubernetes API: %w", err))
}

// get reads an object; nil when there is none.
func (t *tenant) get(ctx context.Context, s *stamina, at target) (*unstructured.Unstructured, error) {
	var live *unstructured.Unstructured
	err := t.try(ctx, s, at.id, func(ctx context.Context) (err error) {
		live, err = at.client.Get(ctx, at.id.name, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, err
}

// asMetadata asks for an object without its content, so that no Secret is read.
const asMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// metadata reads the metadata of an object.
func (t *tenant) metadata(ctx context.Context, s *stamina, id identity) (*metav1.PartialObjectMetadata, error) {
	found := &metav1.PartialObjectMetadata{}
	err := t.try(ctx, s, id, func(ctx context.Context) error {
		body, err := raw(t.rest.Get().AbsPath(id.segments()...).SetHeader("Accept", asMetadata).Do(ctx))
		if err != nil {
			return err
		}
		return json.Unmarshal(body, found)
	})
	return found, err
}

// raw is the body of an answer. What the API server says of an error is only
// read out of it by Error.
func raw(answer rest.Result) ([]byte, error) {
	if err := answer.Error(); err != nil {
		return nil, err
	}
	return answer.Raw()
}

// segments are the parts of the path of an object in the API.
func (i identity) segments() []string {
	out := []string{"apis", i.resource.Group, i.resource.Version}
	if i.resource.Group == "" {
		out = []string{"api", i.resource.Version}
	}
	if i.namespace != "" {
		out = append(out, "namespaces", i.namespace)
	}
	return append(out, i.resource.Resource, i.name)
}

// share does something with each item, by so many workers at a time, until one
// fails or the context ends. A worker goes on to the next item: its stack has
// grown to what a request takes.
func share[T any](ctx context.Context, workers int, items []T, do func(context.Context, T) error) error {
	group, within := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(workers, len(items)) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return nil
				}
				if err := within.Err(); err != nil {
					return err
				}
				if err := do(within, items[i]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// warningsKey is where a context carries what gathers warnings.
type warningsKey struct{}

// gathering returns a context whose requests leave their warnings in the list
// and not in the log.
func gathering(ctx context.Context, list *[]string) context.Context {
	return context.WithValue(ctx, warningsKey{}, list)
}

var _ rest.WarningHandlerWithContext = warnings{}
