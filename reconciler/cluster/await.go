package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"golang.org/x/sync/errgroup"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/verdict"
)

// place is where one watch serves many objects.
type place struct {
	resource  schema.GroupVersionResource
	namespace string
}

// vigil is the wait for the objects of one place.
type vigil struct {
	place
	tenant *tenant
	client dynamic.ResourceInterface
	// wanted are the resourceVersions as applied, by name.
	wanted map[string]string

	mu      sync.Mutex
	pending map[string]string
}

// Await watches the objects until all are done. There is one watch for each
// kind and namespace; between two events nothing is asked.
func (t *tenant) Await(ctx context.Context, objects []reconciler.Object) error {
	vigils, err := t.vigils(objects)
	if err != nil {
		return err
	}
	group, watching := errgroup.WithContext(ctx)
	for _, v := range vigils {
		group.Go(func() error { return v.keep(watching) })
	}
	err = group.Wait()
	if err == nil || ctx.Err() == nil {
		return err
	}
	return t.unfinished(ctx, vigils, objects)
}

func (t *tenant) vigils(objects []reconciler.Object) ([]*vigil, error) {
	var out []*vigil
	byPlace := map[place]*vigil{}
	for _, object := range objects {
		if !verdict.Waits(object.Unstructured) {
			continue
		}
		client, id, err := t.resource(object)
		if err != nil {
			return nil, classify(object, err)
		}
		at := place{id.resource, id.namespace}
		v, ok := byPlace[at]
		if !ok {
			v = &vigil{place: at, tenant: t, client: client, wanted: map[string]string{}, pending: map[string]string{}}
			byPlace[at] = v
			out = append(out, v)
		}
		v.wanted[id.name] = t.applied[id]
		v.pending[id.name] = object.GetKind() + " " + id.name + ": not seen yet"
	}
	return out, nil
}

// keep watches until nothing is pending.
func (v *vigil) keep(ctx context.Context) error {
	return v.tenant.until(ctx, v.client, v.selector(), nil, v.see)
}

// selector picks one object by name, or a whole kind when several of it are
// waited for.
func (v *vigil) selector() string {
	if len(v.wanted) == 1 {
		for name := range v.wanted {
			return fields.OneTermEqualSelector("metadata.name", name).String()
		}
	}
	return ""
}

// until lists and watches until seen answers true or an error. Whoever lacks
// the right to watch is told at once: the watch itself would try again until
// ctx ends and say nothing.
func (t *tenant) until(ctx context.Context, client dynamic.ResourceInterface, selector string, synced watchtools.PreconditionFunc, seen watchtools.ConditionFunc) error {
	watching, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	lw := selecting(client, func(options *metav1.ListOptions) { options.FieldSelector = selector })
	list, follow := lw.ListWithContextFunc, lw.WatchFuncWithContext
	lw.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		objects, err := list(ctx, options)
		t.refuseIfForbidden(err, refuse)
		return objects, err
	}
	lw.WatchFuncWithContext = func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		watcher, err := follow(ctx, options)
		t.refuseIfForbidden(err, refuse)
		return watcher, err
	}
	_, err := watchtools.UntilWithSync(watching, lw, &unstructured.Unstructured{}, synced, seen)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case watching.Err() != nil:
		return context.Cause(watching)
	case errors.Is(err, watchtools.ErrWatchClosed):
		return reconciler.Transient("WatchClosed", err)
	}
	return err
}

func (t *tenant) refuseIfForbidden(err error, refuse context.CancelCauseFunc) {
	if apierrors.IsForbidden(err) {
		refuse(reconciler.Terminal("Forbidden", t.explain(err)))
	}
}

func selecting(client dynamic.ResourceInterface, tweak func(*metav1.ListOptions)) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			tweak(&options)
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			tweak(&options)
			return client.Watch(ctx, options)
		},
	}
}

// see judges one event. It answers true when nothing is pending any more.
func (v *vigil) see(event watch.Event) (bool, error) {
	object, ok := event.Object.(*unstructured.Unstructured)
	if !ok {
		return false, nil
	}
	name := object.GetName()
	applied, ok := v.wanted[name]
	if !ok {
		return false, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	what := object.GetKind() + " " + name + ": "
	switch {
	case event.Type == watch.Deleted:
		v.pending[name] = what + "was deleted by somebody else"
		return false, nil
	case older(object.GetResourceVersion(), applied):
		return false, nil
	}
	judged := verdict.Of(object)
	switch judged.State {
	case verdict.Done:
		delete(v.pending, name)
	case verdict.Moving:
		v.pending[name] = what + judged.Message
	case verdict.Stuck:
		return false, reconciler.Terminal("ObjectStuck", errors.New(what+judged.Message))
	}
	return len(v.pending) == 0, nil
}

// older compares two resourceVersions. Since Kubernetes 1.35 they are
// documented to be comparable as numbers; before, they were so in fact.
func older(seen, applied string) bool {
	a, errA := strconv.ParseUint(seen, 10, 64)
	b, errB := strconv.ParseUint(applied, 10, 64)
	return errA == nil && errB == nil && a < b
}

// unfinished says what is not done, and what the Pods say of the reason. The
// context has ended by now, so the look at the Pods has its own short time.
func (t *tenant) unfinished(ctx context.Context, vigils []*vigil, objects []reconciler.Object) error {
	var lines []string
	for _, v := range vigils {
		v.mu.Lock()
		for _, line := range v.pending {
			lines = append(lines, line)
		}
		v.mu.Unlock()
	}
	if len(lines) == 0 {
		return ctx.Err()
	}
	slices.Sort(lines)
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), troubleTimeout)
	defer cancel()
	lines = append(lines, t.troubles(look, objects)...)
	const most = 10
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	return errors.New(strings.Join(lines, "; "))
}

const troubleTimeout = 5 * time.Second
