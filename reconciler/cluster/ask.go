package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
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
	// listed is true when what a list has brought was looked at.
	listed bool
	// body is what was sent last, or is to be sent.
	body []byte
}

// question is refused when the object is wrong by itself. What is sent then is
// for an object that is not there, until it is seen.
func (c *comparison) question(at target, change *reconciler.Change) (*question, error) {
	normal, err := c.normalize(at.object.Unstructured, at.id.namespace)
	if err != nil {
		return nil, err
	}
	if err := checkSize(normal); err != nil {
		return nil, err
	}
	q := &question{comparison: c, at: at, change: change, normal: normal, targeted: c.autoscaled[at.workload()]}
	return q, q.see(nil)
}

// see takes note of the object as it stands, and composes what is sent then.
func (q *question) see(live *unstructured.Unstructured) (err error) {
	if q.seen, err = q.look(q.at, live, q.targeted); err != nil {
		return err
	}
	q.body, err = q.at.compose(q.normal.Object, q.seen)
	return err
}

// foresee looks at an object of which it is known that what is sent depends on
// how it stands, which saves a dry run.
func (q *question) foresee(ctx context.Context) error {
	if !q.targeted && len(q.at.object.Ignore) == 0 {
		return nil
	}
	q.listed = true
	live, err := q.onShelf(ctx, q.at.id)
	if err != nil {
		return err
	}
	return q.seeAgain(live)
}

// ask makes the dry run, and then looks at the object when it is there. The
// answer and what is seen are of one state, but for an object that changes all
// the time. Nothing is seen of an object that would be made anew, and there is
// no answer.
func (q *question) ask(ctx context.Context) (*unstructured.Unstructured, error) {
	if err := q.foresee(ctx); err != nil {
		return nil, err
	}
	var answer *reply
	var err error
	for range maxConflicts {
		answer, err = q.dryRun(ctx)
		switch {
		case err == nil && answer.version == "":
			// Only the answer about an object that is not there is without one.
			q.seen = look{}
			return nil, nil
		case refusedOutright(err):
			return nil, err
		case err == nil && q.seen.shows(answer.version):
			return answer.object()
		}
		sent := q.body
		live, failed := q.read(ctx, answer)
		if failed != nil {
			return nil, failed
		}
		if failed := q.seeAgain(live); failed != nil {
			return nil, failed
		}
		known := err != nil || live == nil || q.seen.shows(answer.version)
		if known && bytes.Equal(q.body, sent) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return answer.object()
}

// seeAgain is see, with the error that a change is refused with.
func (q *question) seeAgain(live *unstructured.Unstructured) error {
	if err := q.see(live); err != nil {
		return invalid(q.at.object, err)
	}
	return nil
}

// read answers an object as the dry run has met it: from the list, unless that
// shows another state. About one that was refused the API server is asked.
func (q *question) read(ctx context.Context, answer *reply) (*unstructured.Unstructured, error) {
	if answer != nil && !q.listed {
		q.listed = true
		live, err := q.onShelf(ctx, q.at.id)
		if err != nil || (live != nil && live.GetResourceVersion() == answer.version) {
			return live, err
		}
	}
	return q.get(ctx, &q.stamina, q.at)
}

// reply is the answer to a dry run. Only its version is read before it is known
// that the rest is needed.
type reply struct {
	version string
	body    []byte
}

func (r *reply) object() (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(r.body); err != nil {
		return nil, fmt.Errorf("answer of the API server: %w", err)
	}
	return object, nil
}

func (q *question) dryRun(ctx context.Context) (*reply, error) {
	q.change.Warnings = nil
	answer := &reply{}
	err := q.submit(gathering(ctx, &q.change.Warnings), &q.stamina, q.at, submission{body: q.body, dry: true}, func(body []byte) error {
		found := struct {
			Metadata struct{ ResourceVersion string } `json:"metadata"`
		}{}
		err := json.Unmarshal(body, &found)
		answer.version, answer.body = found.Metadata.ResourceVersion, body
		return err
	})
	q.change.Warnings = safeWarnings(q.at.object, q.change.Warnings)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// refusedOutright tells whether a refusal says all that there is to say, so
// that the object need not be read.
func refusedOutright(err error) bool {
	if _, judged := errors.AsType[*reconciler.Failure](err); judged {
		return true
	}
	return err != nil && (unreachable(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err))
}

// submission is what is applied.
type submission struct {
	body []byte
	dry  bool
	// accept is the form of the answer: JSON when empty.
	accept string
}

// submit applies one object, for real or dry. What it takes of the answer is
// left to the caller: to decode all of it costs more than the request itself.
func (t *tenant) submit(ctx context.Context, s *stamina, at target, what submission, take func(answer []byte) error) error {
	return t.try(ctx, s, at.id, func(ctx context.Context) error {
		request := t.rest.Patch(types.ApplyPatchType).AbsPath(at.id.segments()...).
			Param("fieldManager", FieldManager).Param("force", "true").
			Param("fieldValidation", metav1.FieldValidationStrict).
			SetHeader("Accept", cmp.Or(what.accept, "application/json")).Body(what.body)
		if what.dry {
			request.Param("dryRun", metav1.DryRunAll)
		}
		answer, err := raw(request.Do(ctx))
		if err != nil {
			return err
		}
		return take(answer)
	})
}

// send applies one object and answers how it stands then.
func (t *tenant) send(ctx context.Context, s *stamina, at target, body []byte) (*unstructured.Unstructured, error) {
	answer := &unstructured.Unstructured{}
	err := t.submit(ctx, s, at, submission{body: body}, answer.UnmarshalJSON)
	return answer, err
}
