// Package database brings a PostgreSQL database to the version that a commit
// expects, and says at which version it is. It is built on pgx and
// golang-migrate, and shares with golang-migrate's own command the names of
// the files, the version table and the advisory lock, so that either may take
// over from the other and neither runs while the other does.
//
// A file runs in one transaction with the row that records it:
//
//	BEGIN ─▶ the file, as one query string ─▶ version row ─▶ COMMIT
//	                │
//	                └─ "cannot run inside a transaction block":
//	                   row marked dirty ─▶ the file alone ─▶ row marked clean
//
// so that a failed or killed migration leaves all of a file or nothing, and a
// dirty row is left only by what PostgreSQL refuses to run in a transaction,
// such as CREATE INDEX CONCURRENTLY.
package database
