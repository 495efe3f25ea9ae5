package schema_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockstep-gitops/lockstep/migrations"
	"github.com/lockstep-gitops/lockstep/reconciler/database/schema"
	"github.com/lockstep-gitops/lockstep/test/bench/figure"
)

// BenchmarkRead prints how long a snapshot takes.
func BenchmarkRead(b *testing.B) {
	b.Run("26 tables", func(b *testing.B) {
		_, conn := database(b)
		for _, name := range []string{"000001_baseline.up.sql", "000002_tenant_support.up.sql"} {
			content, err := migrations.FS.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			execute(b, conn, string(content))
		}
		measure(b, conn, "schema_snapshot_26_tables", 50)
	})
	b.Run("1000 tables", func(b *testing.B) {
		_, conn := database(b)
		for i := range 1000 {
			var columns strings.Builder
			for column := range 10 {
				fmt.Fprintf(&columns, ", c%d text NOT NULL DEFAULT 'value'", column)
			}
			name := fmt.Sprintf("t%04d", i)
			execute(b, conn, "CREATE TABLE "+name+" (id bigint PRIMARY KEY"+columns.String()+"); CREATE INDEX ON "+name+" (c0); CREATE INDEX ON "+name+" (lower(c1))")
		}
		measure(b, conn, "schema_snapshot_1000_tables", 1500)
	})
}

func measure(b *testing.B, conn *pgx.Conn, name string, goal float64) {
	b.Helper()
	var times []time.Duration
	for b.Loop() {
		started := time.Now()
		snapshot := read(b, conn, schema.Options{})
		digest(b, snapshot)
		times = append(times, time.Since(started))
	}
	figure.Print(name, figure.Milliseconds(figure.Quantile(times, 0.5)), "ms", goal)
}
