// Package tracking reads the tables in which migration tools keep what they
// have run. It tells the tools apart by the columns of a table, since
// golang-migrate and Rails use one name for two different tables, and every
// tool lets its users choose another name.
//
//	Detect ─▶ which tables of which tools are there
//	Read   ─▶ State: absent, empty, at a version, several heads, dirty, failed …
//
// It reads with plain SELECTs and a lock timeout, takes no lock of any tool,
// and needs none: a migration that runs is never held up by it, and it never
// waits for one.
//
// What a tracking table says is a claim. Package schema reads the proof.
package tracking
