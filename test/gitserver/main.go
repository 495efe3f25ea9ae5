// Command gitserver serves bare git repositories over HTTP, with git's own
// `git http-backend`. The demo and the end-to-end tests push to it inside the
// cluster.
//
//	gitserver --root /srv/git --repo unity.git
//
// GIT_USER and GIT_PASSWORD, or files with them, ask every client for a user
// and a password.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Getenv, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs the server and returns its exit code: 0 when it was stopped,
// 1 when it could not serve, 2 when it was started wrongly.
func execute(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	c, err := readConfig(args, getenv, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "gitserver:", err)
		return 2
	}
	if err := run(ctx, c, log); err != nil {
		log.Error("ended", slog.Any("error", err))
		return 1
	}
	return 0
}

// config says what to serve, and to whom.
type config struct {
	address string
	root    string
	git     string
	// repo is the repository to create where it is not there yet, if any.
	repo  string
	login login
	// stderr takes what git has to say.
	stderr io.Writer
}

func readConfig(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("gitserver", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.address, "address", ":8080", "address to listen on")
	flags.StringVar(&c.root, "root", "/srv/git", "folder of the repositories")
	flags.StringVar(&c.git, "git", "/usr/bin/git", "git program")
	flags.StringVar(&c.repo, "repo", "", "repository to create below root where it is not there yet")
	userFile := flags.String("user-file", "", "file with the user's name; else GIT_USER")
	passwordFile := flags.String("password-file", "", "file with the password; else GIT_PASSWORD")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q; see gitserver --help", flags.Arg(0))
	}
	c.stderr = stderr
	var err error
	if c.root, err = filepath.Abs(c.root); err != nil {
		return c, fmt.Errorf("--root: %w", err)
	}
	user, err := fileOr(*userFile, getenv("GIT_USER"))
	if err != nil {
		return c, fmt.Errorf("--user-file: %w", err)
	}
	password, err := fileOr(*passwordFile, getenv("GIT_PASSWORD"))
	if err != nil {
		return c, fmt.Errorf("--password-file: %w", err)
	}
	// Half a login is a mistake. Taken as none, it would let everybody in.
	if (user == "") != (password == "") {
		return c, errors.New("user and password: give both or neither")
	}
	c.login = newLogin(user, password)
	return c, nil
}

// fileOr reads a file, without the newline that editors add.
func fileOr(path, preset string) (string, error) {
	if path == "" {
		return preset, nil
	}
	text, err := os.ReadFile(path)
	return strings.TrimRight(string(text), "\r\n"), err
}

func run(ctx context.Context, c config, log *slog.Logger) error {
	if c.repo != "" {
		if err := create(ctx, c); err != nil {
			return fmt.Errorf("create repository %s: %w", c.repo, err)
		}
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", c.address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		Handler:           newHandler(c, log),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("serving", slog.String("address", listener.Addr().String()), slog.Bool("login", c.login.required))

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	// A push under way is given time to end.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(fmt.Errorf("stop: %w", err), server.Close())
	}
	log.Info("stopped")
	return nil
}
