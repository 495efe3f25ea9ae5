package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// What the API server takes at most, in bytes (A24).
const (
	// maxData is for the values of a ConfigMap or a Secret together.
	maxData = 1 << 20
	// maxBody is for the whole of a request.
	maxBody = 3 << 20
)

// sizeError is an object that is too large.
type sizeError struct {
	what       string
	size, most int
}

// Error gives both numbers.
func (e *sizeError) Error() string {
	return fmt.Sprintf("%s has %d bytes and may have %d: split it, or keep large content out of the cluster", e.what, e.size, e.most)
}

// checkSize refuses an object that the API server would refuse only after all
// of it was sent.
func checkSize(object *unstructured.Unstructured) error {
	if kind := object.GroupVersionKind().GroupKind().String(); kind != "ConfigMap" && kind != "Secret" {
		return nil
	}
	size := 0
	for _, field := range []string{"data", "binaryData"} {
		values, _, _ := unstructured.NestedFieldNoCopy(object.Object, field)
		fields, ok := values.(map[string]any)
		if !ok {
			continue
		}
		plain := field == "data" && object.GetKind() == "ConfigMap"
		for _, value := range fields {
			text, ok := value.(string)
			switch {
			case !ok:
			case plain:
				size += len(text)
			default:
				size += base64.StdEncoding.DecodedLen(len(text)) - strings.Count(text[max(0, len(text)-2):], "=")
			}
		}
	}
	if size > maxData {
		return &sizeError{what: "its data", size: size, most: maxData}
	}
	return nil
}

// tooLarge tells whether the API server, or its store, refused an object for
// its size.
func tooLarge(err error) bool {
	return apierrors.IsRequestEntityTooLargeError(err) ||
		strings.Contains(err.Error(), "request is too large") || strings.Contains(err.Error(), "message larger than max")
}

// invalid is an object that need not be sent, since it is wrong.
func invalid(object reconciler.Object, err error) error {
	reason := "ObjectInvalid"
	if _, ok := errors.AsType[*sizeError](err); ok {
		reason = "ObjectTooLarge"
	}
	return reconciler.Terminal(reason, withOrigin(object, fmt.Errorf("%s: %w", describe(object), err)))
}
