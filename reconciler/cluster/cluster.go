// Package cluster is the Kubernetes API for the domain, over client-go:
// server-side apply under the rights of each Release's ServiceAccount, Jobs,
// watches, status, events, and the loop that feeds Releases to the domain.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/klauspost/compress/zstd"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// FieldManager is the name under which everything is applied. It is
// load-bearing: the API server knows by it which fields are ours, and a
// change of the name would leave every field of before behind.
const FieldManager = "lockstep"

// Options of a Cluster.
type Options struct {
	// Config reaches the API as the daemon.
	Config *rest.Config
	// Image runs `lockstep migrate` in Jobs.
	Image string
	Log   *slog.Logger
	// Events receives what is to be told about Releases.
	Events events.EventRecorder
	// Parallel is how many requests a call makes at one time, 16 when zero.
	Parallel int
	// QPS and Burst bound the requests per second of the whole daemon. Without
	// a QPS there is no bound on this side: the API server has priorities and
	// fairness of its own.
	QPS   float32
	Burst int
	// RequestTimeout ends a request that is not answered, 70 s when zero.
	RequestTimeout time.Duration
	// Saved, when set, is called with each Release whose status was written.
	Saved func(*unstructured.Unstructured)
	// Moved, when set, is called with each Release of whose objects another was
	// changed by somebody else. It must not wait.
	Moved func(types.NamespacedName)
	// OwnRights acts as Config does and not as the ServiceAccount of a Release:
	// for a person at a terminal.
	OwnRights bool
}

// Cluster is the Kubernetes API as the daemon sees it.
type Cluster struct {
	options   Options
	releases  dynamic.NamespaceableResourceInterface
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper
	sentry    *Sentry
	metadata  metadata.Interface
	packer    *zstd.Encoder

	mu sync.Mutex
	// discovered is when the kinds of the API were last asked for anew.
	discovered time.Time
}

var _ reconciler.Cluster = (*Cluster)(nil)

// New returns a Cluster. Nothing is asked of the API before it is used.
func New(options Options) (*Cluster, error) {
	options.Config = rest.CopyConfig(options.Config)
	options.Config.QPS, options.Config.RateLimiter = -1, nil
	if options.QPS > 0 {
		options.Config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(options.QPS, max(options.Burst, 1))
	}
	client, err := dynamic.NewForConfig(options.Config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	kube, err := kubernetes.NewForConfig(options.Config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	names, err := metadata.NewForConfig(options.Config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	packer, err := newPacker()
	if err != nil {
		return nil, fmt.Errorf("compressor of records: %w", err)
	}
	if options.Moved == nil {
		options.Moved = func(types.NamespacedName) {}
	}
	kinds := memory.NewMemCacheClient(kube.Discovery())
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(kinds)
	return &Cluster{
		options:   options,
		releases:  client.Resource(v1alpha1.Resource()),
		discovery: kinds,
		mapper:    mapper,
		metadata:  names,
		packer:    packer,
		sentry:    NewSentry(options.Config, mapper, options.Log, options.Moved),
	}, nil
}

// As returns the cluster under the rights of the Release's ServiceAccount. The
// name is never empty here: an empty one would impersonate nobody and act as
// the daemon itself (CVE-2026-23990).
func (c *Cluster) As(release *v1alpha1.Release) (reconciler.Tenant, error) {
	account := strings.TrimSpace(release.Spec.ServiceAccountName)
	if account == "" || release.Namespace == "" {
		return nil, reconciler.Terminalf("ServiceAccountMissing", "spec.serviceAccountName is empty: name the ServiceAccount that may write the objects of the overlay")
	}
	config := rest.CopyConfig(c.options.Config)
	if !c.options.OwnRights {
		// The API server adds the groups of a ServiceAccount by itself; naming
		// them would need the right to impersonate groups.
		config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + release.Namespace + ":" + account}
	}
	log := c.options.Log.With("namespace", release.Namespace, "release", release.Name)
	config.WarningHandlerWithContext = warnings{log: log}
	// The API server is near; to pack lists of objects takes longer than to
	// send them.
	config.DisableCompression = true
	client, err := restClient(config)
	if err != nil {
		return nil, fmt.Errorf("client for ServiceAccount %s/%s: %w", release.Namespace, account, err)
	}
	return &tenant{
		cluster: c, client: dynamic.New(client), rest: client, config: config, log: log,
		namespace: release.Namespace, account: account, release: release.Name, replaces: release.Spec.ReplaceImmutable,
		applied: map[identity]string{},
	}, nil
}

// restClient reaches all kinds of the API. Its connections are those of every
// other client of the same address and credentials: impersonation is a matter
// of headers.
func restClient(config *rest.Config) (rest.Interface, error) {
	config = dynamic.ConfigFor(config)
	config.GroupVersion = nil
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return rest.UnversionedRESTClientForConfigAndClient(config, client)
}

// SaveStatus writes the status. The daemon is its only writer, so a conflict
// only means that somebody changed the spec meanwhile.
func (c *Cluster) SaveStatus(ctx context.Context, release *v1alpha1.Release) error {
	client := c.releases.Namespace(release.Namespace)
	for range maxConflicts {
		object, err := toUnstructured(release)
		if err != nil {
			return err
		}
		written, err := client.UpdateStatus(ctx, object, metav1.UpdateOptions{FieldManager: FieldManager})
		if err == nil {
			release.ResourceVersion = written.GetResourceVersion()
			if c.options.Saved != nil {
				c.options.Saved(written)
			}
			return nil
		}
		if !apierrors.IsConflict(err) {
			return fmt.Errorf("status of Release %s/%s: %w", release.Namespace, release.Name, err)
		}
		current, err := client.Get(ctx, release.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read Release %s/%s: %w", release.Namespace, release.Name, err)
		}
		if current.GetUID() != release.UID {
			return fmt.Errorf("release %s/%s was deleted and made anew", release.Namespace, release.Name)
		}
		release.ResourceVersion = current.GetResourceVersion()
	}
	return fmt.Errorf("status of Release %s/%s: somebody changes it faster than it can be written", release.Namespace, release.Name)
}

// maxConflicts is how often a status is written anew after somebody else
// changed the Release in between.
const maxConflicts = 5

// maxEvent is what the API takes as the note of an event.
const maxEvent = 1000

// Event tells those who watch the Release.
func (c *Cluster) Event(release *v1alpha1.Release, warning bool, reason, message string) {
	c.tell(release, nil, warning, reason, message)
}

// EventAbout tells of an object of the Release. The API counts events up that
// differ in their text alone, and keeps the first text: the object keeps those
// about others apart.
func (c *Cluster) EventAbout(release *v1alpha1.Release, about reconciler.Ref, warning bool, reason, message string) {
	c.tell(release, &corev1.ObjectReference{
		APIVersion: gvkOf(about).GroupVersion().String(), Kind: about.Kind, Namespace: about.Namespace, Name: about.Name,
	}, warning, reason, message)
}

func (c *Cluster) tell(release *v1alpha1.Release, about runtime.Object, warning bool, reason, message string) {
	kind := corev1.EventTypeNormal
	if warning {
		kind = corev1.EventTypeWarning
	}
	if len(message) > maxEvent {
		message = strings.ToValidUTF8(message[:maxEvent], "")
	}
	subject := &v1alpha1.Release{ObjectMeta: release.ObjectMeta}
	subject.SetGroupVersionKind(v1alpha1.GroupVersionKind())
	c.options.Events.Eventf(subject, about, kind, reason, "Deliver", "%s", message)
}

func toUnstructured(release *v1alpha1.Release) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(release)
	if err != nil {
		return nil, fmt.Errorf("encode Release %s/%s: %w", release.Namespace, release.Name, err)
	}
	object := &unstructured.Unstructured{Object: content}
	object.SetGroupVersionKind(v1alpha1.GroupVersionKind())
	return object, nil
}

// warnings takes what the API server warns of: into the list that the context
// carries, else into the log. The text speaks of
// field paths and policies, never of values.
type warnings struct{ log *slog.Logger }

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _ string, message string) {
	if code != 299 || message == "" {
		return
	}
	if list, ok := ctx.Value(warningsKey{}).(*[]string); ok {
		if !slices.Contains(*list, message) {
			*list = append(*list, message)
		}
		return
	}
	w.log.WarnContext(ctx, "the API server warns", "warning", message)
}
