package reconciler_test

import (
	"context"
	"fmt"
	"log/slog"
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

	trace []string
	saved *v1alpha1.Release
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// writes are the trace lines that change the cluster.
func (w *world) writes() []string {
	var out []string
	for _, line := range w.trace {
		if strings.HasPrefix(line, "apply ") || strings.HasPrefix(line, "job ") {
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
		Source: source{w}, Renderer: renderer{w}, Migrations: migrations{w}, Cluster: clusterFake{w}, HTTP: httpFake{w},
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
	return fstest.MapFS{}, nil
}

func (s source) Verify(_ reconciler.Tree, _ reconciler.Repository, _ reconciler.Tip, keys reconciler.Secret) (string, error) {
	if string(keys["key"]) != s.w.signedBy {
		return "", reconciler.Terminalf("SignatureInvalid", "signed by %s, whom nobody trusts", s.w.signedBy)
	}
	return s.w.signedBy, nil
}

func (source) Expire(string) {}

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
	c.w.saved = release.DeepCopy()
	return nil
}

func (c clusterFake) Event(_ *v1alpha1.Release, warning bool, reason, _ string) {
	c.w.note("event %s warning=%v", reason, warning)
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

func (t tenantFake) DryRun(context.Context, []reconciler.Object) error { return t.w.dryRun }

func (t tenantFake) Apply(_ context.Context, objects []reconciler.Object) error {
	for _, object := range objects {
		t.w.note("apply %s %s", object.GetKind(), object.GetName())
	}
	return t.w.applyErr
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
func (r recorder) Observe(*v1alpha1.Release)                             {}
func (r recorder) Forget(types.NamespacedName)                           {}
func condition(release *v1alpha1.Release, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(release.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{Type: kind, Status: "absent"}
}
