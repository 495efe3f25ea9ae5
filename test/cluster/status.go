package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/process"
)

// statusTimeout bounds the question whether the cluster is healthy.
const statusTimeout = 3 * time.Second

// statusCommand says what runs, and fails unless it is healthy.
func statusCommand(ctx context.Context, args []string, stdout, _ io.Writer) error {
	o, _, err := parseOptions("status", args)
	if err != nil {
		return err
	}
	r, err := loadRecord(o)
	if err != nil {
		return err
	}
	running, err := process.Find(o.state)
	if err != nil {
		return err
	}
	health := "healthy"
	limited, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if r.Address == "" {
		err = errors.New("its start was broken off: run up again")
	} else {
		err = healthy(limited, r)
	}
	if err != nil {
		health = "not healthy"
	}
	_, _ = fmt.Fprintf(stdout, "cluster %s, mode %s: %s\n", o.name, r.Mode, health)
	if err := describe(o, r, stdout); err != nil {
		return err
	}
	for _, p := range running {
		if p.Own() {
			_, _ = fmt.Fprintf(stdout, "  process     %d %s\n", p.PID, p.Name)
		}
	}
	return err
}

// describe prints how to reach the cluster.
func describe(o options, r record, stdout io.Writer) error {
	running, err := process.Find(o.state)
	if err != nil {
		return err
	}
	if r.Address != "" {
		_, _ = fmt.Fprintf(stdout, "  API         https://%s\n", r.Address)
		_, _ = fmt.Fprintf(stdout, "  kubeconfig  %s\n", filepath.Join(o.state, kubeconfigFile))
		_, _ = fmt.Fprintf(stdout, "  kubectl     %s\n", filepath.Join(o.state, "bin", "kubectl"))
	}
	_, _ = fmt.Fprintf(stdout, "  logs        %s\n", filepath.Join(o.state, "log"))
	for _, p := range running {
		if ports, ok := relayOf(p.Name); ok {
			_, _ = fmt.Fprintf(stdout, "  relay       127.0.0.1:%d to NodePort %d\n", ports.local, ports.node)
		}
	}
	return nil
}

// kubeconfigCommand prints the path of the kubeconfig, or the file.
func kubeconfigCommand(_ context.Context, args []string, stdout, _ io.Writer) error {
	o, _, err := parseOptions("kubeconfig", args)
	if err != nil {
		return err
	}
	if _, err := loadRecord(o); err != nil {
		return err
	}
	path := filepath.Join(o.state, kubeconfigFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cluster %s did not come up: %w", o.name, err)
	}
	if o.raw {
		_, err = stdout.Write(text)
		return err
	}
	_, err = fmt.Fprintln(stdout, path)
	return err
}
