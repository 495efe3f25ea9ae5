package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
	"github.com/lockstep-gitops/lockstep/reconciler/metrics"
)

func shop() types.NamespacedName { return types.NamespacedName{Namespace: "prod", Name: "shop"} }

func release(key types.NamespacedName) *v1alpha1.Release {
	settled := metav1.Unix(1700000000, 0)
	return &v1alpha1.Release{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec: v1alpha1.ReleaseSpec{Source: v1alpha1.Source{
			URL: "https://git.example/shop.git", Branch: "clean-k8s-deploy", Path: "deploy/production",
		}},
		Status: v1alpha1.ReleaseStatus{
			Conditions:   []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}},
			LastGoodTime: &settled,
			Databases: []v1alpha1.DatabaseStatus{
				{Name: "shop", Version: "3", Expected: "5", Pending: 2},
				{Name: "audit", Dirty: true},
			},
		},
	}
}

// fill records one of everything.
func fill(recorder *metrics.Recorder, key types.NamespacedName) {
	recorder.Polled(key, time.Unix(1700000100, 500_000_000))
	recorder.Phase(key, reconciler.PhaseFetch, reconciler.OutcomeSucceeded, 200*time.Millisecond)
	recorder.Phase(key, reconciler.PhaseMigrate, reconciler.OutcomeRetry, 7*time.Second)
	recorder.Attempt(key, reconciler.OutcomeSucceeded, 42*time.Second)
	recorder.Attempt(key, reconciler.OutcomeHeld, time.Second)
	recorder.Migration(key, "shop", 3*time.Second)
	recorder.Objects(key, map[string]int{"Deployment": 2, "Service": 1})
	recorder.Corrected(key)
	recorder.Observe(release(key))
}

func TestExposition(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	fill(metrics.New(registry), shop())
	golden, err := os.Open("testdata/metrics.txt")
	assert.NilError(t, err)
	defer func() { assert.Check(t, golden.Close()) }()
	assert.NilError(t, testutil.GatherAndCompare(registry, golden))
}

func TestNamesFollowTheConventions(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	fill(metrics.New(registry), shop())
	problems, err := testutil.GatherAndLint(registry)
	assert.NilError(t, err)
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

// count is the number of series, that of each histogram being one.
func count(t *testing.T, registry *prometheus.Registry) int {
	t.Helper()
	families, err := registry.Gather()
	assert.NilError(t, err)
	total := 0
	for _, family := range families {
		total += len(family.GetMetric())
	}
	return total
}

// TestForgetLeavesNothing covers P9: a Release that is gone takes all its
// series with it, and no others.
func TestForgetLeavesNothing(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	recorder := metrics.New(registry)
	fill(recorder, shop())
	one := count(t, registry)
	sameName := types.NamespacedName{Namespace: "test", Name: "shop"}
	fill(recorder, sameName)
	assert.Equal(t, count(t, registry), 2*one)

	recorder.Forget(sameName)
	assert.Equal(t, count(t, registry), one)
	recorder.Forget(shop())
	assert.Equal(t, count(t, registry), 0)
	recorder.Forget(shop())
}

// TestSeriesDoNotGrowWithRevisions covers P9: commits, Jobs and errors are no labels.
func TestSeriesDoNotGrowWithRevisions(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	recorder := metrics.New(registry)
	fill(recorder, shop())
	before := count(t, registry)
	for i := range 1000 {
		next := release(shop())
		next.Status.LastAttemptedRevision = fmt.Sprintf("clean-k8s-deploy@sha1:%040d", i)
		next.Status.LastGoodRevision, next.Status.HeldRevision = next.Status.LastAttemptedRevision, next.Status.LastAttemptedRevision
		next.Status.Attempt = int64(i)
		next.Status.Ledger = []v1alpha1.LedgerEntry{{Job: fmt.Sprintf("shop-%d", i), Message: fmt.Sprintf("error %d", i)}}
		next.Status.Databases[0].Version = fmt.Sprint(i)
		next.Status.Conditions[0].Reason, next.Status.Conditions[0].Message = fmt.Sprintf("R%d", i), fmt.Sprintf("message %d", i)
		recorder.Observe(next)
		recorder.Objects(shop(), map[string]int{"Deployment": i, "Service": 1})
		recorder.Attempt(shop(), reconciler.OutcomeHeld, time.Second)
		recorder.Migration(shop(), "shop", time.Second)
		recorder.Phase(shop(), reconciler.PhaseFetch, reconciler.OutcomeSucceeded, time.Second)
		recorder.Polled(shop(), time.Unix(int64(i), 0))
	}
	assert.Equal(t, count(t, registry), before)
}

// TestOldSeriesGo shows that what a Release has no more is not shown for ever.
func TestOldSeriesGo(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*metrics.Recorder)
		metric string
		want   string
	}{
		"a kind that the revision has no more": {
			func(r *metrics.Recorder) { r.Objects(shop(), map[string]int{"Service": 1}) },
			"lockstep_managed_objects", `kind="Service",namespace="prod",release="shop"} 1`,
		},
		"the branch of before": {
			func(r *metrics.Recorder) {
				next := release(shop())
				next.Spec.Source.Branch = "next"
				r.Observe(next)
			},
			"lockstep_release_info", `branch="next",namespace="prod",path="deploy/production",release="shop",url="https://git.example/shop.git"} 1`,
		},
		"a database that is no longer named": {
			func(r *metrics.Recorder) {
				next := release(shop())
				next.Status.Databases = next.Status.Databases[1:]
				r.Observe(next)
			},
			"lockstep_migration_dirty", `database="audit",namespace="prod",release="shop"} 1`,
		},
		"a version of a database that has none any more": {
			func(r *metrics.Recorder) {
				next := release(shop())
				next.Status.Databases[0].Version, next.Status.Databases[1].Version = "", "7"
				r.Observe(next)
			},
			"lockstep_migration_version", `database="audit",namespace="prod",release="shop"} 7`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			recorder := metrics.New(registry)
			fill(recorder, shop())
			test.change(recorder)
			text := scrape(t, registry)
			var got []string
			for line := range strings.Lines(text) {
				if rest, found := strings.CutPrefix(line, test.metric+"{"); found {
					got = append(got, strings.TrimSpace(rest))
				}
			}
			assert.DeepEqual(t, got, []string{test.want})
		})
	}
}

func scrape(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	answer := httptest.NewRecorder()
	metrics.Handler(registry).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	assert.Equal(t, answer.Code, http.StatusOK)
	return answer.Body.String()
}

// TestAttemptThatDidNotSettleHasNoDuration keeps the histogram honest: a
// failure after a second is not a fast delivery.
func TestAttemptThatDidNotSettleHasNoDuration(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	recorder := metrics.New(registry)
	for _, outcome := range []reconciler.Outcome{
		reconciler.OutcomeHeld, reconciler.OutcomeRetry, reconciler.OutcomeSuperseded, reconciler.OutcomeInterrupted,
	} {
		recorder.Attempt(shop(), outcome, time.Second)
	}
	settled, err := testutil.GatherAndCount(registry, "lockstep_commit_to_settled_seconds")
	assert.NilError(t, err)
	assert.Equal(t, settled, 0)
}
