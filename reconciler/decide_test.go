package reconciler

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

func TestDecide(t *testing.T) {
	for name, test := range map[string]struct {
		status     v1alpha1.ReleaseStatus
		generation int64
		want       action
	}{
		"a Release that was never attempted starts":       {v1alpha1.ReleaseStatus{}, 1, actionStart},
		"a settled revision is left alone":                {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "r", LastGoodRevision: "r", Phase: "Settled"}, 1, actionIdle},
		"a held revision is left alone":                   {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "r", HeldRevision: "r", Phase: "Held"}, 1, actionIdle},
		"a held revision starts when the spec changed":    {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "r", HeldRevision: "r", Phase: "Held"}, 2, actionStart},
		"a settled revision starts when the spec changed": {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "r", LastGoodRevision: "r", Phase: "Settled"}, 2, actionStart},
		"another revision starts":                         {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "q", LastGoodRevision: "q", Phase: "Settled"}, 1, actionStart},
		"a branch that went back to a good one starts":    {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "q", LastGoodRevision: "r", HeldRevision: "q"}, 1, actionStart},
		"an attempt that was cut off goes on":             {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "r", Phase: "Migrate"}, 1, actionResume},
		"an attempt of a once good revision goes on":      {v1alpha1.ReleaseStatus{ObservedGeneration: 1, LastAttemptedRevision: "r", LastGoodRevision: "r", Phase: "Plan"}, 1, actionResume},
	} {
		t.Run(name, func(t *testing.T) {
			release := &v1alpha1.Release{Status: test.status}
			release.Generation = test.generation
			assert.Equal(t, decide(release, "r"), test.want)
		})
	}
}

func TestDecideRun(t *testing.T) {
	failed := func(attempt int64, code int32) JobState {
		return JobState{Phase: JobFailed, Attempt: attempt, ExitCode: code}
	}
	for name, test := range map[string]struct {
		jobs  []JobState
		verb  runVerb
		index int
	}{
		"the first is started":                                  {nil, runStart, 0},
		"a running one is waited for":                           {[]JobState{{Phase: JobRunning, Attempt: 1}}, runAwait, 0},
		"a running one of an earlier attempt is waited for too": {[]JobState{failed(1, 75), {Phase: JobRunning, Attempt: 1}}, runAwait, 1},
		"a complete one is done":                                {[]JobState{failed(1, 75), {Phase: JobComplete}}, runDone, 1},
		"one that failed for good is not followed (J7)":         {[]JobState{failed(2, 1)}, runFailed, 0},
		"one that may pass is followed":                         {[]JobState{failed(2, 75)}, runStart, 1},
		"one that was killed without a word is not followed":    {[]JobState{failed(2, -1)}, runFailed, 0},
		"the last of all attempts is not followed":              {[]JobState{failed(2, 75), failed(2, 75), failed(2, 75)}, runFailed, 2},
		"a failure of an earlier attempt may be tried anew":     {[]JobState{failed(1, 1)}, runStart, 1},
		"attempts are counted for this attempt alone":           {[]JobState{failed(1, 75), failed(1, 75), failed(1, 75), failed(2, 75)}, runStart, 4},
	} {
		t.Run(name, func(t *testing.T) {
			got := decideRun(test.jobs, 2, 3)
			assert.Equal(t, got.verb, test.verb)
			assert.Equal(t, got.index, test.index)
		})
	}
}

func TestJudgeState(t *testing.T) {
	set := MigrationSet{Versions: []uint64{1, 2}}
	for name, test := range map[string]struct {
		state SchemaState
		done  bool
		err   string
	}{
		"no version table needs a migration":    {SchemaState{}, false, ""},
		"an older version needs a migration":    {SchemaState{Versioned: true, Version: 1}, false, ""},
		"the newest version needs none":         {SchemaState{Versioned: true, Version: 2}, true, ""},
		"a newer version is refused (D5)":       {SchemaState{Versioned: true, Version: 3}, false, "the database is at version 3, the newest file in this commit is 2"},
		"a dirty version is refused (D1)":       {SchemaState{Versioned: true, Version: 2, Dirty: true}, false, "version 2 is marked dirty"},
		"a dirty newer version is refused (I7)": {SchemaState{Versioned: true, Version: 3, Dirty: true}, false, "version 3 is marked dirty"},
	} {
		t.Run(name, func(t *testing.T) {
			done, err := judgeState(test.state, set)
			assert.Equal(t, done, test.done)
			if test.err == "" {
				assert.NilError(t, err)
				return
			}
			assert.ErrorContains(t, err, test.err)
			assert.Assert(t, IsTerminal(err))
		})
	}
}
