// Package migrations holds the SQL of Unity's database, in files named for
// golang-migrate. Lockstep reads the same files from the commit; this package
// is for programs and tests that want them built in.
package migrations

import "embed"

// FS has the migrations at its top: 000001_baseline.up.sql and so on.
//
//go:embed *.sql
var FS embed.FS
