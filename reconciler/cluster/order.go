package cluster

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kinds that are asked for by name.
const (
	kindNamespace   = "Namespace"
	kindDefinition  = "CustomResourceDefinition.apiextensions.k8s.io"
	kindJob         = "Job.batch"
	kindStatefulSet = "StatefulSet.apps"
	kindAutoscaler  = "HorizontalPodAutoscaler.autoscaling"
)

// waves cuts a list into parts, each of which is written at one time. The
// order of the list stands: a part ends where the kind changes. Workloads do
// not stand on one another, so their kinds may share a part.
func waves(kinds []schema.GroupKind) [][]int {
	var out [][]int
	last := ""
	for i, kind := range kinds {
		wave := kind.String()
		if slices.Contains(workloadGroups(), kind.Group) && wave != kindStatefulSet {
			wave = "workload"
		}
		if wave != last || i == 0 {
			out = append(out, nil)
			last = wave
		}
		out[len(out)-1] = append(out[len(out)-1], i)
	}
	return out
}

func workloadGroups() []string { return []string{"apps", "batch", "autoscaling", "policy"} }
