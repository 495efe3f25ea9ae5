package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
)

// config of the daemon.
type config struct {
	kubeconfig     string
	namespace      string
	leaseName      string
	identity       string
	workers        int
	selector       string
	qps            float32
	burst          int
	parallel       int
	storeDir       string
	migrateImage   string
	metricsAddress string
	healthAddress  string
	hookAddress    string
	log            logConfig
}

func (c *config) bind(flags *pflag.FlagSet) {
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "file with the cluster's address and credentials; empty inside a cluster")
	flags.StringVar(&c.namespace, "namespace", "", "namespace of the daemon, where its Lease is")
	flags.StringVar(&c.leaseName, "lease", "lockstep", "name of the Lease by which one of several replicas leads")
	flags.StringVar(&c.identity, "identity", "", "name of this process in the Lease; empty for the host name")
	flags.IntVar(&c.workers, "workers", 20, "how many Releases are worked on at a time, those that wait for a rollout or a Job not counted")
	flags.StringVar(&c.selector, "watch-selector", "", "label selector of the Releases that this daemon looks after; give each selector its own --lease")
	flags.Float32Var(&c.qps, "kube-qps", 0, "requests per second to the Kubernetes API for objects of Releases; 0 leaves the bound to the API server")
	flags.IntVar(&c.burst, "kube-burst", 100, "requests at once above --kube-qps")
	flags.IntVar(&c.parallel, "parallel", 16, "how many objects of one Release are compared or applied at a time")
	flags.StringVar(&c.storeDir, "store", "/var/lib/lockstep", "folder for the git objects; may be lost at any time")
	flags.StringVar(&c.migrateImage, "migrate-image", "", "image of this program, which runs migrations in Jobs")
	flags.StringVar(&c.metricsAddress, "metrics-address", ":8080", "address of /metrics")
	flags.StringVar(&c.healthAddress, "health-address", ":8081", "address of /healthz and /readyz")
	flags.StringVar(&c.hookAddress, "hook-address", ":8082", "address of /hook/NAMESPACE/RELEASE, where git servers send webhooks")
	c.log.bind(flags)
}

// validate names each flag that cannot be used, all at once.
func (c *config) validate() error {
	var errs []error
	for _, flag := range []struct{ name, value string }{
		{"--namespace", c.namespace}, {"--lease", c.leaseName}, {"--store", c.storeDir}, {"--migrate-image", c.migrateImage},
	} {
		if strings.TrimSpace(flag.value) == "" {
			errs = append(errs, fmt.Errorf("%s is required", flag.name))
		}
	}
	if _, err := labels.Parse(c.selector); err != nil {
		errs = append(errs, fmt.Errorf("--watch-selector: %w", err))
	}
	if c.qps < 0 || c.burst < 1 {
		errs = append(errs, fmt.Errorf("--kube-qps is %v and --kube-burst is %d: use 0 or more, and 1 or more", c.qps, c.burst))
	}
	if c.parallel < 1 || c.parallel > 256 {
		errs = append(errs, fmt.Errorf("--parallel is %d: use a number from 1 to 256", c.parallel))
	}
	if c.workers < 1 || c.workers > 1000 {
		errs = append(errs, fmt.Errorf("--workers is %d: use a number from 1 to 1000", c.workers))
	}
	if err := c.log.validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// logConfig says how the log is written.
type logConfig struct {
	format string
	level  string
}

func (l *logConfig) bind(flags *pflag.FlagSet) {
	flags.StringVar(&l.format, "log-format", "json", "json or text")
	flags.StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
}

func (l *logConfig) validate() error {
	var errs []error
	if l.format != "json" && l.format != "text" {
		errs = append(errs, fmt.Errorf("--log-format is %q: use json or text", l.format))
	}
	if _, err := l.slogLevel(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (l *logConfig) slogLevel() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return level, fmt.Errorf("--log-level is %q: use debug, info, warn or error", l.level)
	}
	return level, nil
}

// logger writes to w as configured. The configuration was validated.
func (l *logConfig) logger(w io.Writer) *slog.Logger {
	level, err := l.slogLevel()
	if err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if l.format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
