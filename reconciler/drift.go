package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Reasons of a drifted object that is not put back.
const (
	// DriftReported means that the policy is to report.
	DriftReported = "Reported"
	// DriftFought means that another keeps setting what we put back (A23).
	DriftFought = "Fought"
	// DriftRefused means that the API server would not take it back.
	DriftRefused = "Refused"
)

// A field that is put back maxCorrections times within fightWindow is fought
// over.
const (
	maxCorrections = 5
	fightWindow    = time.Minute
)

// maxDrift bounds what the status lists.
const (
	maxDrift        = 50
	maxDriftFields  = 10
	maxDriftMessage = 300
)

// driftTimeout bounds a look at drift: an object that is held by a finalizer
// is waited for so long, and looked at again.
const driftTimeout = time.Minute

// errRefused has the look at drift repeated.
var errRefused = errors.New("the API server refuses an object that is to be put back")

// fights counts corrections by object and field. The zero value is ready to
// be used.
type fights struct {
	mu    sync.Mutex
	times map[types.NamespacedName]map[string][]time.Time
}

// lost notes one more correction of the fields and tells which of them was
// corrected too often by now; it is empty when none was.
func (f *fights) lost(release types.NamespacedName, change Change, now time.Time) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, times := range f.times[release] {
		if now.Sub(times[len(times)-1]) > fightWindow {
			delete(f.times[release], id)
		}
	}
	if f.times == nil {
		f.times = map[types.NamespacedName]map[string][]time.Time{}
	}
	if f.times[release] == nil {
		f.times[release] = map[string][]time.Time{}
	}
	paths := []string{""} // A deleted object has no fields.
	if len(change.Fields) > 0 {
		paths = nil
		for _, field := range change.Fields {
			paths = append(paths, field.Path)
		}
	}
	for _, path := range paths {
		id := change.Ref.String() + " " + path
		recent := slices.DeleteFunc(f.times[release][id], func(at time.Time) bool { return now.Sub(at) > fightWindow })
		if len(recent) >= maxCorrections {
			return cmp.Or(path, "the object itself")
		}
		f.times[release][id] = append(recent, now)
	}
	return ""
}

func (f *fights) forget(release types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.times, release)
}

// driftMode is what is done about an object that differs.
func driftMode(release *v1alpha1.Release, object Object) string {
	switch mode := object.GetAnnotations()[DriftAnnotation]; mode {
	case v1alpha1.DriftCorrect, v1alpha1.DriftReport, v1alpha1.DriftIgnore:
		return mode
	}
	return cmp.Or(release.Spec.Drift.Mode, v1alpha1.DriftCorrect)
}

// withIgnored returns the object with the fields that others may set.
func withIgnored(release *v1alpha1.Release, object Object) Object {
	object.Ignore = nil
	for _, rule := range release.Spec.Drift.Ignore {
		if (rule.Kind == "" || rule.Kind == object.GetKind()) && (rule.Name == "" || rule.Name == object.GetName()) {
			object.Ignore = append(object.Ignore, rule.Path)
		}
	}
	return object
}

// drift looks at the objects that somebody else changed since they were
// applied, and puts them back or reports them. Nothing is asked when nothing
// moved. It needs no git server: the commit is in the local store.
func (r *Reconciler) drift(ctx context.Context, release *v1alpha1.Release, tenant Tenant) error {
	if release.Status.Inventory == nil || release.Status.Phase != string(PhaseSettled) || release.Status.ObservedGeneration != release.Generation {
		return nil // What an edit changes goes through the phases.
	}
	a := &attempt{Reconciler: r, release: release, tenant: tenant, revision: release.Status.LastGoodRevision}
	var err error
	if a.held, err = r.inventoryOf(ctx, release, tenant); err != nil {
		return err
	}
	moved, synced := r.Cluster.Moved(keyOf(release))
	trouble := r.Cluster.Trouble(keyOf(release))
	err = r.save(ctx, release, func(release *v1alpha1.Release) { driftWatched(release, synced, trouble) })
	if err != nil || len(moved) == 0 || !synced && trouble == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, driftTimeout)
	defer cancel()
	if err := a.rebuild(ctx); err != nil {
		return err
	}
	return a.settleDrift(ctx, moved)
}

// rebuild renders the last good revision once more. Nothing is fetched and
// nothing is built when the store and the memo still have it.
func (a *attempt) rebuild(ctx context.Context) error {
	name, commit, _ := strings.Cut(a.revision, "@sha1:")
	a.tip = Tip{Name: name, Commit: commit}
	a.repo = repositoryOf(a.release)
	var err error
	if a.repo.Credentials, _, err = a.credentials.get(ctx, a.release, a.tenant); err != nil {
		return err
	}
	if a.tree, err = a.Source.Fetch(ctx, a.repo, a.tip); err != nil {
		return err
	}
	if err := a.render(ctx); err != nil {
		return err
	}
	stages, err := makeStages(a.objects, a.revision)
	if err != nil {
		return err
	}
	a.objects = stages.Objects()
	return nil
}

func (a *attempt) settleDrift(ctx context.Context, moved []Ref) error {
	objects, current, err := a.among(moved)
	if err != nil {
		return err
	}
	changes, err := a.tenant.Compare(ctx, objects)
	if err != nil {
		return err
	}
	a.kept = keptRefs(changes)
	remade := false
	var failed error
	listed := slices.Clone(a.release.Status.Drift)
	for _, change := range changes {
		listed = slices.DeleteFunc(listed, func(d v1alpha1.DriftedObject) bool { return d.Object == change.Ref.String() })
		before := a.held[key(change.Ref)].UID
		entry, err := a.settleOne(ctx, change)
		if err != nil {
			failed = err
			continue
		}
		if entry != nil {
			listed = append(listed, *entry)
		}
		remade = remade || a.held[key(change.Ref)].UID != before
	}
	if slices.ContainsFunc(listed, func(d v1alpha1.DriftedObject) bool { return d.Reason == DriftRefused }) && failed == nil {
		failed = errRefused
	}
	if remade {
		if err := a.recordInventory(ctx, int(a.release.Status.Inventory.Leaving)); err != nil {
			return err
		}
	}
	if err := a.listDrift(ctx, listed); err != nil {
		return err
	}
	a.watch(current)
	return failed
}

// among finds the objects of the commit that moved, and all that it has.
func (a *attempt) among(moved []Ref) (objects []Object, current map[Ref]bool, err error) {
	all, err := a.place(a.objects)
	if err != nil {
		return nil, nil, err
	}
	wanted := refSet(moved)
	current, a.digests = map[Ref]bool{}, map[Ref]string{}
	for _, object := range all {
		current[key(object.ref)] = true
		a.digests[key(object.ref)] = object.digest
		if wanted[key(object.ref)] {
			objects = append(objects, withIgnored(a.release, object.object))
		}
	}
	return objects, current, nil
}

// settleOne decides about one object. It returns an entry for the status when
// the object stays as it is although it differs.
func (a *attempt) settleOne(ctx context.Context, change Change) (*v1alpha1.DriftedObject, error) {
	mode := driftMode(a.release, change.Object)
	fought := slices.ContainsFunc(a.release.Status.Drift, func(d v1alpha1.DriftedObject) bool {
		return d.Object == change.Ref.String() && d.Reason == DriftFought
	})
	switch {
	case change.Action == ActionUnchanged:
		a.seen(change, a.digests[key(change.Ref)])
		return nil, nil
	case change.Reason == beingDeleted:
		return nil, nil // It comes back once it is gone, which is a change again.
	case change.Action == ActionRefuse:
		// It stays among what moved, and is tried again: a port or a quota may
		// be free a moment later.
		out := drifted(change, DriftRefused)
		out.Message = clip(change.Err.Error(), maxDriftMessage)
		return out, nil
	case mode == v1alpha1.DriftIgnore:
		a.seen(change, "")
		return nil, nil
	case mode == v1alpha1.DriftReport:
		a.seen(change, "")
		return a.report(change, DriftReported), nil
	case fought:
		a.seen(change, "")
		return drifted(change, DriftFought), nil
	}
	if field := a.fights.lost(keyOf(a.release), change, time.Now()); field != "" {
		a.seen(change, "")
		return a.report(change, DriftFought), nil
	}
	return nil, a.correct(ctx, change)
}

func (a *attempt) correct(ctx context.Context, change Change) error {
	if err := a.write(ctx, []Change{change}); err != nil {
		return err
	}
	if change.Action == ActionUpdate && len(change.Fields) == 0 {
		return nil // Who owns a field was put right; no value was.
	}
	a.Recorder.Corrected(keyOf(a.release))
	a.Cluster.EventAbout(a.release, change.Ref, false, "DriftCorrected", fmt.Sprintf("%s is put back: %s", change.Ref, differences(change)))
	return nil
}

func (a *attempt) report(change Change, reason string) *v1alpha1.DriftedObject {
	a.Cluster.EventAbout(a.release, change.Ref, true, "Drift"+reason, fmt.Sprintf("%s differs from the commit: %s", change.Ref, differences(change)))
	return drifted(change, reason)
}

// seen notes how an object stands now, so that it is looked at again only when
// it changes again. Without a digest the next attempt compares it anew.
func (a *attempt) seen(change Change, digest string) {
	entry, ok := a.held[key(change.Ref)]
	if !ok {
		return
	}
	entry.Digest = digest
	if change.Live == nil {
		entry.UID = ""
	} else {
		entry.UID, entry.Token, entry.ResourceVersion = change.Live.UID, change.Live.Token, change.Live.ResourceVersion
	}
	a.held.put(entry)
}

// watch watches what stands in the cluster and in the commit. What is leaving
// is looked at by the next attempt.
func (a *attempt) watch(current map[Ref]bool) {
	a.Cluster.Watch(a.release, slices.DeleteFunc(a.held.watchable(), func(entry Entry) bool { return !current[key(entry.Ref)] }))
}

func drifted(change Change, reason string) *v1alpha1.DriftedObject {
	out := &v1alpha1.DriftedObject{Object: change.Ref.String(), Manager: change.Manager, Reason: reason}
	for _, field := range change.Fields[:min(len(change.Fields), maxDriftFields)] {
		out.Fields = append(out.Fields, field.Path)
	}
	return out
}

// differences says in one line what differs.
func differences(change Change) string {
	switch {
	case change.Action == ActionCreate:
		return "it was deleted"
	case change.Action == ActionRefuse:
		return change.Err.Error()
	case len(change.Fields) == 0:
		return change.Reason
	}
	var words []string
	for i, field := range change.Fields {
		if i == 3 {
			words = append(words, fmt.Sprintf("and %d more", len(change.Fields)-i))
			break
		}
		words = append(words, field.Path)
	}
	text := strings.Join(words, ", ")
	if change.Manager != "" {
		text += ", set by " + change.Manager
	}
	return text
}

// listDrift writes what is not put back into the status.
func (a *attempt) listDrift(ctx context.Context, listed []v1alpha1.DriftedObject) error {
	slices.SortFunc(listed, func(a, b v1alpha1.DriftedObject) int { return strings.Compare(a.Object, b.Object) })
	return a.save(ctx, a.release, func(release *v1alpha1.Release) { putDrift(release, listed) })
}
