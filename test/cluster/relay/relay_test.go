package relay_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/test/cluster/relay"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	assert.NilError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// serve runs a relay to the target until the test ends, and returns where it
// listens.
func serve(t *testing.T, target string) string {
	t.Helper()
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- relay.Serve(ctx, l, target) }()
	t.Cleanup(func() {
		cancel()
		assert.NilError(t, <-done)
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	assert.NilError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	assert.NilError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	return c.(*net.TCPConn)
}

func TestRelayPassesBothWaysAndTheEndOfOne(t *testing.T) {
	target := listen(t)
	go func() {
		c, err := target.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		// The answer is written after the question has ended.
		question, _ := io.ReadAll(c)
		_, _ = c.Write(append([]byte("re: "), question...))
	}()
	c := dial(t, serve(t, target.Addr().String()))
	_, err := c.Write([]byte("hello"))
	assert.NilError(t, err)
	assert.NilError(t, c.CloseWrite())
	answer, err := io.ReadAll(c)
	assert.NilError(t, err)
	assert.Equal(t, string(answer), "re: hello")
}

func TestRelayHangsUpWhenTheTargetIsNotThere(t *testing.T) {
	gone := listen(t)
	assert.NilError(t, gone.Close())
	c := dial(t, serve(t, gone.Addr().String()))
	n, _ := c.Read(make([]byte, 1))
	assert.Equal(t, n, 0)
	// The relay itself goes on.
	dial(t, c.RemoteAddr().String())
}
