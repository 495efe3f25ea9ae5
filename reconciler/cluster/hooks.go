package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// WebhookTokenKey is the key of the Secret of spec.source.webhook.
const WebhookTokenKey = "token"

// hookPause is the least time between two looks that webhooks of one Release
// ask for, and between two reads of its token (S21).
const hookPause = 10 * time.Second

// hookTimeout bounds the requests to the API that a webhook causes.
const hookTimeout = 10 * time.Second

// Hooks knows the tokens of webhooks, and hands on what a webhook asks for.
// Every replica answers webhooks: the wish is written to the Release, where
// the replica that leads sees it.
type Hooks struct {
	// lifetime ends the requests to the API that webhooks cause, which go on
	// after the webhook was answered.
	lifetime   context.Context //nolint:containedctx // It is that of the daemon, not of a call.
	cluster    *Cluster
	controller *Controller
	log        *slog.Logger
	pause      time.Duration

	mu    sync.Mutex
	known map[types.NamespacedName]*hook
}

type hook struct {
	mu sync.Mutex
	// name and generation say what token belongs to.
	name       string
	generation int64
	token      []byte
	// stale is true after a request that the token did not verify: it may
	// have been changed.
	stale bool
	read  time.Time
	// polled is when the last look was, or will be, asked for.
	polled time.Time
}

// NewHooks returns the Hooks of the Releases that the controller knows, which
// work until ctx ends.
func NewHooks(ctx context.Context, cluster *Cluster, controller *Controller, log *slog.Logger) *Hooks {
	return &Hooks{lifetime: ctx, cluster: cluster, controller: controller, log: log, pause: hookPause, known: map[types.NamespacedName]*hook{}}
}

// Token returns the token of a Release's webhook. It is read from the cluster
// when it is not known, or may have been changed, but at most every 10 s,
// however many requests ask for it.
func (h *Hooks) Token(key types.NamespacedName) ([]byte, bool) {
	release, err := h.controller.read(key)
	if err != nil || release == nil || release.Spec.Source.Webhook == nil {
		h.forget(key)
		return nil, false
	}
	known := h.of(release)
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.stale && time.Since(known.read) >= h.pause {
		known.read = time.Now()
		if token, err := h.readToken(release, known.name); err != nil {
			h.log.Warn("token of the webhook not readable", "namespace", key.Namespace, "release", key.Name, "error", err)
		} else {
			known.token, known.stale = token, token == nil
		}
	}
	return known.token, known.token != nil
}

// of is what is known of the hook of a Release as it is now.
func (h *Hooks) of(release *v1alpha1.Release) *hook {
	key := types.NamespacedName{Namespace: release.Namespace, Name: release.Name}
	name := release.Spec.Source.Webhook.SecretRef.Name
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.known[key]
	if known == nil || known.name != name || known.generation != release.Generation {
		known = &hook{name: name, generation: release.Generation, stale: true}
		h.known[key] = known
	}
	return known
}

// find is what is known of a hook, or nil.
func (h *Hooks) find(key types.NamespacedName) *hook {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[key]
}

func (h *Hooks) forget(key types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, key)
}

func (h *Hooks) readToken(release *v1alpha1.Release, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(h.lifetime, hookTimeout)
	defer cancel()
	tenant, err := h.cluster.As(release)
	if err != nil {
		return nil, err
	}
	secret, err := tenant.Secret(ctx, name)
	if err != nil {
		return nil, err
	}
	return bytes.TrimSpace(secret[WebhookTokenKey]), nil
}

// Refused has the token read anew before the next request, in case that it
// was changed.
func (h *Hooks) Refused(key types.NamespacedName) {
	if known := h.find(key); known != nil {
		known.mu.Lock()
		defer known.mu.Unlock()
		known.stale = true
	}
}

// Poll asks for a look at the Release's repository: at once, or 10 s after the
// last one, so that a burst of webhooks costs two looks.
func (h *Hooks) Poll(key types.NamespacedName) {
	known := h.find(key)
	if known == nil {
		return
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	now := time.Now()
	if known.polled.After(now) {
		return // A look is to come that sees all there is by then.
	}
	at := known.polled.Add(h.pause)
	if at.Before(now) {
		at = now
	}
	known.polled = at
	time.AfterFunc(at.Sub(now), func() { h.ask(key, at) })
}

// ask writes the wish to the Release.
func (h *Hooks) ask(key types.NamespacedName, at time.Time) {
	ctx, cancel := context.WithTimeout(h.lifetime, hookTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		v1alpha1.RequestedAtAnnotation: at.UTC().Format(time.RFC3339Nano),
	}}})
	if err == nil {
		_, err = h.cluster.releases.Namespace(key.Namespace).
			Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		h.log.Warn("webhook not handed on; the branch is read after the interval", "namespace", key.Namespace, "release", key.Name, "error", err)
	}
}
