package web

import (
	"fmt"
	"sync"
	"time"
)

// Watchdog knows of work that never comes back (G7): a call that ignores its
// deadline holds the loop that made it, and only a restart frees it. Having
// no work is no reason to bark, nor is work that fails. The zero Watchdog is
// ready for use, from any number of goroutines.
type Watchdog struct {
	mutex sync.Mutex
	work  map[*work]struct{}
}

type work struct {
	name  string
	began time.Time
	limit time.Duration
}

// Watch notes that a piece of work begins, which ends when done is called and
// has to end within limit. Anybody can read the name at /healthz: it holds no
// secret.
func (w *Watchdog) Watch(name string, limit time.Duration) (done func()) {
	piece := &work{name: name, began: time.Now(), limit: limit}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.work == nil {
		w.work = map[*work]struct{}{}
	}
	w.work[piece] = struct{}{}
	return func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		delete(w.work, piece)
	}
}

// Alive tells whether work goes on. The error names the work that is overdue
// by most; Health takes this function.
func (w *Watchdog) Alive() error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var worst *work
	var overdue time.Duration
	for piece := range w.work {
		if late := time.Since(piece.began) - piece.limit; late > overdue {
			worst, overdue = piece, late
		}
	}
	if worst == nil {
		return nil
	}
	return fmt.Errorf("stuck: %s began %s ago and had to end within %s",
		worst.name, (overdue + worst.limit).Round(time.Second), worst.limit)
}
