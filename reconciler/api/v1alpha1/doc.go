// Package v1alpha1 holds the Release custom resource: one overlay of one
// branch, delivered together with the databases that it depends on.
//
// +kubebuilder:object:generate=true
// +groupName=lockstep.dev
package v1alpha1
