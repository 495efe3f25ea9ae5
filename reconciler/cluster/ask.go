package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// look is what is known of an object when it is about to be sent.
type look struct {
	live *unstructured.Unstructured
	// entries are the managed fields after a takeover from those replaced.
	entries  []metav1.ManagedFieldsEntry
	replaced []string
	scaling  scaling
}

func (t *tenant) look(at target, live *unstructured.Unstructured, targeted bool) (look, error) {
	if live == nil {
		return look{}, nil
	}
	entries, replaced, err := takeover(live.GetManagedFields(), formerManagers())
	if err != nil {
		return look{}, fmt.Errorf("%s: %w", describe(at.object), err)
	}
	return look{live: live, entries: entries, replaced: replaced, scaling: scalingOf(live, entries, targeted)}, nil
}

// shows tells whether it is this state of the object that was seen.
func (l look) shows(version string) bool {
	return l.live != nil && l.live.GetResourceVersion() == version
}

// question is what is asked of the API server about one object.
type question struct {
	*comparison
	at     target
	change *reconciler.Change
	normal *unstructured.Unstructured
	// targeted is true when an autoscaler of the same commit scales it.
	targeted bool
	seen     look
	// body is what was sent last, or is to be sent.
	body []byte
}

// question is refused when the object is wrong by itself.
func (c *comparison) question(at target, change *reconciler.Change) (*question, error) {
	normal, err := c.normalize(at.object.Unstructured, at.id.namespace)
	if err != nil {
		return nil, err
	}
	if err := checkSize(normal); err != nil {
		return nil, err
	}
	q := &question{comparison: c, at: at, change: change, normal: normal, targeted: c.autoscaled[at.workload()]}
	return q, q.see(c.live[at.id])
}

// see takes note of the object as it stands, and composes what is sent then.
func (q *question) see(live *unstructured.Unstructured) (err error) {
	if q.seen, err = q.look(q.at, live, q.targeted); err != nil {
		return err
	}
	q.body, err = q.at.compose(q.normal.Object, q.seen)
	return err
}

// ask makes the dry run, and reads the object where no list has brought it as
// it was then. The answer and what is seen are of one state, but for an object
// that changes all the time. Nothing is seen of an object that would be made
// anew.
func (q *question) ask(ctx context.Context) (*unstructured.Unstructured, error) {
	var answer *unstructured.Unstructured
	var err error
	for range maxConflicts {
		answer, err = q.dryRun(ctx)
		switch {
		case err == nil && answer.GetResourceVersion() == "":
			// Only the answer about an object that is not there is without one.
			q.seen = look{}
			return answer, nil
		case refusedOutright(err), err == nil && q.seen.shows(answer.GetResourceVersion()):
			return answer, err
		}
		sent := q.body
		live, failed := q.get(ctx, &q.stamina, q.at)
		if failed != nil {
			return nil, failed
		}
		if failed := q.see(live); failed != nil {
			return nil, invalid(q.at.object, failed)
		}
		known := err != nil || live == nil || q.seen.shows(answer.GetResourceVersion())
		if known && bytes.Equal(q.body, sent) {
			return answer, err
		}
	}
	return answer, err
}

func (q *question) dryRun(ctx context.Context) (*unstructured.Unstructured, error) {
	q.change.Warnings = nil
	answer, err := q.send(gathering(ctx, &q.change.Warnings), &q.stamina, q.at, q.body, metav1.DryRunAll)
	q.change.Warnings = safeWarnings(q.at.object, q.change.Warnings)
	return answer, err
}

// refusedOutright tells whether a refusal says all that there is to say, so
// that the object need not be read.
func refusedOutright(err error) bool {
	if _, judged := errors.AsType[*reconciler.Failure](err); judged {
		return true
	}
	return err != nil && (unreachable(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err))
}

// send applies one object, for real or dry.
func (t *tenant) send(ctx context.Context, s *stamina, at target, body []byte, dry ...string) (*unstructured.Unstructured, error) {
	force := true
	options := metav1.PatchOptions{
		FieldManager: FieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict, DryRun: dry,
	}
	var answer *unstructured.Unstructured
	err := t.try(ctx, s, at.id, func(ctx context.Context) (err error) {
		answer, err = at.client.Patch(ctx, at.id.name, types.ApplyPatchType, body, options)
		return err
	})
	return answer, err
}
