package reconciler

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Ref names an object to the API.
type Ref struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String names the object to a person: its kind, with the group where that is
// not plain, and its name.
func (r Ref) String() string {
	kind := r.Kind
	if strings.Contains(r.Group, ".") {
		kind = schema.GroupKind{Group: r.Group, Kind: r.Kind}.String()
	}
	if r.Namespace == "" {
		return kind + " " + r.Name
	}
	return kind + " " + r.Namespace + "/" + r.Name
}

// Same tells whether both name one object, whatever versions of the API they
// are read in.
func (r Ref) Same(other Ref) bool {
	r.Version = other.Version
	return r == other
}

// Entry is an object of an inventory: what was applied, and how it stood in
// the cluster then.
type Entry struct {
	Ref
	// UID tells the object from one of the same name that came later.
	UID string `json:"uid"`
	// Digest of the object as rendered.
	Digest string `json:"digest,omitempty"`
	// Token changes when somebody changes what a commit can set: not with the
	// status. ResourceVersion orders the states of one object.
	Token           string `json:"token,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Kept is true for an object that must not be deleted when it leaves the
	// commit.
	Kept bool `json:"kept,omitempty"`
	// Leaving is true for an object whose deletion was accepted and that is not
	// gone yet.
	Leaving bool `json:"leaving,omitempty"`
}

// Action is what a plan does about one object.
type Action string

// The actions.
const (
	// ActionCreate makes an object that is not there.
	ActionCreate Action = "create"
	// ActionUpdate changes fields of an object.
	ActionUpdate Action = "update"
	// ActionReplace deletes an object and makes it anew, since a field that
	// cannot be changed differs and the object allows it.
	ActionReplace Action = "replace"
	// ActionUnchanged leaves an object alone.
	ActionUnchanged Action = "unchanged"
	// ActionApply writes an object that could not be dry-run; the reason says why.
	ActionApply Action = "apply"
	// ActionRun starts a Job.
	ActionRun Action = "run"
	// ActionDelete removes an object that left the commit.
	ActionDelete Action = "delete"
	// ActionKeep leaves an object that left the commit but is protected.
	ActionKeep Action = "keep"
	// ActionRefuse is an object that the API server, or Lockstep, would not take.
	ActionRefuse Action = "refuse"
)

// Annotations on objects that say how Lockstep treats them.
const (
	// PruneAnnotation with the value never keeps an object that left the commit.
	PruneAnnotation = "lockstep.dev/prune"
	// DriftAnnotation is correct, report or ignore.
	DriftAnnotation = "lockstep.dev/drift"
)

// Change is what an attempt does about one object.
type Change struct {
	// Object as rendered. It holds no object for ActionDelete and ActionKeep.
	Object Object `json:"-"`
	Ref    Ref    `json:"object"`
	Origin string `json:"origin,omitempty"`
	Action Action `json:"action"`
	// Reason explains an action that does not explain itself.
	Reason string `json:"reason,omitempty"`
	// Fields that would change, in the order of their paths.
	Fields []FieldChange `json:"fields,omitempty"`
	// Manager that set one of the fields in the cluster, where it was not us.
	Manager string `json:"manager,omitempty"`
	// Foreign are fields of the live object that the commit does not set and
	// that a person or a program set by themselves.
	Foreign []ForeignField `json:"foreign,omitempty"`
	// Warnings of the API server.
	Warnings []string `json:"warnings,omitempty"`
	// Live is the object as it stands; nil when there is none.
	Live *Live `json:"-"`
	// Err is why it is refused.
	Err error `json:"-"`
}

// FieldChange is one field that differs. Values of Secrets are masked.
type FieldChange struct {
	// Path of the field, such as spec.template.spec.containers[name=main].image.
	Path string `json:"path"`
	// Before and After are values as JSON; empty when the field is not there.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// ForeignField is a field that git does not own.
type ForeignField struct {
	Path    string `json:"path"`
	Manager string `json:"manager"`
}

// Live is how an object stands in the cluster.
type Live struct {
	UID             string
	Token           string
	ResourceVersion string
	// Owner is the Release that delivers the object, as namespace/name; empty
	// when none does.
	Owner string
	// Claimant is the Release that waits to take the object over.
	Claimant string
}

// Digest is the sha256 over the object as rendered.
func (o Object) Digest() (string, error) {
	return digestOf(o.Object)
}
