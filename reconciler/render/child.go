package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// ChildArgument is the hidden argument with which our binary renders for its
// parent: cmd calls ChildMain when it is the first one.
const ChildArgument = "render-child"

// request is what a child is asked to do.
type request struct {
	Folder string
	Limits Limits
}

// exitBroken is the exit code of a child whose pipes or limits failed. A Go
// program that crashes uses 2, one that gives up with log.Fatal 1.
const exitBroken = 3

// maxRequest bounds the first frame a child reads, in bytes.
const maxRequest = 64 << 10

// errNoNetwork is what a build gets that asks for an address after all.
var errNoNetwork = errors.New("network access is refused while a commit is rendered")

// refuser is a transport without network.
type refuser struct{}

func (refuser) RoundTrip(request *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%s: %w", request.URL.Redacted(), errNoNetwork)
}

// ChildMain renders one overlay for the parent at the other end of stdin and
// stdout, and returns the exit code. It expects to be the only thing that its
// process does: it gives up the network, files and most of the memory.
func ChildMain(stdin io.Reader, stdout io.Writer) int {
	complaints := os.Stderr
	broken := func(what string, err error) int {
		_, _ = fmt.Fprintf(complaints, "%s: %v\n", what, err)
		return exitBroken
	}
	if err := silence(); err != nil {
		return broken("open the null device", err)
	}
	http.DefaultTransport = refuser{}
	// kustomize makes a folder before it looks for a git binary.
	if err := os.Setenv("TMPDIR", "/nonexistent"); err != nil {
		return broken("set the folder for temporary files", err)
	}
	parent := newLink(stdin, stdout, maxRequest)
	order, err := receiveRequest(parent)
	if err != nil {
		return broken("read request", err)
	}
	if err := confine(order.Limits.Memory); err != nil {
		return broken("confine", err)
	}
	// Memory is bounded above and the process is short: collecting less often
	// than usual saves a fifth of its time.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(order.Limits.Memory * 3 / 4)
	parent.limit = 2 * order.Limits.Input
	if err := serve(parent, order); err != nil {
		return broken("answer", err)
	}
	return 0
}

// silence drops what kustomize prints. It must not end up among the frames,
// nor crowd out what the runtime says when the process dies, which goes to
// the standard error whatever os.Stderr is.
func silence() error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	os.Stdout, os.Stderr = null, null
	log.SetOutput(null)
	return nil
}

func receiveRequest(parent *link) (request, error) {
	var order request
	f, err := parent.receive()
	if err != nil {
		return order, err
	}
	if f.kind != frameRequest || len(f.fields) != 1 {
		return order, errFrame
	}
	return order, json.Unmarshal(f.fields[0], &order)
}

// serve builds and reports. Its error is one of the pipe.
func serve(parent *link, order request) error {
	var broken error
	err := build(newFileSystem(remoteSource{parent}), order.Folder, order.Limits, ordinary(), func(o object) error {
		broken = parent.send(frameObject, []byte(o.origin), o.json)
		return broken
	})
	switch {
	case broken != nil:
		return broken
	case err != nil:
		err = parent.send(frameFailure, []byte(reconciler.ReasonOf(err, ReasonFailed)), []byte(err.Error()))
	default:
		err = parent.send(frameDone)
	}
	return errors.Join(err, parent.flush())
}

// remoteSource asks the parent.
type remoteSource struct{ parent *link }

func (s remoteSource) look(name string) entry { return s.lookAll([]string{name})[0] }

// maxAsked bounds the names in one frame, in bytes. A single name may be
// longer.
const maxAsked = 32 << 10

func (s remoteSource) lookAll(names []string) []entry {
	all := make([]entry, 0, len(names))
	for len(all) < len(names) {
		var asked [][]byte
		size := 0
		for _, name := range names[len(all):] {
			if size += len(name); size > maxAsked && len(asked) > 0 {
				break
			}
			asked = append(asked, []byte(name))
		}
		err := errors.Join(s.parent.send(frameLook, asked...), s.parent.flush())
		for _, name := range asked {
			var e entry
			if err == nil {
				e, err = s.entry()
			}
			if err != nil {
				e = entry{kind: entryRefused, content: []byte("ask for " + string(name) + ": " + err.Error())}
			}
			all = append(all, e)
		}
	}
	return all
}

func (s remoteSource) entry() (entry, error) {
	f, err := s.parent.receive()
	if err != nil {
		return entry{}, err
	}
	if f.kind != frameEntry || len(f.fields) != 3 || len(f.fields[0]) != 1 {
		return entry{}, errFrame
	}
	return entry{kind: entryKind(f.fields[0][0]), path: string(f.fields[1]), content: f.fields[2]}, nil
}

// recall gives nothing when the pipe is broken, which the next frame will show.
func (s remoteSource) recall(key []byte) ([]byte, bool) {
	if err := errors.Join(s.parent.send(frameRecall, key), s.parent.flush()); err != nil {
		return nil, false
	}
	f, err := s.parent.receive()
	if err != nil || f.kind != framePiece || len(f.fields) != 1 {
		return nil, false
	}
	return f.fields[0], true
}

// keep needs no answer. What breaks the pipe shows with the next frame.
func (s remoteSource) keep(key, content []byte) { _ = s.parent.send(frameKeep, key, content) }
