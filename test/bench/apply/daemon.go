package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/test/bench/figure"
)

// stopTime is how long a daemon may take to end.
const stopTime = 20 * time.Second

// daemon is a process of lockstep.
type daemon struct {
	command *exec.Cmd
	log     string
	metrics string
	done    chan error
}

// startDaemon runs the daemon, which knows the Releases of one part only, and
// waits until it leads.
func (w *world) startDaemon(ctx context.Context, part string) (*daemon, error) {
	dir := w.TempDir()
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	d := &daemon{log: filepath.Join(dir, "log"), metrics: "http://" + address + "/metrics", done: make(chan error, 1)}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	identity := "bench-" + part
	// It ends by stop, not with the context: its end is a part of what is cleaned.
	d.command = exec.CommandContext(context.WithoutCancel(ctx), w.program, "run", "--kubeconfig", w.kubeconfig, "--namespace", home, "--identity", identity,
		"--store", filepath.Join(dir, "store"), "--migrate-image", "unused", "--watch-selector", partLabel+"="+part,
		"--metrics-address", address, "--health-address", "127.0.0.1:0", "--hook-address", "127.0.0.1:0")
	d.command.Env = append(os.Environ(), "GOMEMLIMIT=200MiB") // As in the manifests.
	d.command.Stdout, d.command.Stderr = log, log
	if err := d.command.Start(); err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	go func() { d.done <- d.command.Wait() }()
	w.Cleanup(func() { _ = d.stop() })
	return d, w.leads(ctx, d, identity)
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// leads waits until the daemon holds its Lease.
func (w *world) leads(ctx context.Context, d *daemon, identity string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		lease, err := w.cluster.Kube.CoordinationV1().Leases(home).Get(ctx, "lockstep", metav1.GetOptions{})
		if err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity == identity {
			return nil
		}
		select {
		case ended := <-d.done:
			d.done <- ended
			return errors.Join(fmt.Errorf("the daemon has ended: %w", ended), errors.New(d.lastWords()))
		case <-ctx.Done():
			return errors.Join(errors.New("the daemon does not lead"), errors.New(d.lastWords()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the daemon as Kubernetes does. It may be called again.
func (d *daemon) stop() error {
	if err := d.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.AfterFunc(stopTime, func() { _ = d.command.Process.Kill() })
	defer late.Stop()
	err := <-d.done
	d.done <- err
	return err
}

// lastWords is the end of its log.
func (d *daemon) lastWords() string {
	content, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// sample is a series of /metrics.
type sample struct {
	series string
	value  float64
}

// scrape gives the samples of one name.
func (d *daemon) scrape(ctx context.Context, name string) ([]sample, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.metrics, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	var samples []sample
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		series, text, ok := strings.Cut(lines.Text(), "} ")
		if !ok || !strings.HasPrefix(series, name+"{") {
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", series, err)
		}
		samples = append(samples, sample{series, value})
	}
	return samples, lines.Err()
}

// phases is the time that a Release has spent in phases.
func (d *daemon) phases(ctx context.Context, namespace string, names ...string) (time.Duration, error) {
	samples, err := d.scrape(ctx, "lockstep_phase_duration_seconds_sum")
	var sum float64
	found := 0
	for _, s := range samples {
		for _, name := range names {
			if strings.Contains(s.series, `namespace="`+namespace+`"`) && strings.Contains(s.series, `phase="`+name+`"`) {
				sum += s.value
				found++
			}
		}
	}
	if err == nil && found != len(names) {
		err = fmt.Errorf("%d series of the phases %v in %s", found, names, namespace)
	}
	return time.Duration(sum * float64(time.Second)), err
}

// breakdown is the time that the Releases of the namespaces with a prefix have
// spent in each phase, together, for people.
func (d *daemon) breakdown(ctx context.Context, prefix string) string {
	samples, err := d.scrape(ctx, "lockstep_phase_duration_seconds_sum")
	if err != nil {
		return err.Error()
	}
	spent := map[string]float64{}
	for _, s := range samples {
		_, phase, _ := strings.Cut(s.series, `phase="`)
		phase, _, _ = strings.Cut(phase, `"`)
		if strings.Contains(s.series, `namespace="`+prefix) {
			spent[phase] += s.value
		}
	}
	var words []string
	for _, phase := range slices.Sorted(maps.Keys(spent)) {
		if spent[phase] >= 0.001 {
			words = append(words, fmt.Sprintf("%s %.3f s", phase, spent[phase]))
		}
	}
	return strings.Join(words, ", ")
}

// cpu is the processor time that the daemon has used, its children not counted.
func (d *daemon) cpu() (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, in parentheses, may hold anything.
	fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	// Linux counts 100 of them in a second, whatever the machine.
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is what the kernel says of the daemon, in MiB, by keys of
// /proc/PID/status.
func (d *daemon) memory(keys ...string) ([]float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.command.Process.Pid))
	if err != nil {
		return nil, err
	}
	values := make([]float64, len(keys))
	for i, key := range keys {
		if values[i], err = figure.Mebibytes(status, key+":"); err != nil {
			return nil, err
		}
	}
	return values, nil
}
