package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/poll"
)

// startTimeout bounds the time from the start of the process to its first answer.
const startTimeout = 60 * time.Second

// stopTimeout bounds a shutdown before the process is killed.
const stopTimeout = 10 * time.Second

// portAttempts is how often another free port is tried: somebody else may
// take one between its choice and its use.
const portAttempts = 5

// Server is a running PostgreSQL server.
type Server struct {
	// Host and Port are where it listens with password authentication.
	Host string
	Port uint16
	// Socket is the folder of its Unix socket, where the superuser
	// `postgres` needs no password.
	Socket string
	// Folder is what the server lives in; its log is the file `log` there.
	Folder string

	process *process
}

// Option changes how a server is started.
type Option func(*options)

type options struct {
	settings []string
	files    map[string][]byte
}

// WithSetting sets a server setting, as in postgresql.conf.
func WithSetting(name, value string) Option {
	return func(o *options) { o.settings = append(o.settings, "-c", name+"="+value) }
}

// WithFile puts a file that only the server may read into the data folder,
// such as a TLS key. A setting names it by the same name.
func WithFile(name string, content []byte) Option {
	return func(o *options) { o.files[name] = content }
}

// Start starts a server and stops it when the test ends.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	server := start(t, Programs(t), opts...)
	t.Cleanup(server.stop)
	return server
}

// Shared is one server for all tests of a package. The zero value is ready to
// be used; the server starts with the first call of Server.
type Shared struct {
	mu     sync.Mutex
	server *Server
}

// Server returns the server, started if need be. The test is skipped where
// PostgreSQL is not installed.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	programs := Programs(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		s.server = start(t, programs)
	}
	return s.server
}

// Stop ends the server. It is called after the last test, in TestMain.
func (s *Shared) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.stop()
		s.server = nil
	}
}

func start(t testing.TB, programs string, opts ...Option) *Server {
	t.Helper()
	o := options{files: map[string][]byte{}}
	for _, option := range opts {
		option(&o)
	}
	account, err := serverAccount()
	if err != nil {
		t.Fatalf("account for the server: %v", err)
	}
	folder, err := account.folder("lockstep-postgres-")
	if err != nil {
		t.Fatalf("folder for the server: %v", err)
	}
	server := &Server{Host: "127.0.0.1", Socket: folder, Folder: folder}
	if err := server.initialise(programs, account, o.files); err != nil {
		server.stop()
		t.Fatalf("initdb: %v", err)
	}
	for range portAttempts {
		if err = server.launch(t, programs, account, o.settings); err == nil {
			return server
		}
	}
	server.stop()
	t.Fatalf("start of PostgreSQL: %v", err)
	return nil
}

func (s *Server) data() string { return filepath.Join(s.Folder, "data") }

func (s *Server) initialise(programs string, account account, files map[string][]byte) error {
	command := exec.Command(filepath.Join(programs, "initdb"), "--pgdata="+s.data(), "--username=postgres",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	account.use(command)
	command.Dir = s.Folder
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(output))
	}
	for name, content := range files {
		path := filepath.Join(s.data(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		if err := account.own(path); err != nil {
			return err
		}
	}
	return nil
}

// launch starts the process on a free port and waits until it answers.
func (s *Server) launch(t testing.TB, programs string, account account, settings []string) error {
	t.Helper()
	port, err := freePort()
	if err != nil {
		return err
	}
	arguments := []string{
		"-D", s.data(), "-p", strconv.Itoa(int(port)),
		"-c", "listen_addresses=" + s.Host, "-c", "unix_socket_directories=" + s.Socket,
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		"-c", "shared_buffers=32MB", "-c", "max_connections=100", "-c", "log_line_prefix=%m [%p] %a ",
	}
	command := exec.Command(filepath.Join(programs, "postgres"), append(arguments, settings...)...)
	account.use(command)
	command.Dir = s.Folder
	process, err := launch(command, filepath.Join(s.Folder, "log"))
	if err != nil {
		return err
	}
	s.Port, s.process = port, process
	return s.awaitReady(t)
}

// awaitReady polls the socket until the server takes connections, or ends.
func (s *Server) awaitReady(t testing.TB) error {
	t.Helper()
	var ended error
	poll.WaitOn(t, func(poll.LogT) poll.Result {
		select {
		case <-s.process.done:
			log, _ := os.ReadFile(filepath.Join(s.Folder, "log"))
			ended = errors.New("it ended at once: " + string(bytes.TrimSpace(log)))
			return poll.Success()
		default:
		}
		if err := s.ping(t.Context()); err != nil {
			return poll.Continue("not ready: %v", err)
		}
		return poll.Success()
	}, poll.WithDelay(20*time.Millisecond), poll.WithTimeout(startTimeout))
	return ended
}

func (s *Server) stop() {
	if s.process != nil {
		s.process.stop()
	}
	// A leftover folder costs disk, not a test.
	_ = os.RemoveAll(s.Folder)
}

func freePort() (uint16, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%s is no TCP address", listener.Addr())
	}
	return uint16(address.Port), nil
}

// process is a started program.
type process struct {
	command *exec.Cmd
	done    chan struct{}
}

// launch starts a program that ends with this process. The kernel sends the
// signal when the thread that started it ends, so one goroutine keeps that
// thread until the program has ended.
func launch(command *exec.Cmd, log string) (*process, error) {
	output, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	command.Stdout, command.Stderr = output, output
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	p := &process{command: command, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer func() { _ = output.Close() }()
		err := command.Start()
		started <- err
		if err == nil {
			// How the server ended is in its log; nobody asks here.
			_ = command.Wait()
		}
	}()
	return p, <-started
}

// stop ends the server: first as an operator would, then at once.
func (p *process) stop() {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		// A process that has ended already cannot be signalled.
		_ = p.command.Process.Signal(signal)
		select {
		case <-p.done:
			return
		case <-time.After(stopTimeout):
		}
	}
}
