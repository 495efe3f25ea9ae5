// Package verdict judges objects: is this one done, moving, or stuck? It is
// pure: an object in, a value out. That an object is not ready is a verdict
// and never an error.
package verdict

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// State is what an object is about.
type State string

// The states.
const (
	// Done means that the object is what its spec says.
	Done State = "Done"
	// Moving means that it may get there.
	Moving State = "Moving"
	// Stuck means that it will not get there by itself.
	Stuck State = "Stuck"
)

// Verdict is a state and why.
type Verdict struct {
	State State
	// Message is for people, with numbers where there are any.
	Message string
}

func done(format string, args ...any) Verdict   { return Verdict{Done, fmt.Sprintf(format, args...)} }
func moving(format string, args ...any) Verdict { return Verdict{Moving, fmt.Sprintf(format, args...)} }
func stuck(format string, args ...any) Verdict  { return Verdict{Stuck, fmt.Sprintf(format, args...)} }

// Of judges an object as it was read from the API.
func Of(object *unstructured.Unstructured) Verdict {
	if object.GetDeletionTimestamp() != nil {
		return moving("is being deleted")
	}
	switch object.GroupVersionKind().GroupKind().String() {
	case "Deployment.apps":
		return deployment(object)
	case "StatefulSet.apps":
		return statefulSet(object)
	case "DaemonSet.apps":
		return daemonSet(object)
	case "Job.batch":
		return job(object)
	case "CustomResourceDefinition.apiextensions.k8s.io":
		return definition(object)
	case "Pod":
		return pod(object)
	default:
		return generic(object)
	}
}

// Waits tells whether an object of this kind has to be waited for at all.
// What has no status, or a status that says nothing about readiness, is done
// as soon as it is stored. A claim may wait for its first Pod, and a Service
// for an address that never comes: neither is waited for.
func Waits(object *unstructured.Unstructured) bool {
	switch object.GroupVersionKind().GroupKind().String() {
	case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "Job.batch", "Pod",
		"CustomResourceDefinition.apiextensions.k8s.io":
		return true
	default:
		return false
	}
}

// observed compares the generation that a controller has seen with the one
// that was written. Without it, the numbers are those of the last rollout.
func observed(object *unstructured.Unstructured) (Verdict, bool) {
	seen, found, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	if !found || seen < object.GetGeneration() {
		return moving("generation %d is not observed yet", object.GetGeneration()), false
	}
	return Verdict{}, true
}

func number(object *unstructured.Unstructured, otherwise int64, fields ...string) int64 {
	if value, found, err := unstructured.NestedInt64(object.Object, fields...); found && err == nil {
		return value
	}
	return otherwise
}

func text(object map[string]any, fields ...string) string {
	value, _, _ := unstructured.NestedString(object, fields...)
	return value
}

// condition is one entry of status.conditions.
type condition struct{ status, reason, message string }

func conditionOf(object *unstructured.Unstructured, kind string) (condition, bool) {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, item := range list {
		entry, ok := item.(map[string]any)
		if ok && text(entry, "type") == kind {
			return condition{text(entry, "status"), text(entry, "reason"), text(entry, "message")}, true
		}
	}
	return condition{}, false
}

// generic judges kinds that are not known here by what most controllers do:
// observedGeneration and a condition Ready.
func generic(object *unstructured.Unstructured) Verdict {
	if seen, found, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration"); found && seen < object.GetGeneration() {
		return moving("generation %d is not observed yet", object.GetGeneration())
	}
	ready, found := conditionOf(object, "Ready")
	if found && ready.status != "True" {
		return moving("not ready: %s %s", ready.reason, ready.message)
	}
	return done("exists")
}
