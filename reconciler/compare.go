package reconciler

import (
	"context"
	"errors"
	"slices"
)

// placed is an object and what names it in the inventory.
type placed struct {
	object Object
	ref    Ref
	// known is false when the kind is not served yet.
	known  bool
	digest string
}

// place names the objects.
func (a *attempt) place(objects []Object) ([]placed, error) {
	out := make([]placed, len(objects))
	for i, object := range objects {
		digest, err := object.Digest()
		if err != nil {
			return nil, Terminal("ObjectInvalid", withOrigin(object, err))
		}
		ref, err := a.tenant.Ref(object)
		out[i] = placed{object: object, ref: ref, known: err == nil, digest: digest}
	}
	return out, nil
}

// settledAlready tells whether an object stands in the cluster as it was
// applied, and as the commit still has it: nothing has to be asked about it.
// Jobs are not watched, and always asked about.
func settledAlready(object placed, held inventory, moved map[Ref]bool) bool {
	entry, ok := held[key(object.ref)]
	return object.known && ok && !isJob(object.object.Unstructured) && entry.UID != "" && entry.Digest == object.digest && !moved[key(object.ref)]
}

// compare finds out what applying each object would do, and asks only about
// those that may differ.
func (a *attempt) compare(ctx context.Context, objects []Object) ([]Change, error) {
	all, err := a.place(objects)
	if err != nil {
		return nil, err
	}
	refs, synced := a.Cluster.Moved(keyOf(a.release))
	moved := refSet(refs)
	changes := make([]Change, len(all))
	var open []int
	var ask []Object
	for i, object := range all {
		if synced && settledAlready(object, a.held, moved) {
			changes[i] = unchanged(object, a.held[key(object.ref)])
			continue
		}
		open = append(open, i)
		ask = append(ask, withIgnored(a.release, object.object))
	}
	if len(ask) > 0 {
		asked, err := a.tenant.Compare(ctx, ask)
		if err != nil {
			return nil, err
		}
		for n, i := range open {
			changes[i] = asked[n]
		}
	}
	a.digests = map[Ref]string{}
	for i := range changes {
		a.digests[key(changes[i].Ref)] = all[i].digest
	}
	return changes, nil
}

func unchanged(object placed, entry Entry) Change {
	return Change{
		Object: object.object, Ref: object.ref, Origin: object.object.Origin, Action: ActionUnchanged,
		Live: liveOf(entry),
	}
}

// refusals joins what cannot be applied. It is terminal when no part of it
// can pass by itself.
func refusals(changes []Change) error {
	var errs []error
	terminal := true
	for _, change := range changes {
		if change.Action == ActionRefuse {
			terminal = terminal && IsTerminal(change.Err)
			errs = append(errs, change.Err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	reason := "DryRunFailed"
	if len(errs) == 1 {
		reason = ReasonOf(errs[0], reason)
	}
	if terminal {
		return Terminal(reason, errors.Join(errs...))
	}
	return Transient(reason, errors.Join(errs...))
}

// claim asks for the objects that another Release still delivers, so that it
// hands them over once its own commit is without them.
func (a *attempt) claim(ctx context.Context, changes []Change) error {
	for _, change := range changes {
		if change.Action != ActionRefuse || ReasonOf(change.Err, "") != ReasonOwned {
			continue
		}
		if err := a.tenant.Claim(ctx, change.Ref); err != nil {
			return err
		}
	}
	return nil
}

// beingDeleted is the reason of a change to an object that is on its way out.
const beingDeleted = "is being deleted"

// Reasons by which the cluster says what is the matter with an object.
const (
	// ReasonOwned is used when another Release delivers it.
	ReasonOwned = "ObjectOwned"
	// ReasonTerminating is used when it is being deleted and not gone yet.
	ReasonTerminating = "ObjectTerminating"
)

// write applies the changes of one stage and notes what is in the cluster. What
// is written is unchanged from then on: a write that was cut off goes on where
// it was, and does not begin anew.
func (a *attempt) write(ctx context.Context, changes []Change) error {
	entries, err := a.tenant.Write(ctx, changes)
	written := make(map[Ref]Entry, len(entries))
	for _, entry := range entries {
		a.note(entry)
		written[key(entry.Ref)] = entry
	}
	for i := range changes {
		if entry, ok := written[key(changes[i].Ref)]; ok {
			changes[i].Action, changes[i].Live = ActionUnchanged, liveOf(entry)
		}
	}
	return err
}

// liveOf is how the object of an entry stands.
func liveOf(entry Entry) *Live {
	return &Live{UID: entry.UID, Token: entry.Token, ResourceVersion: entry.ResourceVersion}
}

// refSet is for looking up objects whatever version they are read in.
func refSet(refs []Ref) map[Ref]bool {
	set := make(map[Ref]bool, len(refs))
	for _, ref := range refs {
		set[key(ref)] = true
	}
	return set
}

// note keeps what was applied.
func (a *attempt) note(entry Entry) {
	entry.Digest = a.digests[key(entry.Ref)]
	entry.Kept = a.kept[key(entry.Ref)]
	a.held.put(entry)
}

// keptRefs are the objects that say of themselves that they must stay.
func keptRefs(changes []Change) map[Ref]bool {
	kept := map[Ref]bool{}
	for _, change := range changes {
		if change.Object.Unstructured != nil && change.Object.GetAnnotations()[PruneAnnotation] == "never" {
			kept[key(change.Ref)] = true
		}
	}
	return kept
}

// intend notes objects that are going to be made, before the first of them
// is: a daemon that is killed in between must not lose them (A16). Such an
// entry has no UID, also where one of that name was known: it will be another.
func (a *attempt) intend(changes []Change) (grown bool) {
	for _, change := range changes {
		if change.Ref.Name == "" || change.Action == ActionUnchanged && a.held[key(change.Ref)].Kept == a.kept[key(change.Ref)] {
			continue
		}
		before, known := a.held[key(change.Ref)]
		after := before
		after.Ref, after.Kept, after.Leaving = change.Ref, a.kept[key(change.Ref)], false
		if slices.Contains([]Action{ActionCreate, ActionApply, ActionReplace}, change.Action) {
			after.UID = ""
		}
		a.held.put(after)
		grown = grown || !known || before != after
	}
	return grown
}
