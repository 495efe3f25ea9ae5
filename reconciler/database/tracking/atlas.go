package tracking

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// atlasResolved is the bit of a revision's type that says that a person has
// declared it done (RevisionTypeResolved in sql/migrate).
const atlasResolved = 4

// atlasRow is one revision of Atlas.
type atlasRow struct {
	Version              string
	Type, Applied, Total int64
	Error                *string
}

// readAtlas reads the revisions. One of which not all statements ran is
// unfinished: with an error it has failed, without it is running or was
// killed. The text of the error is left out, since it holds the statement.
func readAtlas(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	columns := []string{"version::text", "type::bigint", "applied::bigint", "total::bigint", "error::text"}
	rows, err := collect(ctx, tx, selectFrom(f.relation(), columns, "version"), pgx.RowToStructByPos[atlasRow])
	if err != nil {
		return State{}, err
	}
	var applied []string
	var open *atlasRow
	for i, r := range rows {
		failed := r.Error != nil && *r.Error != ""
		switch {
		case strings.HasPrefix(r.Version, "."):
			// .atlas_cloud_identifier is no migration.
		case r.Type&atlasResolved == 0 && (failed || r.Applied < r.Total):
			open = &rows[i]
		default:
			applied = append(applied, r.Version)
		}
	}
	state := State{Status: Empty}
	if len(applied) > 0 {
		state = at(applied[len(applied)-1], applied)
	}
	if open == nil {
		return state, nil
	}
	state.Status, state.Unfinished = Dirty, open.Version
	state.Detail = fmt.Sprintf("version %s: %d of %d statements ran, and no error is recorded: it is running, or it was killed; look at the schema before `atlas migrate set`", open.Version, open.Applied, open.Total)
	if open.Error != nil && *open.Error != "" {
		state.Status = Failed
		state.Detail = fmt.Sprintf("version %s failed: %d of %d statements ran; correct the file or the schema, then `atlas migrate apply` goes on from there", open.Version, open.Applied, open.Total)
	}
	return state, nil
}
