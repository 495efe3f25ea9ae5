package cluster

import (
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// prepared is what Compare has found out about a write: the body that was
// dry-run, so that the very same is sent.
type prepared struct {
	object *unstructured.Unstructured
	body   []byte
	// fresh is true when the object must be read right before the write: a
	// takeover, an autoscaler and what others may set depend on how it stands
	// then.
	fresh bool
	// targeted is true when an autoscaler of the same commit scales it.
	targeted bool
}

// preparations of the writes that are to come.
type preparations struct {
	mu     sync.Mutex
	byName map[identity]prepared
}

func (p *preparations) put(id identity, ready prepared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byName == nil {
		p.byName = map[identity]prepared{}
	}
	p.byName[id] = ready
}

// take answers what is known of the write of an object, once: what comes
// later may find another state.
func (p *preparations) take(id identity, object *unstructured.Unstructured) (prepared, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready, ok := p.byName[id]
	delete(p.byName, id)
	return ready, ok && ready.object == object
}
