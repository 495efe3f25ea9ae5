package reconciler

import (
	"context"
	"io/fs"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// Reference is what is followed in a repository: one of its fields is set.
type Reference struct {
	Branch string
	Tag    string
	// Semver is a range such as ">=1.2.0 <2.0.0" or "1.x". The highest tag in
	// it is taken; pre-releases only where the range names one.
	Semver string
}

// Repository is a git repository, what is followed in it, and the credentials
// for it.
type Repository struct {
	URL string
	Reference
	// Credentials are the data of the Secret that the source names, nil for none.
	Credentials Secret
	// MaxAge is how old an answer of the server may be to be given again; zero
	// asks it anew. Whoever asks at the same moment shares one request anyhow.
	MaxAge time.Duration
}

// Tip is the commit that a reference leads to.
type Tip struct {
	// Name of the branch or the tag.
	Name string
	// Commit as forty hexadecimal digits.
	Commit string
	// TagObject is the annotated tag in front of the commit, or empty.
	TagObject string
}

// Revision names the tip to people: branch@sha1:commit.
func (t Tip) Revision() string { return t.Name + "@sha1:" + t.Commit }

// Tree is the content of one commit, read only. Names are slash-separated and
// relative, as in io/fs.
type Tree interface {
	fs.FS
	fs.ReadFileFS
	fs.ReadDirFS
	fs.StatFS
}

// Source is where commits come from.
type Source interface {
	// Resolve asks the server which commit the reference leads to. Nothing is
	// fetched.
	Resolve(ctx context.Context, repo Repository) (Tip, error)
	// Fetch brings a commit into the local store, if it is not there yet, and
	// opens its tree.
	Fetch(ctx context.Context, repo Repository, tip Tip) (Tree, error)
	// Verify checks that one of the keys signed the commit of a fetched tree,
	// or the tag that leads to it, and returns who did.
	Verify(tree Tree, repo Repository, tip Tip, keys Secret) (signer string, err error)
	// Expire makes the next Resolve of a URL ask the server.
	Expire(url string)
}

// Object is a rendered object and the file that it came from.
type Object struct {
	*unstructured.Unstructured
	// Origin is the file in the commit, or empty when it cannot be known.
	Origin string
	// Ignore are JSON pointers of fields that keep the value they have in the
	// cluster.
	Ignore []string
}

// Renderer turns an overlay into objects.
type Renderer interface {
	// Render builds the kustomization in the folder path of the tree. It
	// reads nothing else and writes nothing. The objects are shared with later
	// renders and must not be changed.
	Render(ctx context.Context, tree Tree, path string) ([]Object, error)
	// Decrypt shows a tree in which files encrypted with SOPS are read as
	// plaintext. Keys are the data of a Secret.
	Decrypt(tree Tree, keys Secret) (Tree, error)
	// Substitute puts variables into objects. The given ones are left alone.
	Substitute(objects []Object, variables map[string]string) ([]Object, error)
}

// MigrationSet is what a folder of migrations holds.
type MigrationSet struct {
	// Digest is the sha256 over the names and the content of the files.
	Digest string
	// Versions of the files, ascending.
	Versions []uint64
	// Archive holds the files, as `lockstep migrate` unpacks them.
	Archive []byte
}

// Latest is the newest version, zero for an empty set.
func (s MigrationSet) Latest() uint64 {
	if len(s.Versions) == 0 {
		return 0
	}
	return s.Versions[len(s.Versions)-1]
}

// SchemaState is what the version table of a database claims.
type SchemaState struct {
	// Versioned is false when there is no version table, or it is empty.
	Versioned bool
	Version   uint64
	// Dirty is true when a migration stopped half-way.
	Dirty bool
}

// Migrations reads migration files and the state of databases.
type Migrations interface {
	// Read reads a folder of migration files.
	Read(tree Tree, path string) (MigrationSet, error)
	// State reads the version table with plain SQL, without taking a lock.
	// The credentials are those of DatabaseSpec.secretRef; a host without a
	// dot is a Service in namespace.
	State(ctx context.Context, credentials Secret, namespace string) (SchemaState, error)
}

// MigrationRun is one start of `lockstep migrate` in a Job.
type MigrationRun struct {
	// Name of the Job.
	Name string
	// Labels by which the runs of one migration set are found again.
	Labels map[string]string
	// Attempt of the Release that starts it.
	Attempt int64
	// Database and SecretName say where it runs.
	Database   string
	SecretName string
	// Set is what it runs.
	Set MigrationSet
	// Guard bounds what it may do to others.
	Guard v1alpha1.Guard
	// Owner is the Release.
	Owner *v1alpha1.Release
}

// JobPhase is where a Job stands. There is no "unknown": a Job that cannot be
// read is an error.
type JobPhase string

// The phases of a Job.
const (
	// JobRunning covers everything before an end, a Job that waits included.
	JobRunning JobPhase = "Running"
	// JobComplete is condition Complete=True and nothing less.
	JobComplete JobPhase = "Complete"
	// JobFailed is condition Failed=True.
	JobFailed JobPhase = "Failed"
)

// JobState is a Job as the cluster has it.
type JobState struct {
	Name    string
	Phase   JobPhase
	Attempt int64
	// Message is what Kubernetes says of a failure.
	Message string
	// ExitCode of the container that failed, or -1 when none did.
	ExitCode int32
	// Result is what the container left as its termination message.
	Result string
	// Log is the end of the log of the container that failed, where it could be read.
	Log        string
	StartedAt  time.Time
	FinishedAt time.Time
}

// Tenant is the cluster as one ServiceAccount may see and change it.
type Tenant interface {
	// Secret reads a Secret of the namespace of the Release.
	Secret(ctx context.Context, name string) (Secret, error)
	// Values reads the data of a ConfigMap or a Secret of the namespace of the
	// Release as text. Found is false when there is none of that name.
	Values(ctx context.Context, kind, name string) (values map[string]string, found bool, err error)
	// Ref names an object with the namespace that it will have. It is an error
	// when its kind is not known yet.
	Ref(object Object) (Ref, error)
	// Compare asks the API server what applying each object would do. One that
	// it refuses is a change too; an error means that it could not be asked.
	Compare(ctx context.Context, objects []Object) ([]Change, error)
	// Write server-side-applies what changes, in the order given where order
	// matters, and returns an entry for every change that is in the cluster
	// now, those that were unchanged included; with an error, for those that
	// were done before it.
	Write(ctx context.Context, changes []Change) ([]Entry, error)
	// Delete removes objects and returns those that are gone, or are not ours
	// any more. One that is held by a finalizer is not waited for.
	Delete(ctx context.Context, entries []Entry) (gone []Ref, err error)
	// Claim asks the Release that delivers an object to hand it over.
	Claim(ctx context.Context, ref Ref) error
	// SaveRecord keeps content beside the Release and returns what finds it.
	SaveRecord(ctx context.Context, owner *v1alpha1.Release, name string, content []byte) (pointer string, err error)
	// LoadRecord reads a record. The error is ErrRecordMissing when it is gone
	// or damaged.
	LoadRecord(ctx context.Context, owner *v1alpha1.Release, pointer string) ([]byte, error)
	// DropRecord deletes a record.
	DropRecord(ctx context.Context, owner *v1alpha1.Release, pointer string) error
	// DropRecords deletes all records of the Release but those to keep.
	DropRecords(ctx context.Context, owner *v1alpha1.Release, keep []string) error
	// Await watches the objects until all are done. It returns an error that
	// says what is not, when the context ends first or one is stuck.
	Await(ctx context.Context, objects []Object) error
	// Jobs lists the Jobs of the namespace of the Release with these labels.
	Jobs(ctx context.Context, labels map[string]string) ([]JobState, error)
	// StartMigration makes the Job and what it needs. Doing it twice makes one Job.
	StartMigration(ctx context.Context, run MigrationRun) error
	// AwaitJob watches a Job until it ends or the context does.
	AwaitJob(ctx context.Context, namespace, name string) (JobState, error)
}

// Cluster is the Kubernetes API.
type Cluster interface {
	// As returns the cluster as the ServiceAccount of a Release sees it.
	As(release *v1alpha1.Release) (Tenant, error)
	// SaveStatus writes the status of a Release and refreshes the given one.
	SaveStatus(ctx context.Context, release *v1alpha1.Release) error
	// SetFinalizer puts our finalizer on a Release or takes it off.
	SetFinalizer(ctx context.Context, release *v1alpha1.Release, set bool) error
	// NamespaceLeaving tells whether a namespace is being deleted, or gone.
	NamespaceLeaving(ctx context.Context, namespace string) (bool, error)
	// Watch keeps an eye on the entries of a Release, and on nothing else. It
	// replaces what was watched for it before.
	Watch(release *v1alpha1.Release, entries []Entry)
	// Moved lists the entries that are not as they were applied. Synced is
	// false until all of them have been seen.
	Moved(release types.NamespacedName) (moved []Ref, synced bool)
	// Trouble says why entries cannot be watched, nil when they are.
	Trouble(release types.NamespacedName) error
	// Unwatch ends Watch.
	Unwatch(release types.NamespacedName)
	// Event tells those who watch the Release.
	Event(release *v1alpha1.Release, warning bool, reason, message string)
	// EventAbout is Event with the object that it is about. Events of one
	// reason about different objects are kept apart.
	EventAbout(release *v1alpha1.Release, about Ref, warning bool, reason, message string)
}

// Loop is what hands Releases to the Reconciler.
type Loop interface {
	// Aside tells that a pass waits and leaves its place among those that are
	// worked on to another, until it calls back, which waits for a place at
	// most until ctx ends.
	Aside(ctx context.Context) (back func())
	// Stale tells whether the Release was edited or deleted since this pass
	// began.
	Stale(release *v1alpha1.Release) bool
}

// HTTPClient asks the workload.
type HTTPClient interface {
	// Check makes one GET and compares the answer with what is expected.
	Check(ctx context.Context, namespace string, check v1alpha1.HTTPCheck) error
}

// Recorder keeps the metrics.
type Recorder interface {
	// Polled is called after each answer of the git server.
	Polled(release types.NamespacedName, at time.Time)
	// Phase is called at the end of each phase.
	Phase(release types.NamespacedName, phase Phase, outcome Outcome, took time.Duration)
	// Attempt is called at the end of each attempt.
	Attempt(release types.NamespacedName, outcome Outcome, took time.Duration)
	// Migration is called for each migration that ran.
	Migration(release types.NamespacedName, database string, took time.Duration)
	// Objects is called when the objects of a revision are known.
	Objects(release types.NamespacedName, kinds map[string]int)
	// Corrected is called when drift of an object was put back.
	Corrected(release types.NamespacedName)
	// Observe is called with each new state of a Release.
	Observe(release *v1alpha1.Release)
	// Forget drops all series of a Release that is gone.
	Forget(release types.NamespacedName)
}
