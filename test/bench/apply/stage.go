package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// partLabel on a Release names the part that it belongs to.
const partLabel = "bench"

// patience is how long anything may take that is waited for.
const patience = 5 * time.Minute

// stage is the world of one part, with a daemon.
type stage struct {
	*world
	part   string
	daemon *daemon
}

// measure runs a part with a daemon of its own.
func (w *world) measure(ctx context.Context, p part) error {
	d, err := w.startDaemon(ctx, p.name)
	if err != nil {
		return err
	}
	err = p.measure(ctx, &stage{w, p.name, d})
	if err != nil {
		err = errors.Join(err, errors.New(d.lastWords()))
	}
	if ended := d.stop(); ended != nil {
		err = errors.Join(err, fmt.Errorf("end of the daemon: %w", ended))
	}
	return err
}

// source is what a Release follows.
type source struct {
	url, path string
	interval  time.Duration
}

// release is a Release of this part.
func (s *stage) release(namespace, name string, from source) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.Group + "/v1alpha1", "kind": v1alpha1.Kind,
		"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{partLabel: s.part}},
		"spec": map[string]any{
			"source":             map[string]any{"url": from.url, "branch": "main", "path": from.path, "interval": from.interval.String()},
			"serviceAccountName": deployer,
		},
	}}
}

func (w *world) releases(namespace string) dynamic.ResourceInterface {
	return w.client.Resource(v1alpha1.Resource()).Namespace(namespace)
}

func (s *stage) create(ctx context.Context, release *unstructured.Unstructured) error {
	_, err := s.releases(release.GetNamespace()).Create(ctx, release, metav1.CreateOptions{})
	return err
}

// deliver makes a Release and tells how long it took to settle.
func (s *stage) deliver(ctx context.Context, release *unstructured.Unstructured) (time.Duration, error) {
	return s.until(ctx, s.releases(release.GetNamespace()), named(release.GetName()),
		func() error { return s.create(ctx, release) },
		func(live *unstructured.Unstructured) (bool, error) { return settled(live, "") })
}

// poke makes the daemon look at the branch of a Release.
func (s *stage) poke(ctx context.Context, namespace, name string) error {
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RequestedAtAnnotation, time.Now().Format(time.RFC3339Nano))
	_, err := s.releases(namespace).Patch(ctx, name, types.MergePatchType, []byte(body), metav1.PatchOptions{})
	return err
}

func named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
}

// settled tells whether a Release has delivered a commit, any when it is
// empty. One that is stalled is an error.
func settled(release *unstructured.Unstructured, commit string) (bool, error) {
	conditions, _, err := unstructured.NestedSlice(release.Object, "status", "conditions")
	if err != nil {
		return false, err
	}
	ready := false
	for _, entry := range conditions {
		condition, _ := entry.(map[string]any)
		if condition["status"] != string(metav1.ConditionTrue) {
			continue
		}
		switch condition["type"] {
		case v1alpha1.ConditionStalled:
			return false, fmt.Errorf("release %s/%s is stalled: %v", release.GetNamespace(), release.GetName(), condition["message"])
		case v1alpha1.ConditionReady:
			ready = true
		}
	}
	good, _, err := unstructured.NestedString(release.Object, "status", "lastGoodRevision")
	return ready && strings.HasSuffix(good, commit), err
}

// until looks, acts, watches, and tells how long it took from the act on until
// what was waited for was seen.
func (w *world) until(ctx context.Context, client dynamic.ResourceInterface, options metav1.ListOptions,
	act func() error, seen func(*unstructured.Unstructured) (bool, error),
) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	list, err := client.List(ctx, options)
	if err != nil {
		return 0, err
	}
	for i := range list.Items {
		if done, err := seen(&list.Items[i]); done || err != nil {
			return 0, err
		}
	}
	follow := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, more metav1.ListOptions) (watch.Interface, error) {
		more.FieldSelector, more.LabelSelector = options.FieldSelector, options.LabelSelector
		return client.Watch(ctx, more)
	}}
	// A busy API server closes watches that lag behind, so it is taken up again.
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), follow)
	if err != nil {
		return 0, err
	}
	defer watcher.Stop()
	return follows(ctx, watcher, act, seen)
}

// follows is the part of until that is measured.
func follows(ctx context.Context, watcher watch.Interface, act func() error, seen func(*unstructured.Unstructured) (bool, error)) (time.Duration, error) {
	began, acted := time.Now(), make(chan error, 1)
	go func() { acted <- act() }()
	for {
		select {
		case err := <-acted:
			if err != nil {
				return 0, err
			}
		case event, open := <-watcher.ResultChan():
			done, err := judge(event, open, seen)
			if done || err != nil {
				return time.Since(began), err
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("not seen what was waited for: %w", ctx.Err())
		}
	}
}

func judge(event watch.Event, open bool, seen func(*unstructured.Unstructured) (bool, error)) (bool, error) {
	object, ok := event.Object.(*unstructured.Unstructured)
	switch {
	case !open:
		return false, errors.New("the watch was closed")
	case event.Type == watch.Error:
		return false, apierrors.FromObject(event.Object)
	case !ok || event.Type == watch.Deleted:
		return false, nil
	}
	return seen(object)
}
