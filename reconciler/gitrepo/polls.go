package gitrepo

import (
	"context"
	"sync"
	"time"
)

// polls keep the last answer for each repository and credentials. An answer is
// never given to who came with other credentials (G15).
type polls struct {
	// changed is told the URL of an answer that differs from the one before.
	changed func(url string)

	mu      sync.Mutex
	entries map[string]*poll
}

// poll is the last answer and whether somebody is asking just now.
type poll struct {
	url string
	// refs are those of the last good answer, if one is known.
	refs  Refs
	known bool
	err   error
	// place is where the server is asked in version 2 of the protocol, or empty.
	place string
	// at is when the answer came, zero for never.
	at time.Time
	// turn counts answers. Who waited for one takes the next, however old it
	// may be then.
	turn int
	// epoch counts calls of expire, answered is the epoch that the last answer
	// was asked for in. A webhook that comes while somebody is asking may speak
	// of a commit that came too late for that answer.
	epoch, answered int
	// asking is closed when the one who asks is done.
	asking chan struct{}
}

// get returns an answer that is younger than maxAge, or the one that somebody
// is waiting for just now, or asks.
func (p *polls) get(ctx context.Context, t target, maxAge time.Duration, ask func(context.Context) (Refs, error)) (Refs, error) {
	turn, epoch := -1, -1
	for {
		p.mu.Lock()
		e := p.entry(t)
		if turn < 0 {
			epoch = e.epoch
		}
		fresh := !e.at.IsZero() && time.Since(e.at) < maxAge
		waited := turn >= 0 && e.turn > turn
		if (fresh || waited) && e.answered >= epoch {
			defer p.mu.Unlock()
			return e.refs, e.err
		}
		if e.asking == nil {
			e.asking, epoch = make(chan struct{}), e.epoch
			p.mu.Unlock()
			return p.ask(ctx, e, epoch, ask)
		}
		asking := e.asking
		turn = e.turn
		p.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return Refs{}, ctx.Err()
		}
	}
}

func (p *polls) entry(t target) *poll {
	e, ok := p.entries[t.id]
	if !ok {
		e = &poll{url: t.addr.String()}
		p.entries[t.id] = e
	}
	return e
}

// ask runs in the goroutine of the first who wants to know. When that one is
// called off, nothing was learned, and the next in line asks.
func (p *polls) ask(ctx context.Context, e *poll, epoch int, ask func(context.Context) (Refs, error)) (refs Refs, err error) {
	answered := false
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if answered && ctx.Err() == nil {
			p.take(e, epoch, refs, err, time.Now())
		}
		close(e.asking)
		e.asking = nil
	}()
	refs, err = ask(ctx)
	answered = true
	return refs, err
}

// take keeps an answer and tells of what moved. The lock is held.
func (p *polls) take(e *poll, epoch int, refs Refs, err error, now time.Time) {
	moved := err == nil && e.known && !e.refs.equal(refs)
	if err == nil {
		e.refs, e.known = refs, true
	}
	e.err, e.at, e.answered = err, now, epoch
	e.turn++
	if moved {
		p.changed(e.url)
	}
}

// epoch is to be read before a server is asked by the way, and given to put.
func (p *polls) epoch(t target) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entry(t).epoch
}

// put takes in what was learned by the way.
func (p *polls) put(t target, epoch int, refs Refs, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entry(t)
	if e.epoch != epoch {
		return
	}
	p.take(e, epoch, refs, nil, now)
}

// expire makes the answers for a URL old.
func (p *polls) expire(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.url == url {
			e.epoch++
		}
	}
}

// drop forgets answers from before a time.
func (p *polls) drop(before time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, e := range p.entries {
		if e.asking == nil && e.at.Before(before) {
			delete(p.entries, id)
		}
	}
}

func (p *polls) place(t target) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entry(t).place
}

func (p *polls) setPlace(t target, place string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entry(t).place = place
}
