// Package schema reads what a PostgreSQL database really looks like from its
// catalogue, as a value that two databases can be compared by. A version table
// is a claim; this is the proof.
//
//	Read ─▶ Snapshot ─▶ Without(Owners, Grants, …) ─▶ Digest
//	            └─────▶ Diff(want, have) ─▶ sentences
//
// Two databases that were built in another order, by other tools, or restored
// from a dump give equal snapshots: neither OIDs nor creation order nor the
// spelling that PostgreSQL changes on a restore are part of one. The values of
// sequences, the rows, the planner's numbers and tablespaces are not either.
//
// What a snapshot cannot do: it is read from one state of the catalogue, but
// PostgreSQL's own functions that spell a definition (pg_get_indexdef and its
// kin) look at the newest state. A snapshot that is read while somebody
// changes the schema may mix the two. Take it while nothing migrates, and
// believe a difference only when a second snapshot shows it too.
package schema
