package tracking

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// readGolangMigrate reads the one row. -1 is how golang-migrate writes that
// no version is left, which it does only while it undoes the first.
func readGolangMigrate(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	type row struct {
		Version int64
		Dirty   bool
	}
	rows, err := collect(ctx, tx, selectFrom(f.relation(), []string{"version::bigint", "dirty::boolean"})+" LIMIT 2", pgx.RowToStructByPos[row])
	switch {
	case err != nil:
		return State{}, err
	case len(rows) > 1:
		return State{Status: Unknown, Detail: fmt.Sprintf("%s has more than one row, where golang-migrate keeps one: find out which is true and delete the others", f)}, nil
	case len(rows) == 0 || rows[0].Version < 0 && !rows[0].Dirty:
		return State{Status: Empty}, nil
	}
	version := strconv.FormatInt(rows[0].Version, 10)
	state := at(version, nil)
	if rows[0].Dirty {
		state.Status, state.Unfinished = Dirty, version
		state.Detail = fmt.Sprintf("version %s began and did not end: it is running, or it was killed; look at the schema before you force a version", version)
	}
	return state, nil
}

// readAlembic reads the heads. A failed revision leaves no trace, since it is
// rolled back together with its row.
func readAlembic(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	heads, err := collect(ctx, tx, selectFrom(f.relation(), []string{"version_num::text"}, "version_num"), pgx.RowTo[string])
	if err != nil {
		return State{}, err
	}
	switch len(heads) {
	case 0:
		return State{Status: Empty}, nil
	case 1:
		return at(heads[0], nil), nil
	}
	return State{Status: SeveralHeads, Versions: heads,
		Detail: fmt.Sprintf("the database is at %d heads: merge them with `alembic merge heads`, or upgrade to `heads`", len(heads))}, nil
}

// readDjango reads what ran, app by app: each app has a history of its own.
func readDjango(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	type row struct{ App, Name string }
	rows, err := collect(ctx, tx, selectFrom(f.relation(), []string{"app::text", "name::text"}, "id"), pgx.RowToStructByPos[row])
	if err != nil || len(rows) == 0 {
		return State{Status: Empty}, err
	}
	state := State{Status: At}
	latest := map[string]string{}
	for _, r := range rows {
		latest[r.App] = r.App + "." + r.Name
		state.Applied = append(state.Applied, latest[r.App])
	}
	for _, version := range latest {
		state.Versions = append(state.Versions, version)
	}
	slices.Sort(state.Versions)
	return state, nil
}

// readRails reads the set of versions. The highest is what Rails calls the
// current one; it does not see a hole below.
func readRails(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	versions, err := collect(ctx, tx, selectFrom(f.relation(), []string{"version::text"}), pgx.RowTo[string])
	if err != nil || len(versions) == 0 {
		return State{Status: Empty}, err
	}
	slices.SortFunc(versions, compareNumbers)
	return at(versions[len(versions)-1], versions), nil
}

// readGoose reads the log. The row with version 0 is there from the start; the
// latest row of a version decides, since older releases log a migration that
// was undone as one that is not applied. The current version is the highest.
func readGoose(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	type row struct {
		Version int64
		Applied bool
	}
	rows, err := collect(ctx, tx, selectFrom(f.relation(), []string{"version_id::bigint", "is_applied::boolean"}, "id"), pgx.RowToStructByPos[row])
	if err != nil {
		return State{}, err
	}
	var applied []string
	for _, r := range rows {
		version := strconv.FormatInt(r.Version, 10)
		applied = slices.DeleteFunc(applied, func(other string) bool { return other == version })
		if r.Applied && r.Version != 0 {
			applied = append(applied, version)
		}
	}
	if len(applied) == 0 {
		return State{Status: Empty}, nil
	}
	return at(slices.MaxFunc(applied, compareNumbers), applied), nil
}
