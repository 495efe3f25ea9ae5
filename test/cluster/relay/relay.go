// Package relay passes connections from the machine's loopback into the
// network namespace of a node.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"
)

// dialTimeout bounds the wait for the node, which is on the same machine.
const dialTimeout = 5 * time.Second

// Inherited is the listener that the process was started with as its fourth
// file: a socket stays in the network namespace that it was made in, whichever
// namespace its process is in.
func Inherited() (net.Listener, error) {
	f := os.NewFile(3, "listener")
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("inherited listener: %w", err)
	}
	return l, nil
}

// Serve joins each connection that the listener accepts to a new one to the
// target, until the context ends.
func Serve(ctx context.Context, l net.Listener, target string) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	dialer := &net.Dialer{Timeout: dialTimeout}
	for {
		in, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("relay to %s: %w", target, err)
		}
		go func() {
			defer func() { _ = in.Close() }()
			out, err := dialer.DialContext(ctx, "tcp", target)
			if err != nil {
				log.Printf("relay to %s: %v", target, err)
				return
			}
			defer func() { _ = out.Close() }()
			join(in, out)
		}()
	}
}

// join copies both ways until both sides have said all. The end of one
// direction is passed on and leaves the other open.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
}

func pass(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		// One side broke off: so must the other, or it would wait for ever.
		_ = to.Close()
		_ = from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
