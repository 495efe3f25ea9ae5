package gitrepo_test

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo"
	"github.com/lockstep-gitops/lockstep/reconciler/gitrepo/gitrepotest"
)

func TestResolve(t *testing.T) {
	refs := gitrepo.Refs{
		Branches: map[string]string{"main": "m", "team/main": "t", "v1.0.0": "b"},
		Tags: map[string]gitrepo.Tag{
			"v1.0.0": {"c100", "c100"}, "1.2.0": {"c120", "c120"}, "v1.10.0": {"o1100", "c1100"}, "v2.0.0-rc.1": {"rc", "rc"},
			"v2.0.0-rc.2": {"rc2", "rc2"}, "v0.9.0+build.7": {"b7", "b7"}, "v0.9.0+build.8": {"b8", "b8"}, "0.9.0": {"plain", "plain"},
			"latest": {"l", "l"}, "v1.99": {"short", "short"}, "v01.5.0": {"zero", "zero"}, "vv3.0.0": {"vv", "vv"}, "app/v5.0.0": {"app", "app"},
		},
	}
	for name, test := range map[string]struct {
		want   gitrepo.Want
		target gitrepo.Target
		reason string
		text   string
	}{
		"a branch":                             {gitrepo.Want{Branch: "main"}, gitrepo.Target{"refs/heads/main", "m", ""}, "", ""},
		"a branch with a slash":                {gitrepo.Want{Branch: "team/main"}, gitrepo.Target{"refs/heads/team/main", "t", ""}, "", ""},
		"a branch is not a tag":                {gitrepo.Want{Branch: "v1.0.0"}, gitrepo.Target{"refs/heads/v1.0.0", "b", ""}, "", ""},
		"a branch that is not (G4)":            {gitrepo.Want{Branch: "mai"}, gitrepo.Target{}, gitrepo.ReasonBranchMissing, "branch mai is not on the server"},
		"the end of a branch (G4)":             {gitrepo.Want{Branch: "heads/main"}, gitrepo.Target{}, gitrepo.ReasonBranchMissing, "branch heads/main"},
		"nothing":                              {gitrepo.Want{}, gitrepo.Target{}, gitrepo.ReasonBranchMissing, "branch  is not"},
		"a plain tag":                          {gitrepo.Want{Tag: "v1.0.0"}, gitrepo.Target{"refs/tags/v1.0.0", "c100", ""}, "", ""},
		"an annotated tag":                     {gitrepo.Want{Tag: "v1.10.0"}, gitrepo.Target{"refs/tags/v1.10.0", "c1100", "o1100"}, "", ""},
		"a tag that is not":                    {gitrepo.Want{Tag: "main"}, gitrepo.Target{}, gitrepo.ReasonTagMissing, "tag main is not on the server"},
		"any version":                          {gitrepo.Want{Semver: "*"}, gitrepo.Target{"refs/tags/v1.10.0", "c1100", "o1100"}, "", ""},
		"numbers and not text":                 {gitrepo.Want{Semver: "1.x"}, gitrepo.Target{"refs/tags/v1.10.0", "c1100", "o1100"}, "", ""},
		"a range":                              {gitrepo.Want{Semver: ">=1.0.0 <1.10.0"}, gitrepo.Target{"refs/tags/1.2.0", "c120", ""}, "", ""},
		"a tilde":                              {gitrepo.Want{Semver: "~1.0"}, gitrepo.Target{"refs/tags/v1.0.0", "c100", ""}, "", ""},
		"a caret":                              {gitrepo.Want{Semver: "^1.2"}, gitrepo.Target{"refs/tags/v1.10.0", "c1100", "o1100"}, "", ""},
		"an exact version":                     {gitrepo.Want{Semver: "1.2.0"}, gitrepo.Target{"refs/tags/1.2.0", "c120", ""}, "", ""},
		"pre-releases when they are named":     {gitrepo.Want{Semver: ">=2.0.0-0"}, gitrepo.Target{"refs/tags/v2.0.0-rc.2", "rc2", ""}, "", ""},
		"no pre-release otherwise":             {gitrepo.Want{Semver: ">=2.0.0"}, gitrepo.Target{}, gitrepo.ReasonTagMissing, `none of the 13 tags on the server is in the semver range ">=2.0.0"`},
		"the name decides between equal ones":  {gitrepo.Want{Semver: "0.9.0"}, gitrepo.Target{"refs/tags/v0.9.0+build.8", "b8", ""}, "", ""},
		"what is no version is not considered": {gitrepo.Want{Semver: ">=3"}, gitrepo.Target{}, gitrepo.ReasonTagMissing, "none of the 13 tags"},
		"a range that is none":                 {gitrepo.Want{Semver: "newest\x1b[31m"}, gitrepo.Target{}, gitrepo.ReasonReferenceInvalid, `semver range "newest\x1b[31m"`},
		"a tag goes before a range":            {gitrepo.Want{Tag: "latest", Semver: "1.x"}, gitrepo.Target{"refs/tags/latest", "l", ""}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := gitrepo.Resolve(refs, test.want)
			assert.Equal(t, got, test.target)
			if test.reason == "" {
				assert.NilError(t, err)
				return
			}
			isFailure(t, err, test.reason, test.text)
			assert.Equal(t, reconciler.IsTerminal(err), test.reason == gitrepo.ReasonReferenceInvalid)
		})
	}
}

// Tags of a real server, followed as they come.
func TestSemverIsFollowed(t *testing.T) {
	server := gitrepotest.New(t)
	origin := server.Repo(t, "app.git")
	store := newStore(t)
	follow := func(want string) {
		t.Helper()
		target, err := store.Resolve(t.Context(), at(origin, ""), gitrepo.Want{Semver: "1.x"})
		assert.NilError(t, err)
		tree, err := store.FetchTarget(t.Context(), at(origin, ""), target)
		assert.NilError(t, err)
		assert.Equal(t, content(t, tree, "file"), want)
	}
	first := origin.Commit("main", map[string]string{"file": "first"})
	origin.Tag("v1.0.0", first)
	follow("first")
	second := origin.Commit("main", map[string]string{"file": "second"})
	origin.AnnotatedTag("v1.1.0", second)
	origin.Commit("main", map[string]string{"file": "not tagged"})
	follow("second")
	third := origin.Commit("main", map[string]string{"file": "third"})
	origin.Commit("main", map[string]string{"file": "not tagged either"})
	origin.Tag("v2.0.0", third)
	follow("second")
	origin.AnnotatedTag("v1.1.1", first)
	follow("first")
	tree, err := store.FetchTree(t.Context(), at(origin, ""), second)
	assert.NilError(t, err, "a commit is found through its tag")
	assert.Equal(t, content(t, tree, "file"), "second")
	assert.Assert(t, strings.HasPrefix(second, tree.Commit()))
}
