package database

import (
	"context"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// Adapter is the port through which the domain reads migration files and the
// state of databases. The zero value is ready to be used.
type Adapter struct{}

var _ reconciler.Migrations = Adapter{}

// Read reads a folder of migration files; see the function Read.
func (Adapter) Read(tree reconciler.Tree, path string) (reconciler.MigrationSet, error) {
	return Read(tree, path)
}

// State reads the version table of a database; see the function State.
func (Adapter) State(ctx context.Context, credentials reconciler.Secret, namespace string) (reconciler.SchemaState, error) {
	return State(ctx, credentials, namespace)
}
