package gitrepo

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// firstPause is the pause after the first error of a server. It doubles with
// each further one.
const firstPause = time.Second

// gates keep us from asking servers that are in trouble, or that asked to be
// left alone (G8). One entry is for a host, or for a host and credentials when
// the trouble belongs to those.
type gates struct {
	limit time.Duration

	mu      sync.Mutex
	entries map[string]*gate
}

type gate struct {
	failures int
	until    time.Time
	last     error
}

// enter returns the last error again while its pause lasts.
func (g *gates) enter(t target, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range []string{t.addr.hostPort(), t.id} {
		if e, ok := g.entries[key]; ok && now.Before(e.until) {
			wait := e.until.Sub(now).Round(time.Second)
			return reconciler.Transientf(reconciler.ReasonOf(e.last, ReasonUnreachable), "not asked again for %s after: %w", wait, e.last)
		}
	}
	return nil
}

// passed ends the trouble.
func (g *gates) passed(t target) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.entries, t.addr.hostPort())
	delete(g.entries, t.id)
}

// failed begins a pause, if the error is one of the server as a whole. A
// missing branch or a wrong password of one Release is no reason to keep
// others from the same server.
func (g *gates) failed(t target, err error, wait time.Duration, now time.Time) {
	key := t.addr.hostPort()
	switch reconciler.ReasonOf(err, "") {
	case ReasonUnreachable, ReasonTimeout, ReasonServerError:
	case ReasonRateLimited:
		key = t.id
	default:
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.entries[key]
	if !ok {
		e = &gate{}
		g.entries[key] = e
	}
	e.failures++
	e.until, e.last = now.Add(max(wait, pause(e.failures, g.limit, rand.Float64()))), err // Jitter needs no secrecy.
}

// pause doubles with each failure. A part of it is left to chance, so that many
// daemons do not come back at the same moment.
func pause(failures int, limit time.Duration, chance float64) time.Duration {
	full := min(firstPause<<min(failures-1, 20), limit)
	return full/2 + time.Duration(float64(full/2)*chance)
}

// reset forgets the trouble of a host.
func (g *gates) reset(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.entries, host)
}

// drop forgets trouble that ended before a time.
func (g *gates) drop(before time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, e := range g.entries {
		if e.until.Before(before) {
			delete(g.entries, key)
		}
	}
}
