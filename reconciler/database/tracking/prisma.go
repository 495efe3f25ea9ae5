package tracking

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
)

// prismaRow is one attempt of Prisma.
type prismaRow struct {
	Name                 string
	Logs                 *string
	Finished, RolledBack bool
}

// prismaCode finds the SQLSTATE in what Prisma has logged. The rest of the log
// holds statements, and with them values.
var prismaCode = regexp.MustCompile(`Database error code: ([0-9A-Z]{5})`)

// readPrisma reads the attempts. One that was neither finished nor rolled back
// makes Prisma refuse all further work; with a log it has failed, without one
// it is running, or was killed.
func readPrisma(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	columns := []string{"migration_name::text", "logs::text", "finished_at::text", "rolled_back_at::text"}
	rows, err := collect(ctx, tx, selectFrom(f.relation(), columns, "started_at", "migration_name"), func(row pgx.CollectableRow) (prismaRow, error) {
		var r prismaRow
		var finished, rolledBack *string
		err := row.Scan(&r.Name, &r.Logs, &finished, &rolledBack)
		r.Finished, r.RolledBack = finished != nil, rolledBack != nil
		return r, err
	})
	if err != nil {
		return State{}, err
	}
	var applied []string
	var open *prismaRow
	for i, r := range rows {
		switch {
		case r.RolledBack:
			applied = slices.DeleteFunc(applied, func(name string) bool { return name == r.Name })
		case r.Finished:
			applied = append(applied, r.Name)
		default:
			open = &rows[i]
		}
	}
	state := State{Status: Empty}
	if len(applied) > 0 {
		state = at(applied[len(applied)-1], applied)
	}
	if open != nil {
		state.blame(*open)
	}
	return state, nil
}

func (s *State) blame(open prismaRow) {
	s.Status, s.Unfinished = Dirty, open.Name
	s.Detail = fmt.Sprintf("migration %s began and did not end: it is running, or it was killed; look at the schema, then `prisma migrate resolve`", open.Name)
	if open.Logs == nil || *open.Logs == "" {
		return
	}
	s.Status = Failed
	code := ""
	if match := prismaCode.FindStringSubmatch(*open.Logs); match != nil {
		code = " with SQLSTATE " + match[1]
	}
	s.Detail = fmt.Sprintf("migration %s failed%s: look at the schema, then `prisma migrate resolve`", open.Name, code)
}
