package cluster

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Where the Pod of a migration finds its files and its credentials.
const (
	archiveDir     = "/etc/lockstep/migrations"
	credentialsDir = "/etc/lockstep/database"
)

// chunkSize is how much of an archive one ConfigMap holds. The API refuses
// objects over 1 MiB, and base64 makes three bytes four (A24).
const chunkSize = 700 << 10

// migrationDeadline ends a Job whose Pod never gets to its end. Statements
// have a limit of their own, far below it in all but the longest migrations.
const migrationDeadline = 25 * 60 * 60

// StartMigration makes the Job of a run. It is made suspended, so that the
// ConfigMaps with the SQL can be owned by it from their first moment on and
// nothing is left over whenever the daemon is killed; then it is let go.
// Every step may be repeated.
func (t *tenant) StartMigration(ctx context.Context, run reconciler.MigrationRun) error {
	chunks := split(run.Set.Archive, chunkSize)
	job, err := t.createSuspended(ctx, t.migrationJob(run, len(chunks)))
	if err != nil {
		return err
	}
	if suspended, _, _ := unstructured.NestedBool(job.Object, "spec", "suspend"); !suspended {
		return nil
	}
	for i, chunk := range chunks {
		if err := t.applyChunk(ctx, job, run, i, chunk); err != nil {
			return err
		}
	}
	_, err = t.jobs(t.namespace).Patch(ctx, run.Name, types.MergePatchType, []byte(`{"spec":{"suspend":false}}`),
		metav1.PatchOptions{FieldManager: FieldManager})
	if err != nil {
		return fmt.Errorf("start Job %s/%s: %w", t.namespace, run.Name, t.explain(err))
	}
	return nil
}

func (t *tenant) createSuspended(ctx context.Context, job *batchv1.Job) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(job)
	if err != nil {
		return nil, fmt.Errorf("encode Job %s: %w", job.Name, err)
	}
	object := reconciler.Object{Unstructured: &unstructured.Unstructured{Object: content}}
	created, err := t.jobs(t.namespace).Create(ctx, object.Unstructured, metav1.CreateOptions{FieldManager: FieldManager})
	if apierrors.IsAlreadyExists(err) {
		created, err = t.jobs(t.namespace).Get(ctx, job.Name, metav1.GetOptions{})
	}
	if err != nil {
		return nil, classify(object, t.explain(err))
	}
	return created, nil
}

func (t *tenant) applyChunk(ctx context.Context, job *unstructured.Unstructured, run reconciler.MigrationRun, i int, chunk []byte) error {
	config := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: chunkName(run.Name, i), Namespace: t.namespace, Labels: run.Labels,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job.GetName(), UID: job.GetUID()}},
		},
		BinaryData: map[string][]byte{chunkKey(i): chunk},
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(config)
	if err != nil {
		return fmt.Errorf("encode ConfigMap %s: %w", config.Name, err)
	}
	_, err = t.patch(ctx, reconciler.Object{Unstructured: &unstructured.Unstructured{Object: content}})
	return err
}

func chunkName(job string, i int) string { return job + "-" + strconv.Itoa(i) }

func chunkKey(i int) string { return fmt.Sprintf("archive.%03d", i) }

// split cuts bytes into pieces of at most size.
func split(content []byte, size int) [][]byte {
	var out [][]byte
	for len(content) > size {
		out = append(out, content[:size])
		content = content[size:]
	}
	return append(out, content)
}

// migrationJob is the Job of a run. One Pod, never a second beside it (J1,
// J2), no token of the cluster, nothing to write to, a long time to end
// cleanly and no probe that could kill it half-way (J12).
func (t *tenant) migrationJob(run reconciler.MigrationRun, chunks int) *batchv1.Job {
	owner := metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion().String(), Kind: v1alpha1.Kind, Name: run.Owner.Name, UID: run.Owner.UID,
	}
	labels := map[string]string{"app.kubernetes.io/name": "lockstep-migrate", "app.kubernetes.io/managed-by": "lockstep"}
	maps.Copy(labels, run.Labels)
	return &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{
			Name: run.Name, Namespace: t.namespace, Labels: labels,
			Annotations:     map[string]string{attemptAnnotation: strconv.FormatInt(run.Attempt, 10)},
			OwnerReferences: []metav1.OwnerReference{owner},
		},
		Spec: batchv1.JobSpec{
			Suspend:               new(true),
			BackoffLimit:          new(int32(0)),
			Parallelism:           new(int32(1)),
			Completions:           new(int32(1)),
			ActiveDeadlineSeconds: new(int64(migrationDeadline)),
			PodReplacementPolicy:  new(batchv1.Failed),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       t.migrationPod(run, chunks),
			},
		},
	}
}

func (t *tenant) migrationPod(run reconciler.MigrationRun, chunks int) corev1.PodSpec {
	var sources []corev1.VolumeProjection
	for i := range chunks {
		sources = append(sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: chunkName(run.Name, i)},
		}})
	}
	return corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		TerminationGracePeriodSeconds: new(int64(60)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(65534)), RunAsGroup: new(int64(65534)), FSGroup: new(int64(65534)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name:  "migrate",
			Image: t.cluster.options.Image,
			Args: []string{
				"migrate", "--archive", archiveDir, "--credentials", credentialsDir,
				"--lock-timeout", run.Guard.LockTimeout.Duration.String(),
				"--statement-timeout", run.Guard.StatementTimeout.Duration.String(),
			},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
			VolumeMounts: []corev1.VolumeMount{
				{Name: "migrations", MountPath: archiveDir, ReadOnly: true},
				{Name: "database", MountPath: credentialsDir, ReadOnly: true},
			},
		}},
		Volumes: []corev1.Volume{
			{Name: "migrations", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}},
			{Name: "database", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: run.SecretName, DefaultMode: new(int32(0o440)),
			}}},
		},
	}
}
