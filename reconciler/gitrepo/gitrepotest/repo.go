package gitrepotest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Repo is a bare repository of a server.
type Repo struct {
	// URL to fetch from.
	URL string
	// Path of the bare repository.
	Path string

	t testing.TB
}

// Repo makes an empty bare repository.
func (s *Server) Repo(t testing.TB, name string) *Repo {
	t.Helper()
	return newRepo(t, s.URL+"/"+name, filepath.Join(s.Root, name))
}

func newRepo(t testing.TB, url, path string) *Repo {
	t.Helper()
	r := &Repo{URL: url, Path: path, t: t}
	Git(t, filepath.Dir(path), "init", "--quiet", "--bare", "--initial-branch=main", path)
	return r
}

// Git runs git in a folder, with an author, a date and a configuration that
// are the same everywhere, and returns what it printed.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	return run(t, dir, nil, args...)
}

// Git runs git in the repository.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	return run(r.t, r.Path, nil, args...)
}

func run(t testing.TB, dir string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(stdin), Env()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %s\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// Env is the environment that Git runs with: fixed author and dates, no
// configuration of the user or the machine.
func Env() []string {
	return append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org", "GIT_COMMITTER_DATE="+date,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	)
}

const (
	date  = "1700000000 +0000"
	ident = "Ada <ada@example.org> " + date
)

// Prefixes that make a value of Commit's files something else than a plain file.
const (
	// Link makes a symbolic link to what follows.
	Link = "symlink:"
	// Gitlink makes a submodule at the commit that follows.
	Gitlink = "gitlink:"
	// Exec makes an executable file with what follows.
	Exec = "exec:"
)

// Commit puts a commit on a branch that holds exactly these files, and returns
// its hash. The branch is made if need be.
func (r *Repo) Commit(branch string, files map[string]string) string {
	r.t.Helper()
	return r.commit(branch, files, r.exists("refs/heads/"+branch))
}

// Orphan puts a commit without a past on a branch, as a forced push does.
func (r *Repo) Orphan(branch string, files map[string]string) string {
	r.t.Helper()
	return r.commit(branch, files, false)
}

func (r *Repo) exists(ref string) bool {
	return r.Git("for-each-ref", "--format=%(refname)", ref) != ""
}

func (r *Repo) commit(branch string, files map[string]string, onTop bool) string {
	r.t.Helper()
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit refs/heads/%s\nauthor %s\ncommitter %s\ndata 6\nchange\n", branch, ident, ident)
	if onTop {
		fmt.Fprintf(&in, "from refs/heads/%s^0\n", branch)
	}
	in.WriteString("deleteall\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		modify(&in, name, files[name])
	}
	in.WriteString("\n")
	run(r.t, r.Path, in.Bytes(), "fast-import", "--quiet", "--force")
	return r.Git("rev-parse", "refs/heads/"+branch)
}

func modify(in *bytes.Buffer, name, value string) {
	mode := "100644"
	if target, ok := strings.CutPrefix(value, Link); ok {
		mode, value = "120000", target
	} else if content, ok := strings.CutPrefix(value, Exec); ok {
		mode, value = "100755", content
	} else if commit, ok := strings.CutPrefix(value, Gitlink); ok {
		fmt.Fprintf(in, "M 160000 %s %s\n", commit, quote(name))
		return
	}
	fmt.Fprintf(in, "M %s inline %s\ndata %d\n%s\n", mode, quote(name), len(value), value)
}

func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name) + `"`
}

// Tag puts a plain tag on a commit.
func (r *Repo) Tag(name, commit string) {
	r.t.Helper()
	r.Git("update-ref", "refs/tags/"+name, commit)
}

// AnnotatedTag puts an annotated tag on a commit and returns the tag's hash.
func (r *Repo) AnnotatedTag(name, commit string) string {
	r.t.Helper()
	r.Git("tag", "--annotate", "--force", "--message=release", name, commit)
	return r.Git("rev-parse", "refs/tags/"+name)
}

// Clone makes a worktree of the repository in a folder of the test. What is
// committed and pushed there is made by git itself, signatures included.
func (r *Repo) Clone() string {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "clone")
	Git(r.t, filepath.Dir(dir), "clone", "--quiet", r.Path, dir)
	return dir
}

// Object writes an object of any content, without the checks that git makes,
// and returns its hash.
func (r *Repo) Object(kind string, content []byte) string {
	r.t.Helper()
	return run(r.t, r.Path, content, "hash-object", "-w", "-t", kind, "--literally", "--stdin")
}

// Tree writes a folder of plain files, each given as "name hash", sorted.
func (r *Repo) Tree(entries ...string) string {
	r.t.Helper()
	var lines strings.Builder
	for _, entry := range entries {
		name, hash, _ := strings.Cut(entry, " ")
		fmt.Fprintf(&lines, "100644 blob %s\t%s\n", hash, name)
	}
	return run(r.t, r.Path, []byte(lines.String()), "mktree")
}
