package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// reasonSpawn is used when the child could not be started or talked to.
const reasonSpawn = "RenderProcessFailed"

// maxComplaint is how much of a child's stderr is kept, in bytes.
const maxComplaint = 16 << 10

// spawner runs renders in children.
type spawner struct {
	command []string
	slots   chan struct{}
}

// render runs one child from start to end and gives each object to take. The
// child has been reaped when render returns.
func (s *spawner) render(ctx context.Context, files *reader, order request, take func(object) error) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	timed, cancel := context.WithTimeout(ctx, order.Limits.Timeout)
	defer cancel()
	p, err := s.start(timed)
	if err != nil {
		return reconciler.Transientf(reasonSpawn, "start render process: %w", err)
	}
	verdict, talkErr := converse(p, files, order, take)
	if talkErr != nil {
		cancel()
	}
	exitErr := p.wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case files.failure != nil:
		return files.failure
	case verdict != nil:
		return verdict
	case talkErr == nil && exitErr == nil:
		return nil
	case errors.Is(talkErr, errOutput):
		return reconciler.Terminalf(ReasonExpensive, "overlay %s: %w", order.Folder, talkErr)
	case errors.Is(timed.Err(), context.DeadlineExceeded):
		return reconciler.Terminalf(ReasonExpensive, "overlay %s was not rendered within the limit of %s", order.Folder, order.Limits.Timeout)
	}
	return p.diagnose(order, errors.Join(talkErr, exitErr))
}

// process is a running child.
type process struct {
	*link
	cmd       *exec.Cmd
	complaint *tail
	done      chan struct{}
	in        io.Closer
}

// start runs the child on a goroutine that keeps its thread: the kernel kills
// the child when the thread that started it ends (golang/go#27505).
func (s *spawner) start(ctx context.Context) (*process, error) {
	command, err := s.program()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	detach(cmd)
	p := &process{cmd: cmd, complaint: &tail{limit: maxComplaint}, done: make(chan struct{})}
	cmd.Stderr = p.complaint
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	p.link = newLink(out, in, 0)
	p.reuse = true
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-p.done
		}
	}()
	return p, <-started
}

func (s *spawner) program() ([]string, error) {
	if len(s.command) > 0 {
		return s.command, nil
	}
	self, err := os.Executable()
	return []string{self, ChildArgument}, err
}

// wait reaps the child.
func (p *process) wait() error {
	defer close(p.done)
	_ = p.in.Close()
	return p.cmd.Wait()
}

var (
	// errOutput means that a child sent more than it may.
	errOutput = errors.New("the objects add up to more than the limit")
	// errTaken ends a talk because of what the child sent.
	errTaken = errors.New("an object was not accepted")
)

// converse answers the child until it is done. A verdict is about the
// content, the child's word or that of take; an error means that the talk
// broke off. What take is given is only valid until it returns.
func converse(p *process, files *reader, order request, take func(object) error) (verdict, err error) {
	body, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(p.send(frameRequest, body), p.flush()); err != nil {
		return nil, err
	}
	// A child sends frames of objects, of names and of errors; all fit here.
	p.limit = order.Limits.Output + maxRequest
	objects := &intake{left: order.Limits.Output, room: order.Limits.Objects, take: take}
	for {
		f, err := p.receive()
		if err != nil {
			return nil, err
		}
		switch {
		case f.kind == frameObject && len(f.fields) == 2:
			if verdict, err := objects.accept(object{origin: string(f.fields[0]), json: f.fields[1]}); err != nil {
				return verdict, err
			}
		case f.kind == frameFailure && len(f.fields) == 2:
			return reconciler.Terminal(string(f.fields[0]), errors.New(flat(string(f.fields[1])))), nil
		case f.kind == frameDone:
			return nil, nil
		default:
			if err := p.answer(f, files); err != nil {
				return nil, err
			}
		}
	}
}

// intake bounds what a child sends, whatever it was told.
type intake struct {
	// left is how many bytes may come, room how many objects.
	left int64
	room int
	take func(object) error
}

func (i *intake) accept(o object) (verdict, err error) {
	i.left -= int64(len(o.json))
	i.room--
	if i.left < 0 || i.room < 0 {
		return nil, errOutput
	}
	if err := i.take(o); err != nil {
		return err, errTaken
	}
	return nil, nil
}

// answer does what a child asks for while it builds.
func (p *process) answer(f frame, files *reader) error {
	switch {
	case f.kind == frameLook && len(f.fields) > 0:
		return p.look(files, f.fields)
	case f.kind == frameRecall && len(f.fields) == 1:
		return p.hand(files.recall(f.fields[0]))
	case f.kind == frameKeep && len(f.fields) == 2:
		files.keep(f.fields[0], f.fields[1])
		return nil
	}
	return errFrame
}

// look looks at names for the child.
func (p *process) look(files *reader, names [][]byte) error {
	for _, name := range names {
		e := files.look(string(name))
		if err := p.send(frameEntry, []byte{byte(e.kind)}, []byte(e.path), e.content); err != nil {
			return err
		}
	}
	return p.flush()
}

// hand gives the child a piece, if there is one.
func (p *process) hand(content []byte, known bool) error {
	if !known {
		return errors.Join(p.send(framePiece), p.flush())
	}
	return errors.Join(p.send(framePiece, content), p.flush())
}

// diagnose says why a child ended without a verdict. When it crashed the
// content is to blame, since nothing else went in; when something killed it,
// or its pipes broke, trying again may help.
func (p *process) diagnose(order request, cause error) error {
	complaint := p.complaint.String()
	for _, sign := range []string{"out of memory", "cannot allocate memory"} {
		if strings.Contains(complaint, sign) {
			return reconciler.Terminalf(ReasonExpensive, "overlay %s needed more memory than the limit of %d bytes", order.Folder, order.Limits.Memory)
		}
	}
	if complaint != "" {
		cause = fmt.Errorf("%w: %s", cause, complaint)
	}
	if code := p.cmd.ProcessState.ExitCode(); code > 0 && code != exitBroken {
		return reconciler.Terminalf(ReasonFailed, "overlay %s: kustomize crashed: %w", order.Folder, cause)
	}
	return reconciler.Transientf(reasonSpawn, "render process for overlay %s: %w", order.Folder, cause)
}

// tail keeps the beginning of what is written and drops the rest.
type tail struct {
	limit int
	kept  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	room := min(len(p), t.limit-len(t.kept))
	t.kept = append(t.kept, p[:room]...)
	return len(p), nil
}

func (t *tail) String() string { return flat(string(t.kept)) }
