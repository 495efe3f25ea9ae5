package tracking

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// flywayRow is one row of Flyway's history.
type flywayRow struct {
	Version      *string
	Type, Script string
	Success      bool
}

// name is the version, or for a repeatable migration its script.
func (r flywayRow) name() string {
	if r.Version != nil {
		return *r.Version
	}
	return r.Script
}

// readFlyway replays the history. PostgreSQL rolls a failed migration back
// with its row, so a row of a failed one is of one that runs outside of a
// transaction, and something of it may have stayed.
func readFlyway(ctx context.Context, tx pgx.Tx, f Found) (State, error) {
	columns := []string{"version::text", "type::text", "script::text", "success::boolean"}
	rows, err := collect(ctx, tx, selectFrom(f.relation(), columns, "installed_rank"), pgx.RowToStructByPos[flywayRow])
	if err != nil {
		return State{}, err
	}
	var applied, versions []string
	failed := ""
	for _, r := range rows {
		name := r.name()
		forget := func(list []string) []string {
			return slices.DeleteFunc(list, func(other string) bool { return other == name })
		}
		switch {
		case r.Type == "SCHEMA" || r.Type == "TABLE":
			// It says that Flyway made the schema, not that anything ran.
		case !r.Success:
			failed = name
		case r.Type == "DELETE" || strings.HasPrefix(r.Type, "UNDO"):
			applied, versions = forget(applied), forget(versions)
		default:
			// A repeatable migration comes again whenever it has changed.
			applied = append(forget(applied), name)
			if r.Version != nil {
				versions = append(forget(versions), name)
			}
		}
	}
	return flywayState(applied, versions, failed), nil
}

func flywayState(applied, versions []string, failed string) State {
	state := State{Status: Empty}
	if len(applied) > 0 {
		state = State{Status: At, Applied: applied}
	}
	if len(versions) > 0 {
		state.Versions = []string{slices.MaxFunc(versions, compareDotted)}
	}
	if failed != "" {
		state.Status, state.Unfinished = Failed, failed
		state.Detail = fmt.Sprintf("migration %s failed outside of a transaction: undo by hand what is left of it, then `flyway repair`", failed)
	}
	return state
}

// compareDotted orders versions such as 1.10 and 1_9 part by part.
func compareDotted(a, b string) int {
	split := func(version string) []string {
		return strings.FieldsFunc(version, func(r rune) bool { return r == '.' || r == '_' })
	}
	left, right := split(a), split(b)
	for i := range max(len(left), len(right)) {
		if order := compareNumbers(part(left, i), part(right, i)); order != 0 {
			return order
		}
	}
	return cmp.Compare(a, b)
}

// part is a part of a version; what is not there counts as 0.
func part(parts []string, i int) string {
	if i < len(parts) {
		return parts[i]
	}
	return "0"
}
