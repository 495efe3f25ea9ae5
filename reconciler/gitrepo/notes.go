package gitrepo

import (
	"io"
	"sync"
)

// notes remember the first error of a connection. go-git turns errors into
// text on the way up; this is how the error itself is found again.
type notes struct {
	mu    sync.Mutex
	first error
}

func (n *notes) keep(err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.first == nil {
		n.first = err
	}
	return err
}

// instead returns the first error of the connection if there was one, else err.
func (n *notes) instead(err error) error {
	if first := n.noted(); err != nil && first != nil {
		return first
	}
	return err
}

func (n *notes) noted() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.first
}

// noting remembers an error of writing.
type noting struct {
	io.Writer
	notes *notes
}

// Write passes on what is written.
func (w *noting) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		return n, w.notes.keep(err)
	}
	return n, nil
}
