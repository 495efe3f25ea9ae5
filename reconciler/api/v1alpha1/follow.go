package v1alpha1

import "cmp"

// DefaultBranch is delivered when a source names no reference.
const DefaultBranch = "clean-k8s-deploy"

// FollowedBranch is the branch that is delivered, or empty when a tag or a
// range of versions is.
func (s *Source) FollowedBranch() string {
	if s.Tag != "" || s.Semver != "" {
		return ""
	}
	return cmp.Or(s.Branch, DefaultBranch)
}

// Followed is the reference that is delivered, as the spec names it.
func (s *Source) Followed() string {
	return cmp.Or(s.Tag, s.Semver, s.FollowedBranch())
}
