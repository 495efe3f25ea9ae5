package gitrepo

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"
)

// Options are the limits of a Store. Only Dir is required.
type Options struct {
	// Dir is the folder that the Store may use. Its sub-folder "repositories"
	// belongs to the Store alone and is emptied by New.
	Dir string

	// Timeout ends a call when the server stays silent for so long, 60 s when zero.
	Timeout time.Duration
	// FetchTimeout ends a fetch as a whole, 10 min when zero. It is what stops
	// a server that sends one byte now and then.
	FetchTimeout time.Duration
	// MaxBackoff bounds the pause after errors of a server in a row, 30 s when
	// zero. A pause that the server asks for is kept up to an hour.
	MaxBackoff time.Duration
	// KeepUnused is how long a repository that nobody fetches stays on disk, 6 h when zero.
	KeepUnused time.Duration

	// MaxFile is the largest file that is read, in bytes, 4 MiB when zero.
	MaxFile int64
	// MaxPack is the largest answer to a fetch, in bytes, 1 GiB when zero.
	MaxPack int64

	// Proxy chooses the proxy for https, by HTTPS_PROXY, HTTP_PROXY and
	// NO_PROXY when nil.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial connects to ssh servers, by ALL_PROXY and NO_PROXY when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Changed, when set, is told the canonical URL of a repository in which a
	// branch or a tag moved since it was asked before. It must not wait.
	Changed func(url string)
	// Watch, when set, is told of each call that begins and how long it can
	// take at most; done is called when it has returned. Deadlines are kept
	// here already: who watches finds the call that ignores them (G7).
	Watch func(name string, limit time.Duration) (done func())
	// Log is told when a repository is thrown away and cloned anew, nobody when nil.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Timeout = orDefault(o.Timeout, time.Minute)
	o.FetchTimeout = orDefault(o.FetchTimeout, 10*time.Minute)
	o.MaxBackoff = orDefault(o.MaxBackoff, 30*time.Second)
	o.KeepUnused = orDefault(o.KeepUnused, 6*time.Hour)
	o.MaxFile = orDefault(o.MaxFile, 4<<20)
	o.MaxPack = orDefault(o.MaxPack, 1<<30)
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Dial == nil {
		o.Dial = proxy.Dial
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	if o.Watch == nil {
		o.Watch = func(string, time.Duration) func() { return func() {} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func orDefault[T ~int64](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}
