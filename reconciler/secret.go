package reconciler

import "log/slog"

// Secret is the data of a Secret. It prints as a placeholder wherever a value
// is formatted or logged by mistake.
type Secret map[string][]byte

const redacted = "[redacted]"

// String hides the data from fmt.
func (Secret) String() string { return redacted }

// GoString hides the data from %#v.
func (Secret) GoString() string { return redacted }

// LogValue hides the data from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON hides the data from encoding/json.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
