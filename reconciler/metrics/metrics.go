// Package metrics keeps the Prometheus series of the daemon. Labels are
// closed sets: namespaces, Releases and databases that exist, phases,
// outcomes and kinds. A commit, the name of an object or the text of an error
// is never a label (P9).
package metrics

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Recorder keeps the series of all Releases.
type Recorder struct {
	ready, suspended, held, info, lastGood, lastPoll *prometheus.GaugeVec
	objects                                          *prometheus.GaugeVec
	version, expected, pending, dirty                *prometheus.GaugeVec
	drifted                                          *prometheus.GaugeVec
	attempts, corrections                            *prometheus.CounterVec
	phases, settled, migrations                      *prometheus.HistogramVec

	mu sync.Mutex
	// shown are the labels of each Release that may go while it stays.
	shown map[types.NamespacedName]*shown
}

// shown is what is deleted by name when a Release has it no more. To delete
// all and set them anew would leave a scrape in between with nothing.
type shown struct {
	source    v1alpha1.Source
	databases []string
	kinds     map[string]int
}

var _ reconciler.Recorder = (*Recorder)(nil)

// New registers the series.
func New(registry prometheus.Registerer) *Recorder {
	f := factory{registry}
	seconds := []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
	return &Recorder{
		shown:       map[types.NamespacedName]*shown{},
		ready:       f.gauge("release_ready", "Whether the revision of the branch is settled."),
		suspended:   f.gauge("release_suspended", "Whether new attempts are suspended."),
		held:        f.gauge("release_held", "Whether the revision of the branch failed and is not tried again."),
		info:        f.gauge("release_info", "What a Release follows; always 1.", "url", "branch", "path"),
		lastGood:    f.gauge("last_good_timestamp_seconds", "When a revision settled last."),
		lastPoll:    f.gauge("git_last_poll_timestamp_seconds", "When the git server answered last."),
		objects:     f.gauge("managed_objects", "Objects of the revision that was rendered last.", "kind"),
		drifted:     f.gauge("drifted_objects", "Objects that differ from the commit and are not put back; 50 stands for 50 and more."),
		version:     f.gauge("migration_version", "Version that the version table of a database claims.", "database"),
		expected:    f.gauge("migration_expected_version", "Newest version in the commit.", "database"),
		pending:     f.gauge("migration_pending", "Migrations of the commit that are newer than the database.", "database"),
		dirty:       f.gauge("migration_dirty", "Whether a migration stopped half-way.", "database"),
		attempts:    f.counter("attempts_total", "Attempts that ended.", "outcome"),
		corrections: f.counter("drift_corrections_total", "Objects that were put back after somebody else changed them."),
		phases:      f.histogram("phase_duration_seconds", "Duration of phases.", seconds, "phase", "outcome"),
		settled:     f.histogram("commit_to_settled_seconds", "From the moment a revision was first seen to its settled end.", seconds),
		migrations:  f.histogram("migration_duration_seconds", "Duration of migration Jobs.", seconds, "database"),
	}
}

// Handler serves the series of a registry.
func Handler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, MaxRequestsInFlight: 4, Timeout: 20 * time.Second})
}

// factory makes series that all have the labels namespace and release.
type factory struct{ registry prometheus.Registerer }

const prefix = "lockstep"

func (f factory) labels(more []string) []string {
	return append([]string{"namespace", "release"}, more...)
}

func (f factory) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: prefix, Name: name, Help: help}, f.labels(labels))
	f.registry.MustRegister(v)
	return v
}

func (f factory) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help}, f.labels(labels))
	f.registry.MustRegister(v)
	return v
}

func (f factory) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: prefix, Name: name, Help: help, Buckets: buckets}, f.labels(labels))
	f.registry.MustRegister(v)
	return v
}

// Polled is called after each answer of the git server.
func (r *Recorder) Polled(release types.NamespacedName, at time.Time) {
	r.lastPoll.WithLabelValues(release.Namespace, release.Name).Set(float64(at.UnixNano()) / 1e9)
}

// Phase is called at the end of each phase.
func (r *Recorder) Phase(release types.NamespacedName, phase reconciler.Phase, outcome reconciler.Outcome, took time.Duration) {
	r.phases.WithLabelValues(release.Namespace, release.Name, string(phase), string(outcome)).Observe(took.Seconds())
}

// Attempt is called at the end of each attempt.
func (r *Recorder) Attempt(release types.NamespacedName, outcome reconciler.Outcome, took time.Duration) {
	r.attempts.WithLabelValues(release.Namespace, release.Name, string(outcome)).Inc()
	if outcome == reconciler.OutcomeSucceeded {
		r.settled.WithLabelValues(release.Namespace, release.Name).Observe(took.Seconds())
	}
}

// Corrected is called when drift of an object was put back.
func (r *Recorder) Corrected(release types.NamespacedName) {
	r.corrections.WithLabelValues(release.Namespace, release.Name).Inc()
}

// Migration is called for each migration that ran.
func (r *Recorder) Migration(release types.NamespacedName, database string, took time.Duration) {
	r.migrations.WithLabelValues(release.Namespace, release.Name, database).Observe(took.Seconds())
}

// Objects is called when the objects of a revision are known. Kinds that the
// revision has no more go.
func (r *Recorder) Objects(release types.NamespacedName, kinds map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last(release)
	for kind := range last.kinds {
		if _, still := kinds[kind]; !still {
			r.objects.DeleteLabelValues(release.Namespace, release.Name, kind)
		}
	}
	last.kinds = maps.Clone(kinds)
	for kind, count := range kinds {
		r.objects.WithLabelValues(release.Namespace, release.Name, kind).Set(float64(count))
	}
}

// last is what is shown of a Release. The lock is held.
func (r *Recorder) last(release types.NamespacedName) *shown {
	if r.shown[release] == nil {
		r.shown[release] = &shown{}
	}
	return r.shown[release]
}

// Observe is called with each new state of a Release.
func (r *Recorder) Observe(release *v1alpha1.Release) {
	key := types.NamespacedName{Namespace: release.Namespace, Name: release.Name}
	status := &release.Status
	r.ready.WithLabelValues(key.Namespace, key.Name).Set(truth(meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)))
	r.suspended.WithLabelValues(key.Namespace, key.Name).Set(truth(release.Spec.Suspend))
	r.held.WithLabelValues(key.Namespace, key.Name).Set(truth(status.HeldRevision != ""))
	r.drifted.WithLabelValues(key.Namespace, key.Name).Set(float64(len(status.Drift)))
	if status.LastGoodTime != nil {
		r.lastGood.WithLabelValues(key.Namespace, key.Name).Set(float64(status.LastGoodTime.Unix()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observeInfo(key, release.Spec.Source)
	r.observeDatabases(key, status.Databases)
}

// observeInfo replaces the one info series when the source changed.
func (r *Recorder) observeInfo(key types.NamespacedName, source v1alpha1.Source) {
	last := r.last(key)
	if old := last.source; old.URL != source.URL || old.Followed() != source.Followed() || old.Path != source.Path {
		r.info.DeletePartialMatch(labelsOf(key))
	}
	last.source = source
	r.info.WithLabelValues(key.Namespace, key.Name, source.URL, source.Followed(), source.Path).Set(1)
}

// observeDatabases shows the databases, and those of before no more: one that
// was dirty and left the Release would raise an alert for ever.
func (r *Recorder) observeDatabases(key types.NamespacedName, databases []v1alpha1.DatabaseStatus) {
	names := make([]string, 0, len(databases))
	for _, database := range databases {
		names = append(names, database.Name)
		number(r.version, key, database.Name, database.Version)
		number(r.expected, key, database.Name, database.Expected)
		r.pending.WithLabelValues(key.Namespace, key.Name, database.Name).Set(float64(database.Pending))
		r.dirty.WithLabelValues(key.Namespace, key.Name, database.Name).Set(truth(database.Dirty))
	}
	last := r.last(key)
	for _, name := range last.databases {
		if slices.Contains(names, name) {
			continue
		}
		labels := labelsOf(key)
		labels["database"] = name
		for _, series := range []*prometheus.GaugeVec{r.version, r.expected, r.pending, r.dirty} {
			series.Delete(labels)
		}
	}
	last.databases = names
}

// number exports a version that is a number; others have no order that a
// gauge could show.
func number(gauge *prometheus.GaugeVec, key types.NamespacedName, database, version string) {
	value, err := strconv.ParseFloat(version, 64)
	if err != nil {
		gauge.DeleteLabelValues(key.Namespace, key.Name, database)
		return
	}
	gauge.WithLabelValues(key.Namespace, key.Name, database).Set(value)
}

// Forget drops all series of a Release that is gone.
func (r *Recorder) Forget(release types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.shown, release)
	labels := labelsOf(release)
	for _, series := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{
		r.ready, r.suspended, r.held, r.info, r.lastGood, r.lastPoll, r.objects,
		r.version, r.expected, r.pending, r.dirty, r.attempts, r.phases, r.settled, r.migrations, r.drifted, r.corrections,
	} {
		series.DeletePartialMatch(labels)
	}
}

func labelsOf(release types.NamespacedName) prometheus.Labels {
	return prometheus.Labels{"namespace": release.Namespace, "release": release.Name}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
