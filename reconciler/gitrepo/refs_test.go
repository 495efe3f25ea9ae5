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
		want   reconciler.Reference
		target reconciler.Tip
		reason string
		text   string
	}{
		"a branch":                             {reconciler.Reference{Branch: "main"}, reconciler.Tip{Name: "main", Commit: "m"}, "", ""},
		"a branch with a slash":                {reconciler.Reference{Branch: "team/main"}, reconciler.Tip{Name: "team/main", Commit: "t"}, "", ""},
		"a branch is not a tag":                {reconciler.Reference{Branch: "v1.0.0"}, reconciler.Tip{Name: "v1.0.0", Commit: "b"}, "", ""},
		"a branch that is not (G4)":            {reconciler.Reference{Branch: "mai"}, reconciler.Tip{}, gitrepo.ReasonBranchMissing, "branch mai is not on the server"},
		"the end of a branch (G4)":             {reconciler.Reference{Branch: "heads/main"}, reconciler.Tip{}, gitrepo.ReasonBranchMissing, "branch heads/main"},
		"nothing":                              {reconciler.Reference{}, reconciler.Tip{}, gitrepo.ReasonBranchMissing, "branch  is not"},
		"a plain tag":                          {reconciler.Reference{Tag: "v1.0.0"}, reconciler.Tip{Name: "v1.0.0", Commit: "c100"}, "", ""},
		"an annotated tag":                     {reconciler.Reference{Tag: "v1.10.0"}, reconciler.Tip{Name: "v1.10.0", Commit: "c1100", TagObject: "o1100"}, "", ""},
		"a tag that is not":                    {reconciler.Reference{Tag: "main"}, reconciler.Tip{}, gitrepo.ReasonTagMissing, "tag main is not on the server"},
		"any version":                          {reconciler.Reference{Semver: "*"}, reconciler.Tip{Name: "v1.10.0", Commit: "c1100", TagObject: "o1100"}, "", ""},
		"numbers and not text":                 {reconciler.Reference{Semver: "1.x"}, reconciler.Tip{Name: "v1.10.0", Commit: "c1100", TagObject: "o1100"}, "", ""},
		"a range":                              {reconciler.Reference{Semver: ">=1.0.0 <1.10.0"}, reconciler.Tip{Name: "1.2.0", Commit: "c120"}, "", ""},
		"a tilde":                              {reconciler.Reference{Semver: "~1.0"}, reconciler.Tip{Name: "v1.0.0", Commit: "c100"}, "", ""},
		"a caret":                              {reconciler.Reference{Semver: "^1.2"}, reconciler.Tip{Name: "v1.10.0", Commit: "c1100", TagObject: "o1100"}, "", ""},
		"an exact version":                     {reconciler.Reference{Semver: "1.2.0"}, reconciler.Tip{Name: "1.2.0", Commit: "c120"}, "", ""},
		"pre-releases when they are named":     {reconciler.Reference{Semver: ">=2.0.0-0"}, reconciler.Tip{Name: "v2.0.0-rc.2", Commit: "rc2"}, "", ""},
		"no pre-release otherwise":             {reconciler.Reference{Semver: ">=2.0.0"}, reconciler.Tip{}, gitrepo.ReasonTagMissing, `none of the 13 tags on the server is in the semver range ">=2.0.0"`},
		"the name decides between equal ones":  {reconciler.Reference{Semver: "0.9.0"}, reconciler.Tip{Name: "v0.9.0+build.8", Commit: "b8"}, "", ""},
		"what is no version is not considered": {reconciler.Reference{Semver: ">=3"}, reconciler.Tip{}, gitrepo.ReasonTagMissing, "none of the 13 tags"},
		"a range that is none":                 {reconciler.Reference{Semver: "newest\x1b[31m"}, reconciler.Tip{}, gitrepo.ReasonReferenceInvalid, `semver range "newest\x1b[31m"`},
		"a tag goes before a range":            {reconciler.Reference{Tag: "latest", Semver: "1.x"}, reconciler.Tip{Name: "latest", Commit: "l"}, "", ""},
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
		target, err := store.Resolve(t.Context(), following(origin, reconciler.Reference{Semver: "1.x"}))
		assert.NilError(t, err)
		tree, err := store.FetchTree(t.Context(), at(origin, ""), target)
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
	tree, err := store.FetchTree(t.Context(), at(origin, ""), reconciler.Tip{Commit: second})
	assert.NilError(t, err, "a commit is found through its tag")
	assert.Equal(t, content(t, tree, "file"), "second")
	assert.Assert(t, strings.HasPrefix(second, tree.Commit()))
}
