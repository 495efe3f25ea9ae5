package cluster

import (
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// workload names what an autoscaler scales.
type workload struct {
	kind            schema.GroupKind
	namespace, name string
}

// autoscaled gathers the workloads at which a HorizontalPodAutoscaler among
// the objects points.
func autoscaled(objects []reconciler.Object, namespace string) map[workload]bool {
	out := map[workload]bool{}
	for _, object := range objects {
		if object.Unstructured == nil || object.GroupVersionKind().GroupKind().String() != kindAutoscaler {
			continue
		}
		target, _, err := unstructured.NestedMap(object.Object, "spec", "scaleTargetRef")
		if err != nil {
			continue
		}
		version, _ := target["apiVersion"].(string)
		kind, _ := target["kind"].(string)
		name, _ := target["name"].(string)
		group, err := schema.ParseGroupVersion(version)
		if err != nil {
			continue
		}
		at := object.GetNamespace()
		if at == "" {
			at = namespace
		}
		out[workload{schema.GroupKind{Group: group.Group, Kind: kind}, at, name}] = true
	}
	return out
}

// scaling is what an apply does about spec.replicas: nothing, leave it out, or
// send the number that stands in the cluster.
type scaling struct {
	leave bool
	hold  int64
}

// scalingOf leaves the number of replicas to an autoscaler (A21). A field of
// ours that is left out is removed by the API server, and one replica is the
// default, so it is only left out when the autoscaler owns it by itself; until
// then what stands in the cluster is sent again. Zero replicas switch an
// autoscaler off: then the number is that of the commit. The entries are those of
// the object after a takeover.
func scalingOf(live *unstructured.Unstructured, entries []metav1.ManagedFieldsEntry, targeted bool) scaling {
	if live == nil {
		return scaling{}
	}
	replicas, found, err := unstructured.NestedInt64(live.Object, "spec", "replicas")
	if err != nil || !found {
		return scaling{}
	}
	scaler, ours := replicasOwners(entries)
	if !targeted && (scaler == "" || strings.HasPrefix(scaler, "kubectl")) {
		// Nobody scales it but a person, whose change is drift.
		return scaling{}
	}
	switch {
	case scaler != "":
		return scaling{leave: true}
	case replicas == 0:
		return scaling{}
	case ours:
		return scaling{hold: replicas}
	}
	return scaling{leave: true}
}

// replicasOwners tells who owns spec.replicas through the subresource scale,
// and whether we own it.
func replicasOwners(entries []metav1.ManagedFieldsEntry) (scaler string, ours bool) {
	path := fieldpath.MakePathOrDie("spec", "replicas")
	for _, entry := range entries {
		if set := fieldsOf(entry); !set.Has(path) {
			continue
		}
		switch {
		case entry.Subresource == "scale":
			scaler = entry.Manager
		case isOurs(entry):
			ours = true
		}
	}
	return scaler, ours
}

// change returns the object as it is sent.
func (s scaling) change(normal map[string]any) map[string]any {
	spec, ok := normal["spec"].(map[string]any)
	if !ok || s == (scaling{}) {
		return normal
	}
	normal, spec = maps.Clone(normal), maps.Clone(spec)
	delete(spec, "replicas")
	if !s.leave {
		spec["replicas"] = s.hold
	}
	normal["spec"] = spec
	return normal
}

// workload names a target as autoscalers do.
func (at target) workload() workload {
	return workload{at.object.GroupVersionKind().GroupKind(), at.id.namespace, at.id.name}
}
