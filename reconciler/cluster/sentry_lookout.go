package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Pauses between two rounds of a watch that ends or is refused. With its
// jitter the longest is a minute.
const (
	firstRetry   = 500 * time.Millisecond
	longestRetry = 50 * time.Second
	retryJitter  = 0.2
)

// errRelist ends a round so that the watch lists anew.
var errRelist = errors.New("to be listed anew")

// errKindGone says that the API does not serve a kind, by its own complete
// answer and not by a discovery that may be partial (A13).
var errKindGone = errors.New("the API does not serve the kind")

// lookout keeps one watch going. One goroutine owns it.
type lookout struct {
	sentry    *Sentry
	watcher   *watcher
	resource  schema.GroupVersionResource
	reflector *cache.Reflector
}

// run lists and watches, round after round, until the context ends.
func (l *lookout) run(ctx context.Context) {
	defer l.sentry.ended(l.watcher, nil)
	pause := firstRetry
	for ctx.Err() == nil {
		began := time.Now()
		err := l.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errRelist):
			continue
		case time.Since(began) > longestRetry:
			pause = firstRetry
		}
		l.tell(ctx, err)
		select {
		case <-ctx.Done():
			return
		case <-l.watcher.wake:
		case <-time.After(wait.Jitter(pause, retryJitter)):
		}
		pause = min(2*pause, longestRetry)
	}
}

// round is one list and the watch that follows it. It returns nil when a
// watch that had begun was cut off.
func (l *lookout) round(ctx context.Context) error {
	if l.reflector == nil {
		if err := l.prepare(ctx); err != nil {
			return err
		}
	}
	round, end := context.WithCancelCause(ctx)
	defer end(nil)
	l.sentry.begin(l.watcher, func() { end(errRelist) })
	// What the Reflector has to say is either in its error or no news.
	err := l.reflector.ListAndWatchWithContext(klog.NewContext(round, klog.Logger{}))
	switch {
	case errors.Is(context.Cause(round), errRelist):
		return errRelist
	case apierrors.IsNotFound(err):
		// What was known of the kind is no longer so.
		l.reflector = nil
		return fmt.Errorf("%w: %w", errKindGone, err)
	}
	return err
}

// prepare finds the resource of the kind and makes the client for it.
func (l *lookout) prepare(ctx context.Context) error {
	var err error
	if l.resource, err = l.sentry.resource(ctx, l.watcher.post.kind); err != nil {
		return err
	}
	client, err := metadata.NewForConfig(l.sentry.impersonating(l.watcher.post))
	if err != nil {
		return fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	var objects metadata.ResourceInterface = client.Resource(l.resource)
	if namespace := l.watcher.post.namespace; namespace != "" {
		objects = client.Resource(l.resource).Namespace(namespace)
	}
	l.reflector = cache.NewReflectorWithOptions(l.source(objects), &metav1.PartialObjectMetadata{}, sink{l.sentry, l.watcher},
		// The Reflector makes pauses of its own that heed no context: they
		// are short, and ours are long.
		cache.ReflectorOptions{Name: l.watcher.post.String(), Backoff: &wait.Backoff{Duration: firstRetry, Steps: 1}})
	return nil
}

// source lists and watches what carries our label.
func (l *lookout) source(objects metadata.ResourceInterface) *cache.ListWatch {
	narrow := func(options *metav1.ListOptions) {
		options.LabelSelector = reconciler.ReleaseLabel
		if name := l.watcher.post.name; name != "" {
			options.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
		}
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			narrow(&options)
			list, err := objects.List(ctx, options)
			return list, untried(err)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			narrow(&options)
			watcher, err := objects.Watch(ctx, options)
			return watcher, untried(err)
		},
	}
}

// untried hides from the Reflector the errors after which it would try again
// by itself, for as long as it takes: the Sentry must know that it is blind.
func untried(err error) error {
	if err != nil && (utilnet.IsConnectionRefused(err) || apierrors.IsTooManyRequests(err)) {
		return errors.New(err.Error())
	}
	return err
}

// impersonating is the configuration of a client with the rights of the
// account of a post.
func (s *Sentry) impersonating(at post) *rest.Config {
	config := rest.CopyConfig(s.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + at.account.Namespace + ":" + at.account.Name}
	// Whoever applied the object was warned already.
	config.WarningHandlerWithContext = rest.NoWarnings{}
	return config
}

// resource finds the resource of a kind. What the mapper does not know may
// have come since it asked, or may hide behind an aggregated API that was out
// of order then; so the API is asked for this one group and version.
func (s *Sentry) resource(ctx context.Context, kind schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	mapping, err := s.mapper.RESTMappingWithContext(ctx, kind.GroupKind(), kind.Version)
	switch {
	case err == nil:
		return mapping.Resource, nil
	case !isNoMatch(err):
		return schema.GroupVersionResource{}, fmt.Errorf("resource of kind %s: %w", kind.Kind, err)
	}
	client, err := discovery.NewDiscoveryClientForConfig(s.config)
	if err != nil {
		return schema.GroupVersionResource{}, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	served, err := client.ServerResourcesForGroupVersionWithContext(ctx, kind.GroupVersion().String())
	if err != nil && !apierrors.IsNotFound(err) {
		return schema.GroupVersionResource{}, fmt.Errorf("resource of kind %s: %w", kind.Kind, err)
	}
	if err == nil {
		for _, resource := range served.APIResources {
			if resource.Kind == kind.Kind && !strings.Contains(resource.Name, "/") {
				return kind.GroupVersion().WithResource(resource.Name), nil
			}
		}
	}
	return schema.GroupVersionResource{}, fmt.Errorf("%w: %s of %s", errKindGone, kind.Kind, kind.GroupVersion())
}

// begin takes down how the round that begins now can be ended.
func (s *Sentry) begin(w *watcher, again func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.again = again
}

// ended takes down that a round is over, and why.
func (s *Sentry) ended(w *watcher, trouble error) {
	out := news{}
	s.mu.Lock()
	w.again, w.listed, w.trouble = nil, false, trouble
	if errors.Is(trouble, errKindGone) {
		w.vanish(out)
	}
	s.mu.Unlock()
	s.tell(out)
}

// tell makes known how a round ended. A trouble is logged when it comes, not
// each time it is met again.
func (l *lookout) tell(ctx context.Context, err error) {
	l.sentry.mu.Lock()
	before := l.watcher.trouble
	l.sentry.mu.Unlock()
	trouble := l.explain(err)
	l.sentry.ended(l.watcher, trouble)
	if trouble != nil && (before == nil || before.Error() != trouble.Error()) {
		l.sentry.log.WarnContext(ctx, "managed objects cannot be watched", "error", trouble)
	}
}

// explain says what to do about a watch that does not go on.
func (l *lookout) explain(err error) error {
	at := l.watcher.post
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errKindGone):
		return reconciler.Transientf("KindGone", "watch of %s: %w: install its CustomResourceDefinition again, or take the objects out of the commit", at, err)
	case apierrors.IsForbidden(err):
		return reconciler.Transient("WatchForbidden", &apiError{cause: err, text: fmt.Sprintf(
			"watch of %s as ServiceAccount %s: %s: give it the verbs list and watch on %s; until then a change by others is not seen",
			at, at.account, answerOf(err), l.resource.GroupResource())})
	}
	return reconciler.Transientf("WatchFailed", "watch of %s as ServiceAccount %s: %w", at, at.account, err)
}

// answerOf is what the API said, without what client-go wraps around it.
func answerOf(err error) string {
	if status, ok := statusOf(err); ok && status.Message != "" {
		return status.Message
	}
	return err.Error()
}

// sink takes what a watch brings to the Sentry.
type sink struct {
	sentry  *Sentry
	watcher *watcher
}

// Add implements cache.ReflectorStore.
func (k sink) Add(object any) error { return k.see(object, false) }

// Update implements cache.ReflectorStore.
func (k sink) Update(object any) error { return k.see(object, false) }

// Delete implements cache.ReflectorStore. It is called as well for an object
// that lost the label.
func (k sink) Delete(object any) error { return k.see(object, true) }

// Resync implements cache.ReflectorStore. There is nothing to do.
func (k sink) Resync() error { return nil }

// Transformer implements cache.TransformingStore.
func (k sink) Transformer() cache.TransformFunc { return shrink }

func (k sink) see(object any, gone bool) error {
	g, err := glimpseOf(object)
	if err != nil {
		k.sentry.log.Error("event of a watch not understood", "watch", k.watcher.post.String(), "error", err)
		return err
	}
	g.gone = gone
	out := news{}
	k.sentry.mu.Lock()
	k.watcher.see(g, out)
	k.sentry.mu.Unlock()
	k.sentry.tell(out)
	return nil
}

// Replace implements cache.ReflectorStore.
func (k sink) Replace(objects []any, version string) error {
	list := make([]*glimpse, 0, len(objects))
	for _, object := range objects {
		g, err := glimpseOf(object)
		if err != nil {
			return err
		}
		list = append(list, g)
	}
	out := news{}
	k.sentry.mu.Lock()
	k.watcher.replace(list, version, out)
	k.sentry.mu.Unlock()
	k.sentry.tell(out)
	return nil
}
