package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

const (
	// recordType of a Secret tells a record from what people keep in Secrets.
	recordType = "lockstep.dev/record"
	// recordLabel names the Release of a record: the name of a Release is at
	// most as long as a label may be. The watch over managed objects selects
	// another label.
	recordLabel = "lockstep.dev/record-of"
	// sumAnnotation binds the content of a chunk to the name of its Secret.
	sumAnnotation = "lockstep.dev/sha256"
	// recordKey is where a Secret holds its chunk.
	recordKey = "chunk"
)

// recordChunk is how much one Secret of a record holds, in bytes. The API
// refuses Secrets over 1 MiB (A24).
const recordChunk = 896 << 10

// SaveRecord writes a value beside the Release, with the rights of the
// tenant: compressed, in as many Secrets as it needs, owned by the Release, so
// that they are deleted with it. What is answered finds the value again; it
// depends on the content, and is answered only when all is written, so a
// daemon that is killed meanwhile leaves only what DropRecords removes. One
// request is made for each Secret that is not there yet.
func (t *tenant) SaveRecord(ctx context.Context, owner *v1alpha1.Release, name string, content []byte) (string, error) {
	packed, err := packRecord(t.cluster.packer, content)
	if err != nil {
		return "", fmt.Errorf("record %s of Release %s/%s: %w", name, owner.Namespace, owner.Name, err)
	}
	chunks := split(packed, recordChunk)
	sum := sha256.Sum256(packed)
	at := recordPointer{name: name, sum: hex.EncodeToString(sum[:]), count: len(chunks)}
	if err := at.check(); err != nil {
		return "", fmt.Errorf("record of Release %s/%s: %w", owner.Namespace, owner.Name, err)
	}
	for i, secret := range at.secrets(owner) {
		if err := t.saveChunk(ctx, owner, secret, chunks[i]); err != nil {
			return "", fmt.Errorf("record in Secret %s/%s: %w", owner.Namespace, secret, t.explain(err))
		}
	}
	return at.String(), nil
}

// saveChunk makes a Secret, unless it is there. Its name says what it holds,
// so one that holds anything else was tampered with, and makes room.
func (t *tenant) saveChunk(ctx context.Context, owner *v1alpha1.Release, name string, chunk []byte) error {
	secrets := t.secrets(owner.Namespace)
	made := recordSecret(owner, name, chunk)
	_, err := secrets.Create(ctx, made, metav1.CreateOptions{FieldManager: FieldManager})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	live, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		found, damage := chunkOf(live)
		if damage == nil && bytes.Equal(found, chunk) {
			return nil
		}
		uid := live.GetUID()
		err = secrets.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	_, err = secrets.Create(ctx, made, metav1.CreateOptions{FieldManager: FieldManager})
	return err
}

// LoadRecord reads a value that SaveRecord wrote. The error is
// reconciler.ErrRecordMissing, and names the Secret, when not every byte of it is there.
func (t *tenant) LoadRecord(ctx context.Context, owner *v1alpha1.Release, at string) ([]byte, error) {
	from, err := parsePointer(at)
	if err != nil {
		return nil, fmt.Errorf("record of Release %s/%s: %w: %w", owner.Namespace, owner.Name, reconciler.ErrRecordMissing, err)
	}
	var packed []byte
	names := from.secrets(owner)
	for _, name := range names {
		live, err := t.secrets(owner.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("record in Secret %s/%s: %w: there is no such Secret", owner.Namespace, name, reconciler.ErrRecordMissing)
		}
		if err != nil {
			return nil, fmt.Errorf("record in Secret %s/%s: %w", owner.Namespace, name, t.explain(err))
		}
		chunk, err := chunkOf(live)
		if err != nil {
			return nil, fmt.Errorf("record in Secret %s/%s: %w: %w", owner.Namespace, name, reconciler.ErrRecordMissing, err)
		}
		packed = append(packed, chunk...)
	}
	content, err := from.open(packed)
	if err != nil {
		return nil, fmt.Errorf("record in Secret %s/%s and those of its number: %w: %w", owner.Namespace, names[0], reconciler.ErrRecordMissing, err)
	}
	return content, nil
}

// open checks that the chunks together are what was written before anything
// is unpacked.
func (p recordPointer) open(packed []byte) ([]byte, error) {
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != p.sum {
		return nil, errors.New("its sha256 is not that of the status")
	}
	return unpackRecord(packed)
}

// DropRecord deletes one record, by the names of its Secrets.
func (t *tenant) DropRecord(ctx context.Context, owner *v1alpha1.Release, at string) error {
	from, err := parsePointer(at)
	if err != nil {
		return fmt.Errorf("record of Release %s/%s: %w", owner.Namespace, owner.Name, err)
	}
	var errs []error
	for _, name := range from.secrets(owner) {
		err := t.secrets(owner.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("record in Secret %s/%s: %w", owner.Namespace, name, t.explain(err)))
		}
	}
	return errors.Join(errs...)
}

// DropRecords deletes the records of a Release but for those that the kept
// pointers find. Only metadata is read. Records of a Release of the same name
// that was deleted are left to the garbage collector.
func (t *tenant) DropRecords(ctx context.Context, owner *v1alpha1.Release, keep []string) error {
	kept := map[string]bool{}
	for _, at := range keep {
		from, err := parsePointer(at)
		if err != nil {
			return fmt.Errorf("records of Release %s/%s: %w", owner.Namespace, owner.Name, err)
		}
		for _, name := range from.secrets(owner) {
			kept[name] = true
		}
	}
	client, err := metadata.NewForConfig(t.config)
	if err != nil {
		return fmt.Errorf("client for ServiceAccount %s/%s: %w", t.namespace, t.account, err)
	}
	secrets := client.Resource(secretResource()).Namespace(owner.Namespace)
	list, err := secrets.List(ctx, metav1.ListOptions{LabelSelector: recordLabel + "=" + owner.Name})
	if err != nil {
		return fmt.Errorf("records of Release %s/%s: %w", owner.Namespace, owner.Name, t.explain(err))
	}
	var errs []error
	for i := range list.Items {
		found := &list.Items[i]
		if kept[found.Name] || !ownedBy(found, owner) {
			continue
		}
		err := secrets.Delete(ctx, found.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &found.UID}})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("record in Secret %s/%s: %w", owner.Namespace, found.Name, t.explain(err)))
		}
	}
	return errors.Join(errs...)
}

func ownedBy(object metav1.Object, owner *v1alpha1.Release) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.UID == owner.UID })
}

func secretResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
}

func (t *tenant) secrets(namespace string) dynamic.ResourceInterface {
	return t.client.Resource(secretResource()).Namespace(namespace)
}

// recordSecret is a Secret with one chunk. It cannot be changed, only deleted.
func recordSecret(owner *v1alpha1.Release, name string, chunk []byte) *unstructured.Unstructured {
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": recordType, "immutable": true,
		"data": map[string]any{recordKey: base64.StdEncoding.EncodeToString(chunk)},
	}}
	secret.SetName(name)
	secret.SetNamespace(owner.Namespace)
	secret.SetLabels(map[string]string{recordLabel: owner.Name})
	secret.SetAnnotations(map[string]string{sumAnnotation: chunkSum(name, chunk)})
	secret.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion().String(), Kind: v1alpha1.Kind,
		Name: owner.Name, UID: owner.UID,
	}})
	return secret
}

// chunkOf takes the chunk out of a Secret. Errors say nothing of the content.
func chunkOf(secret *unstructured.Unstructured) ([]byte, error) {
	if kind, _, _ := unstructured.NestedString(secret.Object, "type"); kind != recordType {
		return nil, fmt.Errorf("its type is %q, not %s", kind, recordType)
	}
	encoded, found, err := unstructured.NestedString(secret.Object, "data", recordKey)
	if err != nil || !found {
		return nil, fmt.Errorf("it holds no data.%s", recordKey)
	}
	chunk, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("data.%s is not base64", recordKey)
	}
	if secret.GetAnnotations()[sumAnnotation] != chunkSum(secret.GetName(), chunk) {
		return nil, fmt.Errorf("the sha256 of data.%s is not that of annotation %s", recordKey, sumAnnotation)
	}
	return chunk, nil
}

// chunkSum holds the name, too, so that chunks that were swapped are found.
func chunkSum(name string, chunk []byte) string {
	sum := sha256.New()
	sum.Write([]byte(name + "\n"))
	sum.Write(chunk)
	return hex.EncodeToString(sum.Sum(nil))
}
