package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lockstep-gitops/lockstep/test/cluster/api"
	"github.com/lockstep-gitops/lockstep/test/cluster/lock"
	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

// Files of the state folder that later commands read.
const (
	recordFile     = "cluster.json"
	planFile       = "plan.json"
	kubeconfigFile = "admin.kubeconfig"
)

// record says what the folder is, and how to reach the cluster in it.
type record struct {
	Name    string          `json:"name"`
	Mode    plan.Mode       `json:"mode"`
	Sources string          `json:"sources"` // digest of what the components were built from
	Address string          `json:"address"` // of the API server, on loopback
	Admin   supervise.Probe `json:"admin"`
}

// errDown says that there is no such cluster.
var errDown = errors.New("not up")

// loadRecord reads the record of a cluster that was started.
func loadRecord(o options) (record, error) {
	text, err := os.ReadFile(filepath.Join(o.state, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, fmt.Errorf("cluster %s is %w (no %s): run go run ./test/cluster up", o.name, errDown, o.state)
	}
	if err != nil {
		return record{}, fmt.Errorf("cluster %s: %w", o.name, err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("cluster %s: %s: %w: run down, then up", o.name, recordFile, err)
	}
	return r, nil
}

func (r record) save(state string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return writeFile(filepath.Join(state, recordFile), text)
}

// server is the cluster's API server, asked as the administrator.
func (r record) server() (api.Server, error) {
	client, err := r.Admin.Client()
	if err != nil {
		return api.Server{}, fmt.Errorf("cluster %s: %w", r.Name, err)
	}
	return api.Server{URL: "https://" + r.Address, Client: client}, nil
}

// claimable refuses a state folder that holds something else, since it is
// going to be removed with all that is in it.
func claimable(o options) error {
	entries, err := os.ReadDir(o.state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state folder: %w", err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(o.state, recordFile)); err != nil {
			return fmt.Errorf("state folder %s holds other things: name an empty or a new one with --state", o.state)
		}
	}
	return nil
}

// claim makes the state folder and says in it whose it is.
func claim(o options) error {
	if err := os.MkdirAll(o.state, 0o755); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return record{Name: o.name, Mode: o.mode}.save(o.state)
}

// acquire lets one command at a time change the cluster. The lock lies outside
// the state folder, which comes and goes.
func acquire(ctx context.Context, o options, stderr io.Writer) (func(), error) {
	cache, err := cacheHome()
	if err != nil {
		return nil, err
	}
	file := fmt.Sprintf("%s-%x.lock", o.name, sha256.Sum256([]byte(o.state)))
	return lock.Acquire(ctx, filepath.Join(cache, "locks", file), func() {
		_, _ = fmt.Fprintf(stderr, "waiting for another command that changes cluster %s\n", o.name)
	})
}

// writeFile writes what only the owner may read, in one step.
func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	partial := path + ".partial"
	if err := os.WriteFile(partial, text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(partial, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
