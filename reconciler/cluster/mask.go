package cluster

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// maxValue bounds, in bytes, a value of a field as it is told.
const maxValue = 200

// lastApplied is the annotation in which kubectl keeps the whole manifest,
// the data of a Secret included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func isSecret(object map[string]any) bool {
	return object["kind"] == "Secret" && object["apiVersion"] == "v1"
}

// shown is a value as compact JSON, clipped, or what it may be told of when it
// is masked.
func shown(value any, masked, secret bool) string {
	if masked {
		value = mask(value, secret)
		if text, ok := value.(string); ok {
			return text
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(veil(value)); err != nil {
		return "(not readable)"
	}
	text := strings.TrimSpace(out.String())
	if len(text) > maxValue {
		text = strings.ToValidUTF8(text[:maxValue], "") + "…"
	}
	return text
}

// mask replaces each value by its length. Those of a Secret are base64.
func mask(value any, secret bool) any {
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, item := range value {
			out[key] = mask(item, secret)
		}
		return out
	case string:
		length := len(value)
		if plain, err := base64.StdEncoding.DecodeString(value); secret && err == nil {
			length = len(plain)
		}
		return fmt.Sprintf("(masked, %d bytes)", length)
	default:
		return "(masked)"
	}
}

// veil returns a value without secrets that lie deeper in it: variables whose
// name speaks of a secret, and passwords in addresses.
func veil(value any) any {
	switch value := value.(type) {
	case map[string]any:
		hidden := hidesValue(value)
		out := make(map[string]any, len(value))
		for key, item := range value {
			switch {
			case (hidden && key == "value") || key == lastApplied:
				out[key] = mask(item, false)
			default:
				out[key] = veil(item)
			}
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = veil(item)
		}
		return out
	case string:
		return addressPassword.ReplaceAllString(value, "$1(masked)@")
	default:
		return value
	}
}

// hidesValue tells whether a map is a variable with a value that is secret.
func hidesValue(item map[string]any) bool {
	name, ok := item["name"].(string)
	return ok && secretName.MatchString(name)
}

// secretName is how variables are called that hold what nobody may read.
var secretName = regexp.MustCompile(`(?i)passw|pass$|pwd|token|secret|key|credential|dsn|private|auth`)

// addressPassword is a password in an address, such as the one of a database.
var addressPassword = regexp.MustCompile(`(://[^/\s:@"]*:)[^/\s"]+@`)
