package reconciler

import (
	"errors"
	"fmt"
)

// Failure is an error with a verdict: what it is called in a condition, and
// whether trying again can help.
//
//nolint:errname // A failure is what an attempt ends with: the word of conditions and documents.
type Failure struct {
	// Reason is the CamelCase name that conditions, events and alerts use.
	Reason string
	// Terminal is true when only a change of the branch or of the Release helps.
	Terminal bool
	// Err is what happened, in words for the person who pushed.
	Err error
}

// Error is the text of the cause.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap gives the cause to errors.Is and errors.As.
func (f *Failure) Unwrap() error { return f.Err }

// Terminal returns a failure that trying again cannot cure.
func Terminal(reason string, err error) error {
	return &Failure{Reason: reason, Terminal: true, Err: err}
}

// Terminalf is Terminal with a text to be formatted.
func Terminalf(reason, format string, args ...any) error {
	return Terminal(reason, fmt.Errorf(format, args...))
}

// Transient returns a failure that may pass by itself.
func Transient(reason string, err error) error {
	return &Failure{Reason: reason, Err: err}
}

// Transientf is Transient with a text to be formatted.
func Transientf(reason, format string, args ...any) error {
	return Transient(reason, fmt.Errorf(format, args...))
}

// IsTerminal tells whether an error says that trying again cannot help. An
// error without a verdict may pass by itself: a wrong guess in that direction
// costs requests, a wrong guess in the other holds a good commit.
func IsTerminal(err error) bool {
	f, ok := errors.AsType[*Failure](err)
	return ok && f.Terminal
}

// ReasonOf is the name of an error for conditions and events, or the given
// one when the error has none.
func ReasonOf(err error, otherwise string) string {
	if f, ok := errors.AsType[*Failure](err); ok && f.Reason != "" {
		return f.Reason
	}
	return otherwise
}

// ErrSuperseded ends a wait because the branch moved on, or the Release did.
var ErrSuperseded = errors.New("the branch or the Release changed while this revision was being delivered")

// ErrRecordMissing says that a record is gone, or is not as it was written. It
// is no verdict: what a record holds can be found out again.
var ErrRecordMissing = errors.New("the record is gone or damaged")
