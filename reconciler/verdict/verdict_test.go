package verdict_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/verdict"
)

func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(manifest))
	assert.NilError(t, err)
	u := &unstructured.Unstructured{}
	assert.NilError(t, u.UnmarshalJSON(body))
	return u
}

// row is an object and what is to be said of it.
type row struct {
	manifest string
	state    verdict.State
	message  string
}

func judge(t *testing.T, rows map[string]row) {
	t.Helper()
	for name, test := range rows {
		t.Run(name, func(t *testing.T) {
			got := verdict.Of(object(t, test.manifest))
			assert.Equal(t, got, verdict.Verdict{State: test.state, Message: test.message})
		})
	}
}

const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, generation: 2}\n"

func TestDeployment(t *testing.T) {
	judge(t, map[string]row{
		"new and all available": {
			deployment + "spec: {replicas: 3}\nstatus: {observedGeneration: 2, replicas: 3, updatedReplicas: 3, availableReplicas: 3}",
			verdict.Done, "3 replicas available",
		},
		"O1: the numbers are those of the last generation": {
			deployment + "spec: {replicas: 3}\nstatus: {observedGeneration: 1, replicas: 3, updatedReplicas: 3, availableReplicas: 3}",
			verdict.Moving, "generation 2 is not observed yet",
		},
		"O1: old replicas are available, new ones are not made": {
			deployment + "spec: {replicas: 3}\nstatus: {observedGeneration: 2, replicas: 4, updatedReplicas: 1, availableReplicas: 3}",
			verdict.Moving, "1 of 3 replicas updated",
		},
		"O1: an old replica is left over": {
			deployment + "spec: {replicas: 3}\nstatus: {observedGeneration: 2, replicas: 4, updatedReplicas: 3, availableReplicas: 4}",
			verdict.Moving, "1 old replicas still there",
		},
		"O1: updated, but not available": {
			deployment + "spec: {replicas: 3}\nstatus: {observedGeneration: 2, replicas: 3, updatedReplicas: 3, availableReplicas: 2}",
			verdict.Moving, "2 of 3 replicas available",
		},
		"O2: no status at all": {
			deployment + "spec: {replicas: 3}", verdict.Moving, "generation 2 is not observed yet",
		},
		"O3: the observed generation never catches up": {
			deployment + "status: {observedGeneration: -1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}",
			verdict.Moving, "generation 2 is not observed yet",
		},
		"O5: past the progress deadline while it still moves": {
			deployment + "spec: {replicas: 3}\nstatus: {observedGeneration: 2, replicas: 3, updatedReplicas: 3, availableReplicas: 2," +
				" conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}",
			verdict.Moving, "2 of 3 replicas available, progress deadline exceeded",
		},
		"O5: past the progress deadline and healthy": {
			deployment + "spec: {replicas: 1}\nstatus: {observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1," +
				" conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}",
			verdict.Done, "1 replicas available",
		},
		"no replicas named means one": {
			deployment + "spec: {}\nstatus: {observedGeneration: 2}", verdict.Moving, "0 of 1 replicas updated",
		},
		"scaled to nothing": {
			deployment + "spec: {replicas: 0}\nstatus: {observedGeneration: 2}", verdict.Done, "0 replicas available",
		},
		"Pods cannot be made": {
			deployment + "spec: {replicas: 1}\nstatus: {observedGeneration: 2, conditions:" +
				" [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: exceeded quota}]}",
			verdict.Moving, "no Pod can be made: FailedCreate: exceeded quota",
		},
		"a failure of before that is over": {
			deployment + "spec: {replicas: 0}\nstatus: {observedGeneration: 2, conditions: [{type: ReplicaFailure, status: 'False'}]}",
			verdict.Done, "0 replicas available",
		},
		"being deleted": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, deletionTimestamp: '2024-01-01T00:00:00Z'}",
			verdict.Moving, "is being deleted",
		},
	})
}

const statefulSet = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s, generation: 1}\n"

func TestStatefulSet(t *testing.T) {
	judge(t, map[string]row{
		"rolled out": {
			statefulSet + "spec: {replicas: 3}\nstatus: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 3, currentRevision: b, updateRevision: b}",
			verdict.Done, "3 replicas ready",
		},
		"half-way": {
			statefulSet + "spec: {replicas: 3}\nstatus: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}",
			verdict.Moving, "1 of 3 replicas updated",
		},
		"updated and not ready": {
			statefulSet + "spec: {replicas: 3}\nstatus: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 3, currentRevision: b, updateRevision: b}",
			verdict.Moving, "2 of 3 replicas ready",
		},
		"a partition holds two back, and that is what is wanted": {
			statefulSet + "spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}}\n" +
				"status: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}",
			verdict.Done, "3 replicas ready",
		},
		"a partition that is not reached": {
			statefulSet + "spec: {replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}}\n" +
				"status: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b}",
			verdict.Moving, "1 of 2 replicas updated",
		},
		"a partition above the replicas holds all back": {
			statefulSet + "spec: {replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 5}}}\n" +
				"status: {observedGeneration: 1, readyReplicas: 2, currentRevision: a, updateRevision: b}",
			verdict.Done, "2 replicas ready",
		},
		"a person replaces the Pods": {
			statefulSet + "spec: {replicas: 2, updateStrategy: {type: OnDelete}}\n" +
				"status: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 0, currentRevision: a, updateRevision: b}",
			verdict.Done, "2 replicas ready",
		},
		"O1: not observed": {
			statefulSet + "spec: {replicas: 0}", verdict.Moving, "generation 1 is not observed yet",
		},
	})
}

const daemonSet = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: s, generation: 1}\n"

func TestDaemonSet(t *testing.T) {
	judge(t, map[string]row{
		"on all nodes": {
			daemonSet + "status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2}",
			verdict.Done, "2 Pods available",
		},
		"on half of the nodes": {
			daemonSet + "status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2}",
			verdict.Moving, "1 of 2 Pods updated",
		},
		"updated and not available": {
			daemonSet + "status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}",
			verdict.Moving, "1 of 2 Pods available",
		},
		"a person replaces the Pods": {
			daemonSet + "spec: {updateStrategy: {type: OnDelete}}\nstatus: {observedGeneration: 1, desiredNumberScheduled: 2, numberAvailable: 2}",
			verdict.Done, "2 Pods available",
		},
		"O1: not observed": {daemonSet, verdict.Moving, "generation 1 is not observed yet"},
	})
}

const job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j, generation: 1}\n"

// TestJob covers J5: only Complete=True is a success.
func TestJob(t *testing.T) {
	judge(t, map[string]row{
		"complete": {
			job + "status: {succeeded: 1, conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}",
			verdict.Done, "complete",
		},
		"J5: running":                    {job + "status: {active: 1}", verdict.Moving, "running: 1 active, 0 failed"},
		"J5: a Pod failed, another runs": {job + "status: {active: 1, failed: 2}", verdict.Moving, "running: 1 active, 2 failed"},
		"J5: success is not the end yet": {
			job + "status: {succeeded: 1, conditions: [{type: SuccessCriteriaMet, status: 'True'}]}",
			verdict.Moving, "running: 0 active, 0 failed",
		},
		"J5: failure is not the end yet": {
			job + "status: {failed: 1, conditions: [{type: FailureTarget, status: 'True'}]}",
			verdict.Moving, "running: 0 active, 1 failed",
		},
		"a condition that is there and False": {
			job + "status: {conditions: [{type: Complete, status: 'False'}, {type: Failed, status: 'False'}]}",
			verdict.Moving, "running: 0 active, 0 failed",
		},
		"suspended": {
			job + "spec: {suspend: true}\nstatus: {conditions: [{type: Suspended, status: 'True', reason: JobSuspended}]}",
			verdict.Moving, "suspended: it runs when somebody sets spec.suspend to false",
		},
		"failed": {
			job + "status: {failed: 1, conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: too often}]}",
			verdict.Stuck, "failed: BackoffLimitExceeded: too often",
		},
		"no status": {job, verdict.Moving, "running: 0 active, 0 failed"},
	})
}

const definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: c}\n"

func TestDefinition(t *testing.T) {
	judge(t, map[string]row{
		"established": {
			definition + "status: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}]}",
			verdict.Done, "established",
		},
		"names accepted only": {
			definition + "status: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'False'}]}",
			verdict.Moving, "not established yet",
		},
		"names taken": {
			definition + "status: {conditions: [{type: NamesAccepted, status: 'False', reason: PluralConflict, message: taken}]}",
			verdict.Stuck, "names not accepted: PluralConflict: taken",
		},
		"no status": {definition, verdict.Moving, "not established yet"},
	})
}

func TestPod(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
	judge(t, map[string]row{
		"ready": {
			pod + "status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}", verdict.Done, "ready",
		},
		"running and not ready": {
			pod + "status: {phase: Running, conditions: [{type: Ready, status: 'False'}]}", verdict.Moving, "phase Running, not ready",
		},
		"ended well": {pod + "status: {phase: Succeeded}", verdict.Done, "succeeded"},
		"ended":      {pod + "status: {phase: Failed, message: evicted}", verdict.Stuck, "failed: evicted"},
	})
}

func TestOtherKinds(t *testing.T) {
	const thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t, generation: 2}\n"
	judge(t, map[string]row{
		"without a status":   {thing, verdict.Done, "exists"},
		"O1: not observed":   {thing + "status: {observedGeneration: 1, conditions: [{type: Ready, status: 'True'}]}", verdict.Moving, "generation 2 is not observed yet"},
		"ready":              {thing + "status: {observedGeneration: 2, conditions: [{type: Ready, status: 'True'}]}", verdict.Done, "exists"},
		"not ready":          {thing + "status: {conditions: [{type: Ready, status: 'False', reason: Broken, message: no disk}]}", verdict.Moving, "not ready: Broken no disk"},
		"conditions no list": {thing + "status: {conditions: text}", verdict.Done, "exists"},
	})
}

func TestWaits(t *testing.T) {
	for manifest, want := range map[string]bool{
		"{apiVersion: apps/v1, kind: Deployment}":                                 true,
		"{apiVersion: apps/v1, kind: StatefulSet}":                                true,
		"{apiVersion: apps/v1, kind: DaemonSet}":                                  true,
		"{apiVersion: batch/v1, kind: Job}":                                       true,
		"{apiVersion: v1, kind: Pod}":                                             true,
		"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition}":   true,
		"{apiVersion: v1, kind: PersistentVolumeClaim}":                           false,
		"{apiVersion: v1, kind: Service}":                                         false,
		"{apiVersion: v1, kind: ConfigMap}":                                       false,
		"{apiVersion: example.org/v1, kind: Deployment}":                          false,
		"{apiVersion: serving.knative.dev/v1, kind: Job}":                         false,
		"{apiVersion: batch/v1, kind: CronJob}":                                   false,
		"{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: x}}": false,
	} {
		t.Run(manifest, func(t *testing.T) {
			assert.Equal(t, verdict.Waits(object(t, manifest)), want)
		})
	}
}
