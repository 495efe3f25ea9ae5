package gitrepo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Refs are the branches and tags of a repository at one moment.
type Refs struct {
	// Branches are commits by name, without refs/heads/.
	Branches map[string]string
	// Tags by name, without refs/tags/.
	Tags map[string]Tag
}

func (r Refs) equal(other Refs) bool {
	return maps.Equal(r.Branches, other.Branches) && maps.Equal(r.Tags, other.Tags)
}

// Tag is where a tag points.
type Tag struct {
	// Object is the annotated tag, or the commit when the tag is a plain one.
	Object string
	// Commit that the tag stands for.
	Commit string
}

// Resolve finds what is wanted among the references of a server. It matches
// whole names only: a branch that is gone is an error and never another one
// of the same ending (G4).
func Resolve(refs Refs, want reconciler.Reference) (reconciler.Tip, error) {
	switch {
	case want.Tag != "":
		tag, ok := refs.Tags[want.Tag]
		if !ok {
			return reconciler.Tip{}, reconciler.Transientf(ReasonTagMissing, "tag %s is not on the server; what is deployed stays as it is", want.Tag)
		}
		return tagTip(want.Tag, tag), nil
	case want.Semver != "":
		return resolveSemver(refs.Tags, want.Semver)
	default:
		commit, ok := refs.Branches[want.Branch]
		if !ok {
			return reconciler.Tip{}, reconciler.Transientf(ReasonBranchMissing, "branch %s is not on the server; what is deployed stays as it is", want.Branch)
		}
		return reconciler.Tip{Name: want.Branch, Commit: commit}, nil
	}
}

func tagTip(name string, tag Tag) reconciler.Tip {
	tip := reconciler.Tip{Name: name, Commit: tag.Commit}
	if tag.Object != tag.Commit {
		tip.TagObject = tag.Object
	}
	return tip
}

func resolveSemver(tags map[string]Tag, text string) (reconciler.Tip, error) {
	constraint, err := semver.NewConstraint(text)
	if err != nil {
		return reconciler.Tip{}, reconciler.Terminalf(ReasonReferenceInvalid, "semver range %q: %s; write it like >=1.2.0 <2.0.0", text, quoteText(err.Error(), nil))
	}
	type candidate struct {
		name    string
		version *semver.Version
	}
	var best *candidate
	for name := range tags {
		version, err := semver.StrictNewVersion(strings.TrimPrefix(name, "v"))
		if err != nil || !constraint.Check(version) {
			continue
		}
		next := &candidate{name, version}
		// Two tags of one version differ in build metadata or the v in front: the name decides.
		if best == nil || cmp.Or(version.Compare(best.version), strings.Compare(name, best.name)) > 0 {
			best = next
		}
	}
	if best == nil {
		return reconciler.Tip{}, reconciler.Transientf(ReasonTagMissing, "none of the %d tags on the server is in the semver range %q; what is deployed stays as it is", len(tags), text)
	}
	return tagTip(best.name, tags[best.name]), nil
}

// readRefs keeps what may be followed of all that a server names.
func readRefs(adv *packp.AdvRefs) Refs {
	refs := Refs{Branches: map[string]string{}, Tags: map[string]Tag{}}
	for name, hash := range adv.References {
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			refs.Branches[branch] = hash.String()
		} else if tag, ok := strings.CutPrefix(name, "refs/tags/"); ok {
			commit := hash
			if peeled, ok := adv.Peeled[name]; ok {
				commit = peeled
			}
			refs.Tags[tag] = Tag{Object: hash.String(), Commit: commit.String()}
		}
	}
	return refs
}

// wanted finds the object to ask a server for, so that the goal comes along:
// servers give out what they name, and they name tags, not what stands behind
// them. A server that gives out any object is asked for what is wanted itself.
func (r Refs) wanted(g goal, givesAny bool) (plumbing.Hash, error) {
	if !g.tag.IsZero() {
		for _, tag := range r.Tags {
			if tag.Object == g.tag.String() {
				return g.tag, nil
			}
		}
		return plumbing.ZeroHash, fmt.Errorf("tag object %s is not on the server any more: %w", g.tag, reconciler.ErrSuperseded)
	}
	commit := g.commit.String()
	for _, tip := range r.Branches {
		if tip == commit {
			return g.commit, nil
		}
	}
	var found []string
	for _, tag := range r.Tags {
		if tag.Commit == commit {
			found = append(found, tag.Object)
		}
	}
	switch {
	case len(found) > 0:
		return plumbing.NewHash(slices.Min(found)), nil
	case givesAny:
		return g.commit, nil
	default:
		return plumbing.ZeroHash, fmt.Errorf("commit %s is no tip of the server any more: %w", commit, reconciler.ErrSuperseded)
	}
}
