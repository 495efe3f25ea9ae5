package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// overlay is the file in which commits of the tests change things.
const overlay = "kustomize/overlays/kind/kustomization.yaml"

// FirstCommit fills a work tree with Unity as it was before tenants.
func FirstCommit(r *Repository) error {
	for _, name := range []string{"kustomize", "migrations"} {
		if err := r.Copy(name); err != nil {
			return err
		}
	}
	later, err := filepath.Glob(filepath.Join(r.Dir, "migrations", "0000*"))
	if err != nil {
		return err
	}
	for _, name := range later {
		if !strings.HasPrefix(filepath.Base(name), "000001") {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// TenantCommit adds the migration to tenants and the image that needs it.
func TenantCommit(r *Repository) error {
	for _, direction := range []string{"up", "down"} {
		if err := r.Copy("migrations/000002_tenant_support." + direction + ".sql"); err != nil {
			return err
		}
	}
	return r.Replace(overlay, "newTag: v1", "newTag: v2")
}

// AskUnity makes one GET of the backend.
func (c *Cluster) AskUnity(ctx context.Context, path string) (string, error) {
	port, stop, err := c.Forward(ctx, Namespace, "app.kubernetes.io/name=unity-backend", 8000)
	if err != nil {
		return "", err
	}
	defer stop()
	return get(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
}

// Get makes one GET of a port of a Pod.
func (c *Cluster) Get(ctx context.Context, namespace, pod string, port int, path string) (string, error) {
	local, stop, err := c.forwardTo(namespace, pod, port)
	if err != nil {
		return "", err
	}
	defer stop()
	return get(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", local, path))
}

// Post sends a body to a port of a Pod and returns the status of the answer.
func (c *Cluster) Post(ctx context.Context, namespace, pod string, port int, path string, header http.Header, body []byte) (int, error) {
	local, stop, err := c.forwardTo(namespace, pod, port)
	if err != nil {
		return 0, err
	}
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", local, path), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header = header
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return string(body), fmt.Errorf("GET %s: status %d", url, answer.StatusCode)
	}
	return strings.TrimSpace(string(body)), err
}

// Overhead is how long one change of the backend takes in two ways.
type Overhead struct{ ByHand, ByPush time.Duration }

// MeasureOverhead restarts the backend twice with a change of its template:
// by hand, with kubectl apply and kubectl rollout status, and by a commit. The
// time of a push begins when the daemon is told that there is something new.
func (c *Cluster) MeasureOverhead(ctx context.Context) (Overhead, error) {
	var out Overhead
	dir, err := os.MkdirTemp("", "overhead-*")
	if err != nil {
		return out, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	repo, err := c.NewRepository(ctx, dir)
	if err != nil {
		return out, err
	}
	if err := FirstCommit(repo); err != nil {
		return out, err
	}
	if err := TenantCommit(repo); err != nil {
		return out, err
	}
	const strategy = "  template:\n    metadata:\n"
	if err := repo.Replace("kustomize/base/backend.yaml", strategy, strategy+"      annotations: {round: push}\n"); err != nil {
		return out, err
	}
	commit, err := repo.Push(ctx, "Restart the backend")
	if err != nil {
		return out, err
	}
	began := time.Now()
	if err := c.Poke(ctx); err != nil {
		return out, err
	}
	if _, err := c.WaitRelease(ctx, 3*time.Minute, nil, Settled(commit)); err != nil {
		return out, err
	}
	out.ByPush = time.Since(began)
	if err := repo.Replace("kustomize/base/backend.yaml", "{round: push}", "{round: hand}"); err != nil {
		return out, err
	}
	began = time.Now()
	for _, args := range [][]string{
		{"apply", "--server-side", "--force-conflicts", "-k", filepath.Join(dir, "kustomize/overlays/kind")},
		{"rollout", "status", "-n", Namespace, "deployment/unity-backend"},
	} {
		if err := c.kubectl(ctx, args...); err != nil {
			return out, err
		}
	}
	out.ByHand = time.Since(began)
	return out, nil
}

// StateKubeconfig is the kubeconfig in the state folder of a cluster of our
// own; its logs and programs are beside it.
func (c *Cluster) StateKubeconfig(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "go", "run", "./test/cluster", "kubeconfig", "--name", c.Name)
	command.Dir = c.Root
	state, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("kubeconfig of %s: %w", c.Name, err)
	}
	return strings.TrimSpace(string(state)), nil
}

// kubectl runs the kubectl of the cluster of our own, or that of the machine.
func (c *Cluster) kubectl(ctx context.Context, args ...string) error {
	program := "kubectl"
	if c.Name != "" {
		state, err := c.StateKubeconfig(ctx)
		if err != nil {
			return err
		}
		program = filepath.Join(filepath.Dir(state), "bin", "kubectl")
	}
	return c.quiet(ctx, program, append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
}
