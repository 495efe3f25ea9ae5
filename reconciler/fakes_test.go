package reconciler_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// world is everything around the domain, in memory. Its fields are what a
// test sets; trace is what it reads.
type world struct {
	tip      string
	tipErr   error
	tips     int
	asked    reconciler.Repository
	signedBy string
	values   map[string]map[string]string
	files    map[string]string
	objects  []reconciler.Object
	rendered error
	set      reconciler.MigrationSet
	setErr   error
	schema   reconciler.SchemaState
	stateErr error
	secrets  map[string]reconciler.Secret
	dryRun   error
	applyErr error
	await    func(ctx context.Context, objects []reconciler.Object) error
	jobs     []reconciler.JobState
	jobEnds  func(name string) reconciler.JobState
	jobErr   error
	check    func() error
	saveErr  error
	// cut is called at each boundary.
	cut func(phase reconciler.Phase, after bool)

	// differs are the changes that Compare finds, by kind and name; compared is
	// what it was asked about.
	differs   map[string]reconciler.Change
	compared  []string
	ignored   []string
	stays     map[string]bool
	deleteErr error
	records   map[string][]byte
	watched   []reconciler.Entry
	moved     []reconciler.Ref
	blind     bool
	corrected int
	leaving   bool
	trouble   error
	// aside counts passes that wait; stale is a Release that was edited.
	aside int
	// slow delays a write and tells whether its time ran out.
	slow func(ctx context.Context) bool
	// expired counts calls of Expire; recordErr is what SaveRecord answers.
	expired   int
	recordErr error
	stale     bool

	trace []string
	saved *v1alpha1.Release
	saves int
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// writes are the trace lines that change the cluster.
func (w *world) writes() []string {
	var out []string
	for _, line := range w.trace {
		if strings.HasPrefix(line, "apply ") || strings.HasPrefix(line, "delete ") || strings.HasPrefix(line, "job ") {
			out = append(out, line)
		}
	}
	return out
}

func newWorld() *world {
	return &world{
		tip: commitA,
		objects: objects(
			"v1 ConfigMap settings", "apps/v1 StatefulSet postgres", "apps/v1 Deployment backend",
		),
		set:     reconciler.MigrationSet{Digest: "d1", Versions: []uint64{1, 2}},
		schema:  reconciler.SchemaState{Versioned: true, Version: 2},
		secrets: map[string]reconciler.Secret{"git": {}, "db": {}},
		await:   func(context.Context, []reconciler.Object) error { return nil },
		jobEnds: func(name string) reconciler.JobState {
			return reconciler.JobState{Name: name, Phase: reconciler.JobComplete, Result: `{"outcome":"succeeded","versionBefore":"1","versionAfter":"2"}`}
		},
		check: func() error { return nil },
	}
}

const (
	commitA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	commitB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// objects makes one object for each "apiVersion Kind name".
func objects(lines ...string) []reconciler.Object {
	var out []reconciler.Object
	for _, line := range lines {
		words := strings.Fields(line)
		object := &unstructured.Unstructured{Object: map[string]any{}}
		object.SetAPIVersion(words[0])
		object.SetKind(words[1])
		object.SetName(words[2])
		out = append(out, reconciler.Object{Unstructured: object, Origin: "overlay/" + words[2] + ".yaml"})
	}
	return out
}

func newRelease() *v1alpha1.Release {
	release := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: "unity", Namespace: "unity", Generation: 1, UID: "u1"}}
	release.Spec.Source = v1alpha1.Source{
		URL: "https://git.example/unity.git", Branch: "main", Path: "overlay", Interval: metav1.Duration{Duration: 30 * time.Second},
		SecretRef: &v1alpha1.SecretReference{Name: "git"},
	}
	release.Spec.ServiceAccountName = "deployer"
	release.Spec.Rollout.Timeout = metav1.Duration{Duration: 5 * time.Minute}
	release.Spec.Databases = []v1alpha1.Database{{
		Name: "homelab_db", SecretRef: v1alpha1.SecretReference{Name: "db"},
		Migrations: &v1alpha1.Migrations{Path: "migrations"}, Guard: v1alpha1.Guard{Attempts: 3},
	}}
	release.Spec.Verify.HTTP = []v1alpha1.HTTPCheck{{Service: "backend", Port: 8000, Path: "/"}}
	return release
}

func (w *world) reconciler() *reconciler.Reconciler {
	return &reconciler.Reconciler{
		Source: source{w}, Renderer: renderer{w}, Migrations: migrations{w}, Cluster: clusterFake{w}, HTTP: httpFake{w}, Loop: loopFake{w},
		Recorder: recorder{w}, Log: slog.New(slog.DiscardHandler),
		Boundary: func(phase reconciler.Phase, after bool) {
			if w.cut != nil {
				w.cut(phase, after)
			}
		},
	}
}

type source struct{ w *world }

func (s source) Resolve(_ context.Context, repo reconciler.Repository) (reconciler.Tip, error) {
	s.w.tips++
	s.w.asked = repo
	return reconciler.Tip{Name: "main", Commit: s.w.tip}, s.w.tipErr
}

func (s source) Fetch(context.Context, reconciler.Repository, reconciler.Tip) (reconciler.Tree, error) {
	tree := fstest.MapFS{}
	for name, content := range s.w.files {
		tree[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return tree, nil
}

func (s source) Verify(_ reconciler.Tree, _ reconciler.Repository, _ reconciler.Tip, keys reconciler.Secret) (string, error) {
	if string(keys["key"]) != s.w.signedBy {
		return "", reconciler.Terminalf("SignatureInvalid", "signed by %s, whom nobody trusts", s.w.signedBy)
	}
	return s.w.signedBy, nil
}

func (s source) Expire(string) { s.w.expired++ }

type renderer struct{ w *world }

func (r renderer) Render(context.Context, reconciler.Tree, string) ([]reconciler.Object, error) {
	return r.w.objects, r.w.rendered
}

func (r renderer) Decrypt(tree reconciler.Tree, keys reconciler.Secret) (reconciler.Tree, error) {
	r.w.note("decrypt with %s", keys["key"])
	return tree, nil
}

func (r renderer) Substitute(objects []reconciler.Object, variables map[string]string) ([]reconciler.Object, error) {
	r.w.note("substitute %v", variables)
	return objects, nil
}

type migrations struct{ w *world }

func (m migrations) Read(reconciler.Tree, string) (reconciler.MigrationSet, error) {
	return m.w.set, m.w.setErr
}

func (m migrations) State(context.Context, reconciler.Secret, string) (reconciler.SchemaState, error) {
	return m.w.schema, m.w.stateErr
}

type clusterFake struct{ w *world }

func (c clusterFake) As(*v1alpha1.Release) (reconciler.Tenant, error) { return tenantFake(c), nil }

func (c clusterFake) SaveStatus(_ context.Context, release *v1alpha1.Release) error {
	if c.w.saveErr != nil {
		return c.w.saveErr
	}
	c.w.saves++
	c.w.saved = release.DeepCopy()
	return nil
}

func (c clusterFake) SetFinalizer(_ context.Context, release *v1alpha1.Release, set bool) error {
	c.w.note("finalizer %v", set)
	release.Finalizers = nil
	if set {
		release.Finalizers = []string{reconciler.Finalizer}
	}
	return nil
}

func (c clusterFake) NamespaceLeaving(context.Context, string) (bool, error) { return c.w.leaving, nil }

func (c clusterFake) Watch(_ *v1alpha1.Release, entries []reconciler.Entry) { c.w.watched = entries }

func (c clusterFake) Moved(types.NamespacedName) ([]reconciler.Ref, bool) {
	return c.w.moved, !c.w.blind
}

func (c clusterFake) Trouble(types.NamespacedName) error { return c.w.trouble }

func (c clusterFake) Unwatch(types.NamespacedName) { c.w.watched = nil }

func (c clusterFake) Event(_ *v1alpha1.Release, warning bool, reason, _ string) {
	c.w.note("event %s warning=%v", reason, warning)
}

func (c clusterFake) EventAbout(release *v1alpha1.Release, _ reconciler.Ref, warning bool, reason, message string) {
	c.Event(release, warning, reason, message)
}

type tenantFake struct{ w *world }

func (t tenantFake) Secret(_ context.Context, name string) (reconciler.Secret, error) {
	secret, ok := t.w.secrets[name]
	if !ok {
		return nil, fmt.Errorf("no Secret %s", name)
	}
	t.w.note("read secret %s", name)
	return secret, nil
}

func (t tenantFake) Values(_ context.Context, kind, name string) (map[string]string, bool, error) {
	values, ok := t.w.values[kind+" "+name]
	return values, ok, nil
}

func (t tenantFake) Ref(object reconciler.Object) (reconciler.Ref, error) {
	return refOf(object), nil
}

func refOf(object reconciler.Object) reconciler.Ref {
	gvk := object.GroupVersionKind()
	return reconciler.Ref{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: "unity", Name: object.GetName()}
}

// Compare takes every object for a new one, unless live says otherwise.
func (t tenantFake) Compare(_ context.Context, objects []reconciler.Object) ([]reconciler.Change, error) {
	changes := make([]reconciler.Change, len(objects))
	for i, object := range objects {
		ref := refOf(object)
		t.w.ignored = object.Ignore
		t.w.compared = append(t.w.compared, ref.Kind+" "+ref.Name)
		changes[i] = reconciler.Change{Object: object, Ref: ref, Origin: object.Origin, Action: reconciler.ActionCreate}
		if change, ok := t.w.differs[ref.Kind+" "+ref.Name]; ok {
			change.Object, change.Ref, change.Origin = object, ref, object.Origin
			changes[i] = change
		}
	}
	return changes, t.w.dryRun
}

func (t tenantFake) Write(ctx context.Context, changes []reconciler.Change) ([]reconciler.Entry, error) {
	var entries []reconciler.Entry
	for _, change := range changes {
		if change.Action != reconciler.ActionUnchanged && t.w.slow != nil && t.w.slow(ctx) {
			return entries, ctx.Err()
		}
		uid := "uid-" + change.Ref.Name
		if change.Action != reconciler.ActionUnchanged {
			t.w.note("apply %s %s", change.Object.GetKind(), change.Object.GetName())
		}
		entries = append(entries, reconciler.Entry{Ref: change.Ref, UID: uid, Token: "t1", ResourceVersion: "1"})
	}
	return entries, t.w.applyErr
}

func (t tenantFake) Delete(_ context.Context, entries []reconciler.Entry) ([]reconciler.Ref, error) {
	var gone []reconciler.Ref
	for _, entry := range entries {
		t.w.note("delete %s %s", entry.Kind, entry.Name)
		if !t.w.stays[entry.Kind+" "+entry.Name] {
			gone = append(gone, entry.Ref)
		}
	}
	if len(gone) < len(entries) && t.w.deleteErr == nil {
		return gone, reconciler.Transientf(reconciler.ReasonTerminating, "it waits for its finalizers")
	}
	return gone, t.w.deleteErr
}

func (t tenantFake) Claim(_ context.Context, ref reconciler.Ref) error {
	t.w.note("claim %s %s", ref.Kind, ref.Name)
	return nil
}

func (t tenantFake) SaveRecord(_ context.Context, _ *v1alpha1.Release, name string, content []byte) (string, error) {
	if t.w.recordErr != nil {
		return "", t.w.recordErr
	}
	pointer := fmt.Sprintf("%s/%x", name, sha256.Sum256(content))
	if t.w.records == nil {
		t.w.records = map[string][]byte{}
	}
	t.w.records[pointer] = content
	return pointer, nil
}

func (t tenantFake) LoadRecord(_ context.Context, _ *v1alpha1.Release, pointer string) ([]byte, error) {
	content, ok := t.w.records[pointer]
	if !ok {
		return nil, reconciler.ErrRecordMissing
	}
	return content, nil
}

func (t tenantFake) DropRecord(_ context.Context, _ *v1alpha1.Release, pointer string) error {
	delete(t.w.records, pointer)
	return nil
}

func (t tenantFake) DropRecords(_ context.Context, _ *v1alpha1.Release, keep []string) error {
	maps.DeleteFunc(t.w.records, func(pointer string, _ []byte) bool { return !slices.Contains(keep, pointer) })
	return nil
}

func (t tenantFake) Await(ctx context.Context, objects []reconciler.Object) error {
	return t.w.await(ctx, objects)
}

func (t tenantFake) Jobs(context.Context, map[string]string) ([]reconciler.JobState, error) {
	return slices.Clone(t.w.jobs), nil
}

func (t tenantFake) StartMigration(_ context.Context, run reconciler.MigrationRun) error {
	t.w.note("job start")
	t.w.jobs = append(t.w.jobs, reconciler.JobState{Name: run.Name, Phase: reconciler.JobRunning, Attempt: run.Attempt})
	return nil
}

func (t tenantFake) AwaitJob(_ context.Context, _, name string) (reconciler.JobState, error) {
	if t.w.jobErr != nil {
		return reconciler.JobState{Name: name, Phase: reconciler.JobRunning}, t.w.jobErr
	}
	ended := t.w.jobEnds(name)
	for i := range t.w.jobs {
		if t.w.jobs[i].Name == name {
			ended.Attempt = t.w.jobs[i].Attempt
			t.w.jobs[i] = ended
		}
	}
	return ended, nil
}

type loopFake struct{ w *world }

func (l loopFake) Aside(context.Context) func() {
	l.w.aside++
	if l.w.aside > 1 {
		panic("a place is left twice")
	}
	return func() { l.w.aside-- }
}

func (l loopFake) Stale(*v1alpha1.Release) bool { return l.w.stale }

type httpFake struct{ w *world }

func (h httpFake) Check(context.Context, string, v1alpha1.HTTPCheck) error { return h.w.check() }

type recorder struct{ w *world }

func (r recorder) Polled(types.NamespacedName, time.Time) {}
func (r recorder) Phase(_ types.NamespacedName, phase reconciler.Phase, outcome reconciler.Outcome, _ time.Duration) {
	r.w.note("%s %s", phase, outcome)
}
func (r recorder) Attempt(_ types.NamespacedName, outcome reconciler.Outcome, _ time.Duration) {
	r.w.note("attempt %s", outcome)
}
func (r recorder) Migration(types.NamespacedName, string, time.Duration) {}
func (r recorder) Objects(types.NamespacedName, map[string]int)          {}
func (r recorder) Corrected(types.NamespacedName)                        { r.w.corrected++ }
func (r recorder) Observe(*v1alpha1.Release)                             {}
func (r recorder) Forget(types.NamespacedName)                           {}
func condition(release *v1alpha1.Release, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(release.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{Type: kind, Status: "absent"}
}
