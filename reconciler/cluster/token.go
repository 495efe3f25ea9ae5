package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// token stands for all of an object that a commit can set, from its metadata
// alone. Kinds with a status have a generation, which the status leaves
// alone; with the others every change counts.
func token(object metav1.Object) (string, error) {
	if object.GetDeletionTimestamp() != nil {
		return "deleting", nil
	}
	if object.GetGeneration() == 0 {
		return "r" + object.GetResourceVersion(), nil
	}
	content, err := json.Marshal([]map[string]string{object.GetLabels(), object.GetAnnotations()})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return "g" + strconv.FormatInt(object.GetGeneration(), 10) + "-" + hex.EncodeToString(sum[:8]), nil
}
