package tracking

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// readLiquibase reads the changesets and the lock. A changeset that failed is
// recorded only where its author allowed it to (failOnError="false").
func readLiquibase(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	type row struct{ File, ID, Author, Type string }
	columns := []string{"filename::text", "id::text", "author::text", "exectype::text"}
	rows, err := collect(ctx, tx, selectFrom(f.relation(), columns, "orderexecuted", "dateexecuted", "id"), pgx.RowToStructByPos[row])
	if err != nil {
		return State{}, err
	}
	var applied []string
	failed := ""
	for _, r := range rows {
		name := r.File + "::" + r.ID + "::" + r.Author
		if r.Type == "FAILED" {
			failed = name
			continue
		}
		applied = append(applied, name)
	}
	state := State{Status: Empty}
	if len(applied) > 0 {
		state = at(applied[len(applied)-1], applied)
	}
	if failed != "" {
		state.Status, state.Unfinished = Failed, failed
		state.Detail = fmt.Sprintf("changeset %s failed and was passed over: Liquibase runs it again next time", failed)
	}
	return state, state.readLock(ctx, tx, f)
}

// readLock reads the lock that Liquibase keeps in a table of its own.
func (s *State) readLock(ctx context.Context, tx pgx.Tx, f Found) error {
	if f.lock == nil {
		return nil
	}
	type row struct {
		Locked *bool
		Since  *time.Time
		By     *string
	}
	rows, err := collect(ctx, tx, selectFrom(*f.lock, []string{"locked::boolean", "lockgranted::timestamptz", "lockedby::text"}, "id"), pgx.RowToStructByPos[row])
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Locked == nil || !*r.Locked {
			continue
		}
		s.Lock = &Lock{}
		if r.Since != nil {
			s.Lock.Since = *r.Since
		}
		if r.By != nil {
			s.Lock.By = *r.By
		}
		if s.Detail == "" {
			s.Detail = fmt.Sprintf("%s holds the lock of Liquibase: it is running, or it was killed and the lock stays until `liquibase release-locks`", s.Lock.By)
		}
	}
	return nil
}
