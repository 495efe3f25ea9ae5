package harness

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Branch is the branch that is delivered.
const Branch = "clean-k8s-deploy"

// Credentials of the git server. They guard a server that lives for a test.
const (
	gitUser     = "deployer"
	gitPassword = "for-the-demo-only"
)

const gitServer = `
apiVersion: v1
kind: Namespace
metadata:
  name: git
---
apiVersion: v1
kind: Service
metadata:
  name: git
  namespace: git
spec:
  selector: {app: git}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: git
  namespace: git
spec:
  selector: {matchLabels: {app: git}}
  template:
    metadata:
      labels: {app: git}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 65534, fsGroup: 65534, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: git
          image: lockstep.local/git:2
          args: [--root, /srv/git, --repo, unity.git]
          env:
            - {name: GIT_USER, value: ` + gitUser + `}
            - {name: GIT_PASSWORD, value: ` + gitPassword + `}
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
          volumeMounts: [{name: repositories, mountPath: /srv/git}, {name: tmp, mountPath: /tmp}]
      volumes: [{name: repositories, emptyDir: {}}, {name: tmp, emptyDir: {}}]
`

// RepositoryURL is where Pods of the cluster find the repository.
const RepositoryURL = "http://git.git.svc/unity.git"

// InstallGit runs the git server.
func (c *Cluster) InstallGit(ctx context.Context) error {
	objects, err := Parse(gitServer)
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objects...); err != nil {
		return err
	}
	return c.RolledOut(ctx, "git", "git", 2*time.Minute)
}

// Repository is a work tree whose commits are pushed to the git server.
type Repository struct {
	Dir     string
	cluster *Cluster
}

// NewRepository makes an empty work tree in an existing empty folder.
func (c *Cluster) NewRepository(ctx context.Context, dir string) (*Repository, error) {
	r := &Repository{Dir: dir, cluster: c}
	if _, err := r.git(ctx, "init", "-q", "-b", Branch); err != nil {
		return nil, err
	}
	return r, nil
}

// git runs the git program with a fixed author and without the machine's
// configuration.
func (r *Repository) git(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = r.Dir
	command.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Unity", "GIT_AUTHOR_EMAIL=unity@example.org", "GIT_COMMITTER_NAME=Unity", "GIT_COMMITTER_EMAIL=unity@example.org")
	output, err := command.CombinedOutput()
	if err != nil {
		return "", errors.Join(fmt.Errorf("git %s: %w", args[0], err), errors.New(strings.ReplaceAll(string(output), gitPassword, "***")))
	}
	return strings.TrimSpace(string(output)), nil
}

// Write puts a file into the work tree.
func (r *Repository) Write(name, content string) error {
	path := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// Remove takes a file or folder out of the work tree.
func (r *Repository) Remove(name string) error {
	return os.RemoveAll(filepath.Join(r.Dir, name))
}

// Copy puts a folder or file of this module into the work tree.
func (r *Repository) Copy(name string) error {
	from := filepath.Join(r.cluster.Root, name)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	to := filepath.Join(r.Dir, name)
	if info.IsDir() {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		return os.CopyFS(to, os.DirFS(from))
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return r.Write(name, string(content))
}

// Replace changes text in a file of the work tree. Text that is not there is
// an error: a test must not push nothing.
func (r *Repository) Replace(name, from, to string) error {
	content, err := os.ReadFile(filepath.Join(r.Dir, name))
	if err != nil {
		return err
	}
	if !strings.Contains(string(content), from) {
		return fmt.Errorf("%s does not contain %q", name, from)
	}
	return r.Write(name, strings.ReplaceAll(string(content), from, to))
}

// Push commits everything and pushes it. It returns the commit.
func (r *Repository) Push(ctx context.Context, message string) (string, error) {
	if _, err := r.git(ctx, "add", "-A"); err != nil {
		return "", err
	}
	if _, err := r.git(ctx, "commit", "-q", "--allow-empty", "-m", message); err != nil {
		return "", err
	}
	port, stop, err := r.cluster.Forward(ctx, "git", "app=git", 8080)
	if err != nil {
		return "", err
	}
	defer stop()
	remote := url.URL{Scheme: "http", User: url.UserPassword(gitUser, gitPassword), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "/unity.git"}
	if _, err := r.git(ctx, "push", "-q", remote.String(), "+HEAD:"+Branch); err != nil {
		return "", err
	}
	return r.git(ctx, "rev-parse", "HEAD")
}
