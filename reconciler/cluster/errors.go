package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// apiError is an error of the API whose text was made safe. It still answers
// apierrors.IsNotFound and the like, which look for the Status.
type apiError struct {
	text  string
	cause error
}

// Error is the safe text.
func (e *apiError) Error() string { return e.text }

// Status is what the API answered, without its texts.
func (e *apiError) Status() metav1.Status {
	status := metav1.Status{Status: metav1.StatusFailure, Reason: apierrors.ReasonForError(e.cause)}
	if answered, ok := statusOf(e.cause); ok {
		status.Code = answered.Code
	}
	return status
}

// statusOf finds what the API answered.
func statusOf(err error) (metav1.Status, bool) {
	var answered apierrors.APIStatus
	if !errors.As(err, &answered) {
		return metav1.Status{}, false
	}
	return answered.Status(), true
}

// classify turns the refusal of an object into an error for the person who
// pushed it: it names the file and the object, carries no value out of a
// Secret, and says whether trying again can help.
func classify(object reconciler.Object, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, judged := errors.AsType[*reconciler.Failure](err); judged {
		return err
	}
	reason, terminal := judge(err)
	var safe error
	if isNoMatch(err) {
		safe = fmt.Errorf("%s: the cluster knows no kind %s of %s: install its CustomResourceDefinition, or correct apiVersion: %w",
			describe(object), object.GetKind(), object.GetAPIVersion(), err)
	} else {
		safe = &apiError{text: describe(object) + ": " + safeText(object, err), cause: err}
	}
	safe = withOrigin(object, safe)
	if terminal {
		return reconciler.Terminal(reason, safe)
	}
	return reconciler.Transient(reason, safe)
}

// judge names an API error and tells whether only a commit can cure it.
func judge(err error) (reason string, terminal bool) {
	text := err.Error()
	switch {
	case isNoMatch(err):
		return "KindUnknown", true
	case isIncomplete(err):
		return "KindUnavailable", false
	case apierrors.IsForbidden(err) && strings.Contains(text, "exceeded quota"):
		return "QuotaExceeded", false
	case isTerminatingNamespace(err):
		return "NamespaceTerminating", false
	case strings.Contains(text, "failed calling webhook"), strings.Contains(text, "failed to call webhook"):
		return "WebhookFailed", false
	case isDenied(text):
		return "AdmissionDenied", true
	case apierrors.IsForbidden(err):
		return "Forbidden", true
	case tooLarge(err):
		return "ObjectTooLarge", true
	case doesNotFit(err), apierrors.IsMethodNotSupported(err), apierrors.IsNotAcceptable(err), apierrors.IsUnsupportedMediaType(err):
		return "ObjectInvalid", true
	case apierrors.IsNotFound(err):
		return "NotFound", true
	case apierrors.IsConflict(err):
		return "Conflict", false
	default:
		return "ClusterUnavailable", false
	}
}

// isDenied tells a refusal by a policy of the cluster from a lack of rights:
// both are 403.
func isDenied(text string) bool {
	return strings.Contains(text, "denied the request") || strings.Contains(text, "denied request") || strings.Contains(text, "violates PodSecurity")
}

func isTerminatingNamespace(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "unable to create new content in namespace")
}

func isIncomplete(err error) bool {
	_, incomplete := errors.AsType[*incompleteError](err)
	return incomplete
}

// withoutDryRun tells whether an object was refused only because an admission
// webhook has side effects and so cannot be asked in a dry run (A8).
func withoutDryRun(err error) bool {
	return apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "does not support dry run")
}

// doesNotFit tells whether the content of an object is what is refused.
func doesNotFit(err error) bool {
	return err != nil && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || malformed(err.Error()))
}

// malformed tells a wrong manifest from a broken server: server-side apply
// answers 500 without a reason for a wrong type, an unknown field or a
// duplicate key (A5, A6).
func malformed(text string) bool {
	for _, sign := range []string{
		"failed to create typed patch object", "failed to convert new object",
		"failed to create manager for existing fields", "strict decoding error",
	} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}
