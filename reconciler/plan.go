package reconciler

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// StageAnnotation on an object says which phase applies it.
const StageAnnotation = "lockstep.dev/stage"

// DigestLabel on a Job is the digest of what it runs.
const DigestLabel = "lockstep.dev/digest"

// Stages are the objects of a commit by stage, each in its order.
type Stages struct {
	Foundation []Object
	Migrate    []Object
	Workload   []Object
	Verify     []Object
}

// Objects are those of all stages in the order in which they are applied.
func (s Stages) Objects() []Object {
	return slices.Concat(s.Foundation, s.Migrate, s.Workload, s.Verify)
}

// Plan is what an attempt is going to do.
type Plan struct {
	Foundation []Change
	Migrate    []Change
	Workload   []Change
	Verify     []Change
	// Prune are the objects that left the commit.
	Prune []Change
	// Sets are the migrations of the commit by the name of their database.
	Sets map[string]MigrationSet
}

// newPlan sorts the changes of all objects of the stages back into them.
func newPlan(stages Stages, changes []Change) Plan {
	cut := func(n int) []Change {
		part := changes[:n:n]
		changes = changes[n:]
		return part
	}
	return Plan{
		Foundation: cut(len(stages.Foundation)), Migrate: cut(len(stages.Migrate)),
		Workload: cut(len(stages.Workload)), Verify: cut(len(stages.Verify)),
	}
}

// Changes are those of all stages in the order in which they are made.
func (p Plan) Changes() []Change {
	return slices.Concat(p.Foundation, p.Migrate, p.Workload, p.Verify, p.Prune)
}

// makeStages sorts objects into stages. Jobs get a name that ends in the
// digest of what they run: the template of a Job cannot be changed (A7), and
// a Job whose content did not change must not run again (J7). Jobs of the
// stage verify also carry the revision, since they prove each one anew.
func makeStages(objects []Object, revision string) (Stages, error) {
	var stages Stages
	var errs []error
	for _, object := range objects {
		stage, err := stageOf(object.Unstructured)
		if err != nil {
			errs = append(errs, withOrigin(object, err))
			continue
		}
		if isJob(object.Unstructured) {
			salt := ""
			if stage == StageVerify {
				salt = revision
			}
			object, err = nameJob(object, salt)
			if err != nil {
				errs = append(errs, withOrigin(object, err))
				continue
			}
		}
		stages.add(stage, object)
	}
	if err := errors.Join(errs...); err != nil {
		return Stages{}, Terminal("StageInvalid", err)
	}
	slices.SortStableFunc(stages.Foundation, byKind)
	slices.SortStableFunc(stages.Workload, byKind)
	return stages, nil
}

func (s *Stages) add(stage Stage, object Object) {
	switch stage {
	case StageFoundation:
		s.Foundation = append(s.Foundation, object)
	case StageMigrate:
		s.Migrate = append(s.Migrate, object)
	case StageWorkload:
		s.Workload = append(s.Workload, object)
	case StageVerify:
		s.Verify = append(s.Verify, object)
	}
}

// stageOf says which phase applies an object: the annotation of ours, else
// what the hook annotations of Argo CD and Helm mean, else the kind.
func stageOf(object *unstructured.Unstructured) (Stage, error) {
	annotations := object.GetAnnotations()
	stage := kindStage(object)
	for _, hook := range hookStages() {
		if matchesHook(annotations[hook.annotation], hook.value) && isJob(object) {
			stage = hook.stage
			break
		}
	}
	if wanted, ok := annotations[StageAnnotation]; ok {
		stage = Stage(wanted)
	}
	switch stage {
	case StageFoundation, StageWorkload:
		return stage, nil
	case StageMigrate, StageVerify:
		if !isJob(object) {
			return "", fmt.Errorf("%s: annotation %s: %q is for Jobs only", describe(object), StageAnnotation, stage)
		}
		return stage, nil
	default:
		return "", fmt.Errorf("%s: annotation %s is %q: use foundation, migrate, workload or verify", describe(object), StageAnnotation, stage)
	}
}

type hookStage struct {
	annotation, value string
	stage             Stage
}

func hookStages() []hookStage {
	return []hookStage{
		{"argocd.argoproj.io/hook", "PreSync", StageMigrate},
		{"argocd.argoproj.io/hook", "PostSync", StageVerify},
		{"helm.sh/hook", "pre-upgrade", StageMigrate},
		{"helm.sh/hook", "pre-install", StageMigrate},
		{"helm.sh/hook", "post-upgrade", StageVerify},
		{"helm.sh/hook", "post-install", StageVerify},
	}
}

// matchesHook looks for one value in a comma-separated list.
func matchesHook(list, value string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(item) == value {
			return true
		}
	}
	return false
}

func kindStage(object *unstructured.Unstructured) Stage {
	kind := object.GroupVersionKind().GroupKind().String()
	if slices.Contains(foundationOrder(), kind) {
		return StageFoundation
	}
	return StageWorkload
}

// foundationOrder lists what everything else stands on, in the order in which
// it is applied.
func foundationOrder() []string {
	return []string{
		"Namespace", "CustomResourceDefinition.apiextensions.k8s.io",
		"PriorityClass.scheduling.k8s.io", "StorageClass.storage.k8s.io",
		"ResourceQuota", "LimitRange",
		"ServiceAccount",
		"ClusterRole.rbac.authorization.k8s.io", "Role.rbac.authorization.k8s.io",
		"ClusterRoleBinding.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io",
		"NetworkPolicy.networking.k8s.io",
		"ConfigMap", "Secret", "PersistentVolume", "PersistentVolumeClaim",
		"Service", "StatefulSet.apps",
	}
}

// byKind orders the kinds of the foundation; all others keep the order of the
// overlay, behind them.
func byKind(a, b Object) int { return cmp.Compare(rank(a), rank(b)) }

func rank(object Object) int {
	order := foundationOrder()
	if i := slices.Index(order, object.GroupVersionKind().GroupKind().String()); i >= 0 {
		return i
	}
	return len(order)
}

func isJob(object *unstructured.Unstructured) bool {
	return object.GroupVersionKind().GroupKind().String() == "Job.batch"
}

// nameJob returns a copy of a Job whose name says what it runs. A time to
// live is taken out: the result must be read before the Job may go (J4).
func nameJob(object Object, salt string) (Object, error) {
	job := object.DeepCopy()
	if job.GetName() == "" {
		return object, fmt.Errorf("%s has no metadata.name; generateName would run it on every pass", describe(job))
	}
	unstructured.RemoveNestedField(job.Object, "spec", "ttlSecondsAfterFinished")
	digest, err := digestOf(job.Object["spec"], job.GetNamespace(), job.GetName(), salt)
	if err != nil {
		return object, fmt.Errorf("%s: %w", describe(job), err)
	}
	job.SetName(suffixed(job.GetName(), digest[:10]))
	labels := job.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[DigestLabel] = digest[:40]
	job.SetLabels(labels)
	return Object{Unstructured: job, Origin: object.Origin}, nil
}

// digestOf is the sha256 of a value and some words, as hexadecimal digits.
func digestOf(value any, words ...string) (string, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	sum.Write(content)
	for _, word := range words {
		sum.Write([]byte("\x00" + word))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// maxJobName is what the name of a Job may have at most, since it becomes a
// label of its Pods (J10).
const maxJobName = 63

// suffixed joins a name and a suffix into at most 63 characters.
func suffixed(name, suffix string) string {
	if limit := maxJobName - len(suffix) - 1; len(name) > limit {
		name = strings.TrimRight(name[:limit], "-.")
	}
	return name + "-" + suffix
}

// describe names an object to a person.
func describe(object *unstructured.Unstructured) string {
	name := object.GetName()
	if namespace := object.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	return object.GetKind() + " " + name
}

// withOrigin adds the file that an object came from.
func withOrigin(object Object, err error) error {
	if object.Origin == "" {
		return err
	}
	return fmt.Errorf("%s: %w", object.Origin, err)
}
