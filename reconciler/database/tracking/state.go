package tracking

import (
	"strings"
	"time"
)

// Status is what a tracking table says as a whole.
type Status string

// Statuses.
const (
	// Absent means that there is no such table: the tool has never run here,
	// or it runs elsewhere.
	Absent Status = "absent"
	// Empty means that the table is there and nothing has been applied, or
	// everything was undone.
	Empty Status = "empty"
	// At means that the database claims to be at State.Versions.
	At Status = "at"
	// SeveralHeads means that Alembic's graph has several ends, and the
	// database is at all of them: an upgrade to "head" is refused.
	SeveralHeads Status = "several heads"
	// Dirty means that a migration began, and no end is recorded: it is
	// running just now, or it was killed.
	Dirty Status = "dirty"
	// Failed means that the tool has recorded that a migration failed. It
	// refuses to go on until a person has repaired that.
	Failed Status = "failed"
	// Unknown means that the table has not the columns of any known tool, or
	// rows that its tool never writes.
	Unknown Status = "unknown"
	// OtherTool means that the table of that name is the one of another
	// tool, State.Tool, than the one that was asked for.
	OtherTool Status = "other tool"
)

// State is what a tracking table says.
type State struct {
	Status Status
	// Tool is whose table it is; empty when Status is Absent or Unknown and
	// nobody asked for a tool.
	Tool Tool
	// Schema and Table are where it is; empty when Status is Absent.
	Schema, Table string
	// Versions are what the database is at; where Status is Dirty or Failed,
	// what it was at before, but for golang-migrate, which only knows what
	// began. It is one, unless Status is SeveralHeads, or Tool is Django: that has one for each app, as
	// app.name, the latest of each. Of Liquibase it is the latest changeset,
	// as file::id::author. A version of golang-migrate is a number; -1
	// stands for a first migration that was not undone to its end.
	Versions []string
	// Applied is everything that counts as applied, in the order in which it
	// was, or for Rails, which does not keep that, in the order of versions.
	// It is nil for golang-migrate and Alembic, which keep no history.
	Applied []string
	// Unfinished is the migration that made the status Dirty or Failed.
	Unfinished string
	// Lock is Liquibase's lock, where somebody holds it.
	Lock *Lock
	// Detail is a sentence on what is wrong and what is next; empty when
	// nothing is.
	Detail string
}

// Lock is Liquibase's lock, which outlives a killed process.
type Lock struct {
	// By is who took it, in Liquibase's words.
	By string
	// Since is when, by the clock of the client; zero when not recorded.
	Since time.Time
}

// Version is all versions as one text.
func (s State) Version() string { return strings.Join(s.Versions, ", ") }

// at is the state of a database at one version, or at none.
func at(version string, applied []string) State {
	if version == "" {
		return State{Status: Empty}
	}
	return State{Status: At, Versions: []string{version}, Applied: applied}
}
