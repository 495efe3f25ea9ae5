package cluster

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// maxError bounds the text of an API error: one with many causes is long.
const maxError = 600

const redacted = "[redacted]"

// safeText is the text of an API error without values that may be secret.
func safeText(object reconciler.Object, err error) string {
	if object.GroupVersionKind().GroupKind().String() == "Secret" {
		return secretText(err, sensitive(object.Object, false))
	}
	text := err.Error()
	status, ok := statusOf(err)
	hidden := sensitive(object.Object, false)
	if ok && apierrors.IsInvalid(err) && status.Details != nil && len(status.Details.Causes) > 0 {
		text = causesText(status.Details.Causes, hidden)
	} else {
		text = typedValue.ReplaceAllString(hide(text, hidden), "another type$1")
	}
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + " …"
	}
	return text
}

// typedValue is how server-side apply shows a value of a wrong type. Such a
// value may be any, a number that was meant as a password included.
var typedValue = regexp.MustCompile(`(?s)&?value\.valueUnstructured\{Value:.*?\}(\n|$)`)

func causesText(causes []metav1.StatusCause, hidden []string) string {
	lines := make([]string, 0, len(causes))
	for _, cause := range causes {
		lines = append(lines, cause.Field+": "+withoutComposite(hide(cause.Message, hidden)))
	}
	return "is invalid: " + strings.Join(lines, "; ")
}

// withoutComposite leaves out of "Invalid value: …: why" a value that is a
// whole object: the refusal of a changed Job repeats its template with all
// variables, 5 KB of it, and only then says why.
func withoutComposite(message string) string {
	kind, rest, found := strings.Cut(message, " value: ")
	if !found || !composite.MatchString(rest) {
		return message
	}
	end := max(strings.LastIndex(rest, "}: "), strings.LastIndex(rest, "]: "))
	if end < 0 {
		return kind + " value"
	}
	return kind + " value: " + rest[end+len("}: "):]
}

// composite is the beginning of an object, a list or a Go struct.
var composite = regexp.MustCompile(`^(\{|\[|&|map\[|[A-Za-z0-9_.]+\{)`)

func hide(text string, hidden []string) string {
	for _, value := range hidden {
		text = strings.ReplaceAll(text, value, redacted)
	}
	return text
}

// secretText says what the API has against a Secret by field paths alone: its
// own words may repeat a value, such as a number in stringData.
func secretText(err error, hidden []string) string {
	status, ok := statusOf(err)
	if !ok {
		return "the Secret was refused"
	}
	text := fmt.Sprintf("the API server refused it with %d %s", status.Code, http.StatusText(int(status.Code)))
	if status.Reason == metav1.StatusReasonForbidden || status.Reason == metav1.StatusReasonNotFound {
		return hide(err.Error(), hidden)
	}
	if status.Details == nil {
		return text + "; values of data must be base64 strings"
	}
	for _, cause := range status.Details.Causes {
		text += fmt.Sprintf("; %s: %s", cause.Field, cause.Type)
	}
	return text
}

// sensitive collects the values of a manifest that may be secret: those of
// environment variables, and all below data and stringData. The longest come
// first, so that none is left over as a part of another.
func sensitive(value any, inside bool) []string {
	var found []string
	switch value := value.(type) {
	case map[string]any:
		_, isVariable := value["name"].(string)
		for key, item := range value {
			secret := inside || key == "stringData" || key == "data" || (isVariable && key == "value")
			found = append(found, sensitive(item, secret)...)
		}
	case []any:
		for _, item := range value {
			found = append(found, sensitive(item, inside)...)
		}
	case string:
		if inside && len(value) >= 4 {
			quoted := strconv.Quote(value)
			found = append(found, value, quoted[1:len(quoted)-1], base64.StdEncoding.EncodeToString([]byte(value)))
		}
	}
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) })
	return found
}

// safeWarnings are warnings of the API server about an object without values
// that may be secret.
func safeWarnings(object reconciler.Object, warnings []string) []string {
	if len(warnings) == 0 {
		return nil
	}
	hidden := sensitive(object.Object, false)
	out := make([]string, len(warnings))
	for i, warning := range warnings {
		out[i] = hide(warning, hidden)
	}
	return out
}
