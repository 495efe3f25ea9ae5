package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// token stands for all of an object that a commit can set, from its metadata
// alone. Most kinds with a status have a generation, which the status leaves
// alone. A few have none, such as ResourceQuota and PersistentVolumeClaim:
// there the fields that were written other than through the status count.
// With all others, such as ConfigMap and Secret, every change counts.
func token(object metav1.Object) (string, error) {
	if object.GetDeletionTimestamp() != nil {
		return "deleting", nil
	}
	if generation := object.GetGeneration(); generation != 0 {
		sum, err := shortSum([]map[string]string{object.GetLabels(), settable(object.GetAnnotations())})
		return "g" + strconv.FormatInt(generation, 10) + "-" + sum, err
	}
	written, reported, err := writings(object.GetManagedFields())
	switch {
	case err != nil:
		return "", err
	case !reported:
		return "r" + object.GetResourceVersion(), nil
	}
	sum, err := shortSum(written)
	return "m" + sum, err
}

// settable leaves out the annotations that the controller of Deployments
// writes after each rollout.
func settable(annotations map[string]string) map[string]string {
	out := maps.Clone(annotations)
	maps.DeleteFunc(out, func(key, _ string) bool { return strings.HasPrefix(key, "deployment.kubernetes.io/") })
	if len(out) == 0 {
		return nil
	}
	return out
}

// writing is what one manager wrote into an object, and when.
type writing struct {
	Manager, Operation, Subresource string
	Seconds                         int64
	// Fields are decoded: their order differs from client to client.
	Fields any
}

// writings are those of all managers but of the status; reported is true when
// there is a status.
func writings(managed []metav1.ManagedFieldsEntry) (written []writing, reported bool, err error) {
	for _, entry := range managed {
		if entry.Subresource == "status" {
			reported = true
			continue
		}
		w := writing{Manager: entry.Manager, Operation: string(entry.Operation), Subresource: entry.Subresource}
		if entry.Time != nil {
			w.Seconds = entry.Time.Unix()
		}
		if entry.FieldsV1 != nil {
			if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &w.Fields); err != nil {
				return nil, false, err
			}
		}
		written = append(written, w)
	}
	return written, reported, nil
}

func shortSum(value any) (string, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8]), nil
}
