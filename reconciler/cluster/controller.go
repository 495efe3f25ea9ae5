package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"golang.org/x/time/rate"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Domain is what the loop feeds Releases to.
type Domain interface {
	// Reconcile is one pass over a Release, which it may change.
	Reconcile(ctx context.Context, release *v1alpha1.Release) (reconciler.Next, error)
	// Forget is told of Releases that are gone.
	Forget(key types.NamespacedName)
}

// Controller watches Releases and works on them, one pass at a time each.
type Controller struct {
	informer cache.SharedIndexInformer
	written  cache.MutationCache
	queue    workqueue.TypedRateLimitingInterface[types.NamespacedName]
	log      *slog.Logger
	// places are taken by passes that work; those that wait leave theirs.
	places chan struct{}

	mu sync.Mutex
	// looked bounds the passes that changed objects cause.
	looked map[types.NamespacedName]*rate.Limiter
}

// maxPasses bounds the passes under way, those that only wait included.
const maxPasses = 2000

// Pauses after failures in a row.
const (
	firstPause = time.Second
	longPause  = 5 * time.Minute
)

// writtenTTL is how long a status that was just written is preferred to what
// the watch has delivered. A watch that lags longer has broken.
const writtenTTL = 10 * time.Minute

// NewController returns a Controller that does nothing until Watch. It knows
// the Releases that the label selector chooses, all when it is empty, and works
// on so many at a time; those of which a pass waits do not count.
func NewController(config *rest.Config, selector string, workers int, log *slog.Logger) (*Controller, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	lw := selecting(client.Resource(v1alpha1.Resource()), func(options *metav1.ListOptions) { options.LabelSelector = selector })
	informer := cache.NewSharedIndexInformer(lw, &unstructured.Unstructured{}, 0, cache.Indexers{})
	c := &Controller{
		informer: informer,
		written:  cache.NewIntegerResourceVersionMutationCache(klog.Background(), informer.GetStore(), informer.GetIndexer(), writtenTTL, false),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](firstPause, longPause)),
		log:    log,
		places: make(chan struct{}, workers),
		looked: map[types.NamespacedName]*rate.Limiter{},
	}
	if err := informer.SetTransform(readRelease); err != nil {
		return nil, fmt.Errorf("informer of Releases: %w", err)
	}
	if _, err := informer.AddEventHandler(c.handler()); err != nil {
		return nil, fmt.Errorf("informer of Releases: %w", err)
	}
	return c, nil
}

// readRelease turns what the watch brings into a Release, once, and keeps out
// of memory what nothing here reads (P7). One that cannot be read stays as it
// is: it must not keep the others from being known (P12).
func readRelease(object any) (any, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	u.SetManagedFields(nil)
	if release, err := decodeRelease(u); err == nil {
		return release, nil
	}
	return u, nil
}

func decodeRelease(u *unstructured.Unstructured) (*v1alpha1.Release, error) {
	release := &v1alpha1.Release{}
	return release, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, release)
}

// handler queues a Release when its spec changed or somebody asked for a
// look. Changes of the status are our own.
func (c *Controller) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { c.enqueue(object) },
		UpdateFunc: func(before, after any) {
			old, okOld := before.(*v1alpha1.Release)
			current, okCurrent := after.(*v1alpha1.Release)
			if okOld && okCurrent && !wantsLook(old, current) {
				return
			}
			c.enqueue(after)
		},
		DeleteFunc: func(object any) { c.enqueue(object) },
	}
}

func wantsLook(before, after *v1alpha1.Release) bool {
	return before.GetUID() != after.GetUID() ||
		before.GetGeneration() != after.GetGeneration() ||
		before.GetAnnotations()[v1alpha1.RequestedAtAnnotation] != after.GetAnnotations()[v1alpha1.RequestedAtAnnotation]
}

func (c *Controller) enqueue(object any) {
	name, err := cache.DeletionHandlingObjectToName(object)
	if err != nil {
		return
	}
	key := types.NamespacedName{Namespace: name.Namespace, Name: name.Name}
	c.queue.Forget(key)
	c.queue.Add(key)
}

// LookAt queues every Release that follows a repository which same recognises
// by its URL.
func (c *Controller) LookAt(same func(url string) bool) {
	for _, object := range c.informer.GetStore().List() {
		if release, ok := object.(*v1alpha1.Release); ok && same(release.Spec.Source.URL) {
			c.enqueue(release)
		}
	}
}

// Passes that changed objects of one Release cause: so many at once, then one a
// second. An object that is written all the time costs no more than that.
const (
	looksAtOnce    = 30
	looksPerSecond = 1
)

// Look queues a Release of whose objects one was changed by somebody else. A
// burst of changes is one pass.
func (c *Controller) Look(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looked[key] == nil {
		c.looked[key] = rate.NewLimiter(looksPerSecond, looksAtOnce)
	}
	c.queue.AddAfter(key, c.looked[key].Reserve().Delay())
}

// Saved takes note of a status that was written, so that the next pass does
// not decide on the state of before.
func (c *Controller) Saved(object *unstructured.Unstructured) {
	// What cannot be read comes by the watch, and read tells of it.
	if release, err := decodeRelease(object.DeepCopy()); err == nil {
		release.ManagedFields = nil
		c.written.Mutation(release)
	}
}

// Synced tells whether the Releases are known.
func (c *Controller) Synced() bool { return c.informer.HasSynced() }

// Watch keeps the Releases known until the context ends.
func (c *Controller) Watch(ctx context.Context) error {
	c.informer.RunWithContext(ctx)
	return nil
}

// Aside leaves the place of a pass that waits to another, until back is called.
// When ctx ends there is no place to come back to: the pass is about to end.
func (c *Controller) Aside(ctx context.Context) (back func()) {
	c.leave()
	return func() {
		select {
		case c.places <- struct{}{}:
		case <-ctx.Done():
		}
	}
}

// leave gives a place back, if it is held.
func (c *Controller) leave() {
	select {
	case <-c.places:
	default:
	}
}

// Stale tells whether a Release was edited or deleted since it was read.
func (c *Controller) Stale(release *v1alpha1.Release) bool {
	object, exists, err := c.informer.GetStore().GetByKey(release.Namespace + "/" + release.Name)
	if err != nil || !exists {
		return err == nil
	}
	known, ok := object.(*v1alpha1.Release)
	return ok && (known.UID != release.UID || known.Generation > release.Generation)
}

// Work passes Releases to the domain until the context ends and the last pass
// has returned.
func (c *Controller) Work(ctx context.Context, domain Domain) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.informer.HasSynced) {
		return ctx.Err()
	}
	stop := context.AfterFunc(ctx, c.queue.ShutDown)
	defer stop()
	var running sync.WaitGroup
	for range maxPasses {
		running.Go(func() {
			for c.next(ctx, domain) {
			}
		})
	}
	running.Wait()
	return nil
}

// next takes one Release from the queue. It answers false when there is
// nothing more to come.
func (c *Controller) next(ctx context.Context, domain Domain) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	c.places <- struct{}{}
	defer c.leave()
	release, err := c.read(key)
	if err != nil {
		c.log.ErrorContext(ctx, "release not readable", "namespace", key.Namespace, "release", key.Name, "error", err)
		return true
	}
	if release == nil {
		c.queue.Forget(key)
		c.mu.Lock()
		delete(c.looked, key)
		c.mu.Unlock()
		domain.Forget(key)
		return true
	}
	next, err := domain.Reconcile(ctx, release)
	switch {
	case ctx.Err() != nil:
		return true
	case apierrors.IsNotFound(err):
		// It was deleted in the middle of the pass; the watch tells the rest.
		return true
	case err != nil:
		c.log.ErrorContext(ctx, "pass not finished", "namespace", key.Namespace, "release", key.Name, "error", err)
		c.queue.AddRateLimited(key)
	case next.Retry:
		c.retry(key, next.After)
	default:
		c.queue.Forget(key)
		c.queue.AddAfter(key, jitter(next.After))
	}
	return true
}

// retry waits longer after each failure in a row, but at most until the next
// look at the branch is due.
func (c *Controller) retry(key types.NamespacedName, most time.Duration) {
	pause := firstPause << min(c.queue.NumRequeues(key), 10)
	c.queue.AddRateLimited(key)
	if pause > most {
		c.queue.AddAfter(key, most)
	}
}

// jitter spreads the looks of many Releases, so that they do not come to the
// git server in one moment.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/10+1))
}

func (c *Controller) read(key types.NamespacedName) (*v1alpha1.Release, error) {
	object, exists, err := c.written.GetByKey(key.String())
	if err != nil || !exists {
		return nil, err
	}
	switch object := object.(type) {
	case *v1alpha1.Release:
		return object.DeepCopy(), nil
	case *unstructured.Unstructured:
		_, err := decodeRelease(object)
		return nil, err
	}
	return nil, fmt.Errorf("unexpected %T in the store", object)
}
