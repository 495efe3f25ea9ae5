package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/cluster"
	"github.com/lockstep-gitops/lockstep/reconciler/database"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/httpcheck"
	"github.com/lockstep-gitops/lockstep/reconciler/metrics"
	"github.com/lockstep-gitops/lockstep/reconciler/web"
)

// renderMemory is what a child that renders may use. It is half of what the
// manifests give the container, so that a hostile overlay ends its child and
// not the daemon.
const renderMemory = 512 << 20

// daemon is `lockstep run` with everything wired.
type daemon struct {
	config     config
	log        *slog.Logger
	kube       *rest.Config
	registry   *prometheus.Registry
	controller *cluster.Controller
	cluster    *cluster.Cluster
	domain     *reconciler.Reconciler
	events     events.EventBroadcaster
	watchdog   *web.Watchdog
}

func newDaemon(c config, log *slog.Logger) (*daemon, error) {
	klog.SetSlogLogger(log)
	kube, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	kube.UserAgent = "lockstep/" + version
	// Status, events and the Lease; what is applied has its own bound.
	kube.QPS, kube.Burst = 50, 100
	controller, err := cluster.NewController(kube, c.selector, c.workers, log)
	if err != nil {
		return nil, err
	}
	d := &daemon{config: c, log: log, kube: kube, registry: prometheus.NewRegistry(), controller: controller, watchdog: &web.Watchdog{}}
	d.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	recorder, err := d.recorder()
	if err != nil {
		return nil, err
	}
	d.cluster, err = cluster.New(cluster.Options{
		Config: kube, Image: c.migrateImage, Log: log, Events: recorder, Saved: controller.Saved, Moved: controller.Look,
		QPS: c.qps, Burst: c.burst, Parallel: c.parallel,
	})
	if err != nil {
		return nil, err
	}
	source, err := gitrepo.New(gitrepo.Options{Dir: c.storeDir, Log: log, Watch: d.watchdog.Watch, Changed: d.lookAt})
	if err != nil {
		return nil, err
	}
	d.domain = &reconciler.Reconciler{
		Source: source, Renderer: newRenderer(), Migrations: database.Adapter{},
		Cluster: d.cluster, HTTP: httpcheck.New(nil), Loop: controller, Recorder: metrics.New(d.registry), Log: log,
		Boundary: boundary(c.storeDir),
	}
	return d, nil
}

// lookAt has every Release look at a repository in which something moved. The
// answer is here already and is shared.
func (d *daemon) lookAt(url string) {
	d.controller.LookAt(func(other string) bool { return gitrepo.CanonicalURL(other) == url })
}

// recorder makes what sends events; it is started with the daemon.
func (d *daemon) recorder() (events.EventRecorder, error) {
	client, err := kubernetes.NewForConfig(d.kube)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	d.events = events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	return d.events.NewRecorder(scheme, "lockstep"), nil
}

// run starts everything and stops it in the order in which it depends on each
// other: first the work, then the Lease, then what only looks.
func (d *daemon) run(ctx context.Context) error {
	looking, stopLooking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLooking()
	group, grouped := errgroup.WithContext(looking)
	group.Go(func() error {
		return listen(grouped, d.config.metricsAddress, web.Metrics(metrics.Handler(d.registry)))
	})
	group.Go(func() error { return listen(grouped, d.config.healthAddress, web.Health(d.watchdog.Alive, d.ready)) })
	group.Go(func() error {
		hooks := cluster.NewHooks(grouped, d.cluster, d.controller, d.log)
		return listen(grouped, d.config.hookAddress, web.Webhook(hooks, d.log))
	})
	group.Go(func() error { return d.controller.Watch(grouped) })
	group.Go(func() error {
		if err := d.events.StartRecordingToSinkWithContext(grouped); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		<-grouped.Done()
		d.events.Shutdown()
		return nil
	})
	group.Go(func() error {
		defer stopLooking()
		working, stop := context.WithCancel(grouped)
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		return d.lead(working)
	})
	err := group.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		d.log.Info("stopped")
		return nil
	}
	return err
}

func (d *daemon) lead(ctx context.Context) error {
	identity := d.config.identity
	if identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("name of this process for the Lease: %w; set --identity", err)
		}
		identity = host
	}
	// The name is that of the Pod: a container that starts anew finds its own
	// Lease and goes on at once, since the process that held it is gone.
	d.log.InfoContext(ctx, "waiting for the Lease", "lease", d.config.namespace+"/"+d.config.leaseName, "identity", identity)
	lease := cluster.Lease{Namespace: d.config.namespace, Name: d.config.leaseName, Identity: identity}
	return cluster.Lead(ctx, d.kube, lease, func(ctx context.Context) error {
		d.log.InfoContext(ctx, "leading")
		group, working := errgroup.WithContext(ctx)
		group.Go(func() error { return d.cluster.Run(working) })
		group.Go(func() error { return d.controller.Work(working, d.domain) })
		return group.Wait()
	})
}

func (d *daemon) ready() error {
	if !d.controller.Synced() {
		return errors.New("the Releases are not known yet: the Kubernetes API has not answered")
	}
	return nil
}

// listen serves until the context ends, then lets requests finish.
func listen(ctx context.Context, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := web.Server(address, handler)
	defer context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(last)
	})()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", address, err)
	}
	return nil
}
