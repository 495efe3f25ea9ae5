package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/httpcheck"
	"github.com/lockstep-gitops/lockstep/reconciler/metrics"
	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

// client is the cluster of a person at a terminal, found as kubectl finds it.
type client struct {
	kubeconfig string
	context    string
	namespace  string
}

func (c *client) bind(flags *pflag.FlagSet) {
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file; the one that kubectl would use when empty")
	flags.StringVar(&c.context, "context", "", "context of the kubeconfig")
	flags.StringVarP(&c.namespace, "namespace", "n", "", "namespace of the Release; that of the context when empty")
}

// load reads the kubeconfig and settles the namespace.
func (c *client) load() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	if c.namespace == "" {
		if c.namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("namespace of the context: %w", err)
		}
	}
	config.UserAgent = "lockstep/" + version
	return config, nil
}

// local is the domain on this machine, with the rights of whoever runs it. It
// is for looking: nothing of it is told to anybody.
type local struct {
	*reconciler.Reconciler
	cluster *cluster.Cluster
	close   func()
}

// connect wires the domain. It is closed by the caller.
func (c *client) connect() (*local, error) {
	config, err := c.load()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	api, err := cluster.New(cluster.Options{Config: config, Log: log, Events: events.NewFakeRecorder(0), OwnRights: true})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lockstep-")
	if err != nil {
		return nil, fmt.Errorf("folder for what is fetched: %w", err)
	}
	source, err := gitrepo.New(gitrepo.Options{Dir: dir, Log: log})
	if err != nil {
		return nil, err
	}
	return &local{
		Reconciler: &reconciler.Reconciler{
			Source: source, Renderer: newRenderer(), Migrations: database.Adapter{}, Cluster: api,
			HTTP: httpcheck.New(nil), Recorder: metrics.New(prometheus.NewRegistry()), Log: log,
		},
		cluster: api,
		close:   func() { _ = os.RemoveAll(dir) },
	}, nil
}

// newRenderer is the one that the daemon uses too.
func newRenderer() *render.Renderer {
	return render.New(render.Options{Limits: render.Limits{Memory: renderMemory}})
}
