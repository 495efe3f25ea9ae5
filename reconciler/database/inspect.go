package database

import (
	"context"
	"time"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/database/schema"
	"github.com/lockstep-gitops/lockstep/reconciler/database/tracking"
)

// inspectTimeout bounds an inspection as a whole.
const inspectTimeout = time.Minute

// Inspection is what a database says of itself: what the version tables of
// migration tools claim, and the schema that is there.
type Inspection struct {
	Tracking []tracking.State `json:"tracking"`
	Schema   schema.Snapshot  `json:"schema"`
	// Digest of the schema, without owners, grants and the order of columns.
	Digest string `json:"digest"`
}

// Inspect reads the version tables, of whatever tool, and the schema without
// them. It takes no lock of any tool and changes nothing. The host of a Secret
// that has no dot is a Service in namespace.
func Inspect(ctx context.Context, credentials reconciler.Secret, namespace string) (Inspection, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	settings, err := parseSecret(credentials)
	if err != nil {
		return Inspection{}, err
	}
	settings = settings.inNamespace(namespace)
	conn, err := settings.connect(ctx, map[string]string{"application_name": "lockstep", "client_encoding": "UTF8"})
	if err != nil {
		return Inspection{}, err
	}
	defer closeConn(ctx, conn)
	found, err := tracking.Detect(ctx, conn, tracking.Options{})
	if err != nil {
		return Inspection{}, settings.explainSQL("version tables", err)
	}
	var out Inspection
	var ignore []string
	for _, table := range found {
		state, err := tracking.Read(ctx, conn, tracking.Options{Tool: table.Tool, Schema: table.Schema, Table: table.Table})
		if err != nil {
			return Inspection{}, settings.explainSQL("version table "+table.String(), err)
		}
		out.Tracking = append(out.Tracking, state)
		ignore = append(ignore, table.Ignore()...)
	}
	if out.Schema, err = schema.Read(ctx, conn, schema.Options{Ignore: ignore}); err != nil {
		return Inspection{}, settings.explainSQL("schema", err)
	}
	out.Digest, err = out.Schema.Without(schema.Owners, schema.Grants, schema.ColumnOrder).Digest()
	return out, err
}
