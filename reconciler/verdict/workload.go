package verdict

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// deployment is done when all wanted replicas are of the new template and
// available, and no old one is left (O1). Kubernetes' own progress deadline
// only informs: a healthy rollout may exceed it (O4, O5), so it is told and
// the caller's timeout decides.
func deployment(object *unstructured.Unstructured) Verdict {
	if v, ok := observed(object); !ok {
		return v
	}
	if failure, found := conditionOf(object, "ReplicaFailure"); found && failure.status == "True" {
		return moving("no Pod can be made: %s: %s", failure.reason, failure.message)
	}
	late := ""
	if progress, found := conditionOf(object, "Progressing"); found && progress.reason == "ProgressDeadlineExceeded" {
		late = ", progress deadline exceeded"
	}
	want := number(object, 1, "spec", "replicas")
	total := number(object, 0, "status", "replicas")
	updated := number(object, 0, "status", "updatedReplicas")
	available := number(object, 0, "status", "availableReplicas")
	switch {
	case updated < want:
		return moving("%d of %d replicas updated%s", updated, want, late)
	case total > updated:
		return moving("%d old replicas still there%s", total-updated, late)
	case available < want:
		return moving("%d of %d replicas available%s", available, want, late)
	default:
		return done("%d replicas available", available)
	}
}

// statefulSet is done when each replica is of the current revision and ready.
func statefulSet(object *unstructured.Unstructured) Verdict {
	if v, ok := observed(object); !ok {
		return v
	}
	want := number(object, 1, "spec", "replicas")
	ready := number(object, 0, "status", "readyReplicas")
	if text(object.Object, "spec", "updateStrategy", "type") == "OnDelete" {
		return enough(ready, want)
	}
	partition := number(object, 0, "spec", "updateStrategy", "rollingUpdate", "partition")
	updated := number(object, 0, "status", "updatedReplicas")
	current := text(object.Object, "status", "currentRevision") == text(object.Object, "status", "updateRevision")
	if !current && updated < want-partition {
		return moving("%d of %d replicas updated", updated, want-partition)
	}
	return enough(ready, want)
}

func enough(ready, want int64) Verdict {
	if ready < want {
		return moving("%d of %d replicas ready", ready, want)
	}
	return done("%d replicas ready", ready)
}

func daemonSet(object *unstructured.Unstructured) Verdict {
	if v, ok := observed(object); !ok {
		return v
	}
	want := number(object, 0, "status", "desiredNumberScheduled")
	updated := number(object, 0, "status", "updatedNumberScheduled")
	if text(object.Object, "spec", "updateStrategy", "type") != "OnDelete" && updated < want {
		return moving("%d of %d Pods updated", updated, want)
	}
	available := number(object, 0, "status", "numberAvailable")
	if available < want {
		return moving("%d of %d Pods available", available, want)
	}
	return done("%d Pods available", available)
}

// job is done on condition Complete=True and nothing less: a running Job is
// not done, and neither is a suspended one (J5).
func job(object *unstructured.Unstructured) Verdict {
	if c, found := conditionOf(object, "Complete"); found && c.status == "True" {
		return done("complete")
	}
	if c, found := conditionOf(object, "Failed"); found && c.status == "True" {
		return stuck("failed: %s: %s", c.reason, c.message)
	}
	if c, found := conditionOf(object, "Suspended"); found && c.status == "True" {
		return moving("suspended: it runs when somebody sets spec.suspend to false")
	}
	return moving("running: %d active, %d failed", number(object, 0, "status", "active"), number(object, 0, "status", "failed"))
}

func definition(object *unstructured.Unstructured) Verdict {
	if c, found := conditionOf(object, "NamesAccepted"); found && c.status == "False" {
		return stuck("names not accepted: %s: %s", c.reason, c.message)
	}
	if c, found := conditionOf(object, "Established"); found && c.status == "True" {
		return done("established")
	}
	return moving("not established yet")
}

func pod(object *unstructured.Unstructured) Verdict {
	switch phase := text(object.Object, "status", "phase"); phase {
	case "Succeeded":
		return done("succeeded")
	case "Failed":
		return stuck("failed: %s", text(object.Object, "status", "message"))
	default:
		if c, found := conditionOf(object, "Ready"); found && c.status == "True" {
			return done("ready")
		}
		return moving("phase %s, not ready", phase)
	}
}
