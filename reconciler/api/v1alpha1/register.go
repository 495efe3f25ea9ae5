package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of everything that Lockstep defines.
const Group = "lockstep.dev"

// Kind is the kind of a Release.
const Kind = "Release"

// GroupVersion is the group and version of this package.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: "v1alpha1"}
}

// GroupVersionKind names a Release to the API.
func GroupVersionKind() schema.GroupVersionKind { return GroupVersion().WithKind(Kind) }

// Resource names the collection of Releases to the API.
func Resource() schema.GroupVersionResource { return GroupVersion().WithResource("releases") }

// AddToScheme makes the types of this package known to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion(), &Release{}, &ReleaseList{})
	metav1.AddToGroupVersion(scheme, GroupVersion())
	return nil
}
