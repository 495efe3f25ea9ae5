package reconciler

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// credentialCache keeps the credentials of repositories in memory. The zero
// value is ready to be used.
type credentialCache struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]credentialEntry
}

type credentialEntry struct {
	name       string
	generation int64
	secret     Secret
}

// get returns the credentials of the source and whether they were read just now.
func (c *credentialCache) get(ctx context.Context, release *v1alpha1.Release, tenant Tenant) (secret Secret, read bool, err error) {
	ref := release.Spec.Source.SecretRef
	if ref == nil {
		return nil, false, nil
	}
	c.mu.Lock()
	entry, ok := c.entries[keyOf(release)]
	c.mu.Unlock()
	if ok && entry.name == ref.Name && entry.generation == release.Generation {
		return entry.secret, false, nil
	}
	secret, err = tenant.Secret(ctx, ref.Name)
	if err != nil {
		return nil, false, Transientf("CredentialsUnavailable", "spec.source.secretRef: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[types.NamespacedName]credentialEntry{}
	}
	c.entries[keyOf(release)] = credentialEntry{name: ref.Name, generation: release.Generation, secret: secret}
	return secret, true, nil
}

func (c *credentialCache) forget(release *v1alpha1.Release) { c.forgetKey(keyOf(release)) }

func (c *credentialCache) forgetKey(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
}
