package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Release is one overlay of one branch, delivered with its databases.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rel,categories=lockstep
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.lastAttemptedRevision`
// +kubebuilder:printcolumn:name="Schema",type=string,JSONPath=`.status.databases[*].version`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a Release becomes a label value: at most 63 characters"
type Release struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ReleaseSpec   `json:"spec"`
	Status ReleaseStatus `json:"status,omitempty"`
}

// ReleaseList is a list of Releases.
//
// +kubebuilder:object:root=true
type ReleaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Release `json:"items"`
}

// ReleaseSpec says what is delivered, from where, and how it is proven.
type ReleaseSpec struct {
	// Source is the branch and the overlay in it.
	Source Source `json:"source"`

	// ServiceAccountName is the account in the namespace of the Release under
	// whose rights everything is read and written. The daemon has no rights on
	// workloads of its own.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	ServiceAccountName string `json:"serviceAccountName"`

	// Decryption opens files of the overlay that are encrypted with SOPS.
	//
	// +optional
	Decryption *Decryption `json:"decryption,omitempty"`

	// Substitute puts values into the rendered objects, in place of ${NAME}
	// and ${NAME:=default}. Nothing is substituted when neither this nor
	// substituteFrom is set.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=256
	// +kubebuilder:validation:XValidation:rule="self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))",message="names of variables are letters, digits and _, and do not begin with a digit"
	Substitute map[string]string `json:"substitute,omitempty"`

	// SubstituteFrom are objects whose data are variables too. Later ones
	// override earlier ones, and substitute overrides them all.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=16
	SubstituteFrom []SubstituteSource `json:"substituteFrom,omitempty"`

	// Databases are migrated before the workload is changed.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Databases []Database `json:"databases,omitempty"`

	// Rollout bounds the wait for the workload.
	//
	// +optional
	// +kubebuilder:default={}
	Rollout Rollout `json:"rollout,omitempty"`

	// Verify is what must hold after the rollout before a revision is good.
	//
	// +optional
	Verify Verify `json:"verify,omitempty"`

	// Prune deletes what left the commit, after the rollout is verified. Never
	// a PersistentVolumeClaim, PersistentVolume, Namespace,
	// CustomResourceDefinition or StatefulSet, and never more than half of all,
	// unless the kustomization allows it by the annotation lockstep.dev/allow-prune.
	//
	// +optional
	// +kubebuilder:default=true
	Prune *bool `json:"prune,omitempty"`

	// DeletionPolicy says what becomes of the objects when the Release is
	// deleted: orphan leaves them, delete removes them under the rules of prune.
	//
	// +optional
	// +kubebuilder:default=orphan
	// +kubebuilder:validation:Enum=orphan;delete
	DeletionPolicy string `json:"deletionPolicy,omitempty"`

	// Drift is what is done about changes that others make to the objects.
	//
	// +optional
	// +kubebuilder:default={}
	Drift Drift `json:"drift,omitempty"`

	// ReplaceImmutable lets an object be deleted and made anew when a field
	// differs that the API does not let change, as the annotation
	// lockstep.dev/replace does for one object. Never one that holds data.
	//
	// +optional
	ReplaceImmutable bool `json:"replaceImmutable,omitempty"`

	// Suspend stops new attempts. What runs already is finished.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Source is what is followed in a git repository, and an overlay in it.
//
// +kubebuilder:validation:XValidation:rule="(has(self.branch) ? 1 : 0) + (has(self.tag) ? 1 : 0) + (has(self.semver) ? 1 : 0) <= 1",message="branch, tag and semver exclude one another: set one of them"
type Source struct {
	// URL of the repository. Credentials belong in secretRef, not here.
	//
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(http|https|ssh)://[^/]+/.+$')",message="url must look like https://host/path, http://host/path or ssh://git@host/path"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="url must not hold a user or password: put them in a Secret and name it in secretRef"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^ssh://[^/@]*:[^/]*@')",message="url must not hold a password: put it in a Secret and name it in secretRef"
	URL string `json:"url"`

	// Branch that is delivered; clean-k8s-deploy when neither branch nor tag
	// nor semver is set.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_][A-Za-z0-9_./-]*$') && !self.contains('..') && !self.endsWith('/') && !self.endsWith('.lock')",message="branch must be a git branch name"
	Branch string `json:"branch,omitempty"`

	// Tag that is delivered instead of a branch. It is delivered again when it
	// is moved.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_][A-Za-z0-9_./+-]*$') && !self.contains('..') && !self.endsWith('/') && !self.endsWith('.lock')",message="tag must be a git tag name"
	Tag string `json:"tag,omitempty"`

	// Semver is a range such as ">=1.2.0 <2.0.0" or "1.x": the highest tag in
	// it is delivered. Pre-releases count only where the range names one.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Semver string `json:"semver,omitempty"`

	// Path of the kustomize overlay, from the top of the repository.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/')",message="path must be relative to the top of the repository"
	// +kubebuilder:validation:XValidation:rule="!self.split('/').exists(p, p == '..')",message="path must not contain '..'"
	Path string `json:"path"`

	// Interval between two looks at the branch.
	//
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s')",message="interval must be at least 5s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('24h')",message="interval must be at most 24h"
	Interval metav1.Duration `json:"interval"`

	// SecretRef names a Secret in the namespace of the Release with the
	// credentials of the repository: username and password, or bearerToken,
	// or identity and known_hosts for ssh; ca.crt, tls.crt and tls.key for
	// https.
	//
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`

	// Verify refuses what nobody trusted has signed.
	//
	// +optional
	Verify *SignatureVerification `json:"verify,omitempty"`

	// Webhook lets the git server say that there is something new, at
	// /hook/NAMESPACE/NAME of the daemon.
	//
	// +optional
	Webhook *Webhook `json:"webhook,omitempty"`
}

// SignatureVerification asks for a signature of the commit that a branch
// points at, or of the annotated tag where a tag is followed.
type SignatureVerification struct {
	// SecretRef names a Secret in the namespace of the Release. Each of its
	// values holds armored PGP public keys, or lines of OpenSSH's
	// allowed_signers or authorized_keys.
	SecretRef SecretReference `json:"secretRef"`
}

// Webhook is the proof by which a webhook is believed.
type Webhook struct {
	// SecretRef names a Secret in the namespace of the Release with the key
	// token: what the git server signs its requests with, at least 8 bytes.
	SecretRef SecretReference `json:"secretRef"`
}

// Decryption opens files that are encrypted with SOPS.
type Decryption struct {
	// SecretRef names a Secret in the namespace of the Release. Each of its
	// values holds private keys: age identities, an SSH key that age can use,
	// or an armored PGP key, without passphrase.
	SecretRef SecretReference `json:"secretRef"`
}

// SubstituteSource is where variables come from.
type SubstituteSource struct {
	// Kind of the object.
	//
	// +kubebuilder:validation:Enum=ConfigMap;Secret
	Kind string `json:"kind"`

	// Name of the object in the namespace of the Release.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Optional lets the object be missing.
	//
	// +optional
	Optional bool `json:"optional,omitempty"`
}

// SecretReference names a Secret in the namespace of the Release.
type SecretReference struct {
	// Name of the Secret.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Database is a PostgreSQL database that the workload depends on.
type Database struct {
	// Name by which the database is called in status, metrics and events.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`
	Name string `json:"name"`

	// SecretRef names a Secret in the namespace of the Release with the keys
	// host, port, user, password, dbname and sslmode. A host without a dot is
	// a Service in that namespace.
	SecretRef SecretReference `json:"secretRef"`

	// Migrations in the commit. Left out when the overlay brings its own Job
	// in the stage migrate.
	//
	// +optional
	Migrations *Migrations `json:"migrations,omitempty"`

	// Guard bounds what a migration may do to those who use the database.
	//
	// +optional
	// +kubebuilder:default={}
	Guard Guard `json:"guard,omitempty"`
}

// Migrations are SQL files in the commit.
type Migrations struct {
	// Tool whose file names and version table are used.
	//
	// +kubebuilder:default=golang-migrate
	// +kubebuilder:validation:Enum=golang-migrate
	Tool string `json:"tool,omitempty"`

	// Path of the folder with the files, from the top of the repository.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/')",message="path must be relative to the top of the repository"
	// +kubebuilder:validation:XValidation:rule="!self.split('/').exists(p, p == '..')",message="path must not contain '..'"
	Path string `json:"path"`
}

// Guard bounds what a migration may do to those who use the database.
type Guard struct {
	// LockTimeout is how long one statement of a migration may wait for a
	// lock. Everybody else queues behind that wait, so it is short.
	//
	// +kubebuilder:default="2s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('10m')",message="lockTimeout must be between 10ms and 10m"
	LockTimeout metav1.Duration `json:"lockTimeout,omitempty"`

	// StatementTimeout is how long one statement of a migration may run.
	//
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="statementTimeout must be between 1s and 24h"
	StatementTimeout metav1.Duration `json:"statementTimeout,omitempty"`

	// Attempts is how often a migration is started when what stops it may
	// pass by itself: a lock held by somebody, a database that restarts.
	//
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=20
	Attempts int32 `json:"attempts,omitempty"`
}

// Values of Drift.Mode and of the annotation lockstep.dev/drift.
const (
	// DriftCorrect puts back what differs.
	DriftCorrect = "correct"
	// DriftReport tells what differs.
	DriftReport = "report"
	// DriftIgnore does not look.
	DriftIgnore = "ignore"
)

// Values of DeletionPolicy.
const (
	// DeletionOrphan leaves the objects in the cluster.
	DeletionOrphan = "orphan"
	// DeletionDelete removes them.
	DeletionDelete = "delete"
)

// Drift is what is done about changes that others make.
type Drift struct {
	// Mode: correct puts back what differs from the commit, report only tells,
	// ignore does not look. The annotation lockstep.dev/drift on an object
	// says otherwise for it.
	//
	// +optional
	// +kubebuilder:default=correct
	// +kubebuilder:validation:Enum=correct;report;ignore
	Mode string `json:"mode,omitempty"`

	// Ignore names fields that others may set.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Ignore []DriftRule `json:"ignore,omitempty"`
}

// DriftRule names a field of some objects.
type DriftRule struct {
	// Kind of the objects; every kind when empty.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

	// Name of the object; every name when empty.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// Path of the field as a JSON pointer, such as /spec/replicas.
	//
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(/([^/~]|~[01])+)+$`
	Path string `json:"path"`
}

// Rollout bounds the wait for the workload.
type Rollout struct {
	// Timeout of each wait: for the foundation to be ready, and for the
	// workload to be rolled out.
	//
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="timeout must be between 1s and 24h"
	Timeout metav1.Duration `json:"timeout,omitempty"`
}

// Verify is what must hold after the rollout.
type Verify struct {
	// HTTP requests that must be answered as expected.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	HTTP []HTTPCheck `json:"http,omitempty"`
}

// HTTPCheck is one GET of a Service in the namespace of the Release.
type HTTPCheck struct {
	// Service that is asked.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Service string `json:"service"`

	// Port of the Service.
	//
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`

	// Path and query of the request.
	//
	// +kubebuilder:default="/"
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^/`
	Path string `json:"path,omitempty"`

	// Expect is what the answer must be.
	//
	// +optional
	// +kubebuilder:default={}
	Expect HTTPExpectation `json:"expect,omitempty"`
}

// HTTPExpectation is what an answer must be.
type HTTPExpectation struct {
	// Status code of the answer.
	//
	// +kubebuilder:default=200
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=599
	Status int32 `json:"status,omitempty"`

	// Contains is text that the first 64 KiB of the body must contain.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Contains string `json:"contains,omitempty"`
}
