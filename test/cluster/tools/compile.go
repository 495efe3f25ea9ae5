package tools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// progressInterval is how often a long build says that it goes on.
const progressInterval = 15 * time.Second

// compilation is one run of the compiler.
type compilation struct {
	dir     string
	target  string
	output  string
	ldflags string
	log     io.Writer
}

func (c compilation) run(ctx context.Context) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the command go is not in PATH: install Go 1.26 or later")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-buildvcs=false", "-trimpath",
		"-ldflags", c.ldflags, "-o", c.output, c.target)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	said := c.follow(stderr)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w:\n%s", err, strings.Join(said, "\n"))
	}
	return nil
}

// follow reads the names of packages that the compiler prints as it goes, and
// tells every so often how far it is. It returns the last of the other lines:
// they say why a build failed.
func (c compilation) follow(stderr io.Reader) []string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			lines <- s.Text()
		}
	}()
	started := time.Now()
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	var latest string
	var said []string
	packages := 0
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return said
			}
			latest = line
			if !strings.ContainsAny(line, " \t") {
				packages++
			} else if said = append(said, line); len(said) > 30 {
				said = said[1:]
			}
		case <-tick.C:
			_, _ = fmt.Fprintf(c.log, "building %s: %s elapsed%s\n", filepath.Base(c.target), time.Since(started).Round(time.Second), progress(packages, latest))
		}
	}
}

// progress says how far the compiler is. It is silent while it links.
func progress(packages int, latest string) string {
	if latest == "" {
		return ""
	}
	return fmt.Sprintf(", %d packages compiled, now %s", packages, latest)
}
