package database

import (
	"errors"
	"fmt"
)

// lint refuses what cannot go well, before anything has been changed. All of
// it is about transactions and the protocol; what a statement does to those
// who use the database is another matter.
func lint(statements []statement) error {
	var errs []error
	for _, s := range statements {
		if reason := s.refusal(len(statements) == 1); reason != "" {
			errs = append(errs, fmt.Errorf("line %d: %s", s.line, reason))
		}
	}
	return errors.Join(errs...)
}

// refusal says why a statement cannot be in a migration, or nothing.
func (s statement) refusal(alone bool) string {
	switch {
	case s.command:
		return "commands of psql that begin with a backslash do not work in a migration: take them out"
	case s.controlsTransaction():
		return fmt.Sprintf("%s: a file runs in one transaction that is opened and closed for it: take the statement out", s.words[0])
	case s.begins("COPY") && s.has("FROM", "STDIN"):
		return "COPY FROM STDIN has no input in a migration: use INSERT"
	case !alone && s.needsOwnFile():
		return fmt.Sprintf("%s cannot run in a transaction, and beside other statements there always is one: put it into a file of its own", s.label())
	default:
		return ""
	}
}

// controlsTransaction tells whether a statement begins or ends a transaction.
// Going back to a savepoint does neither.
func (s statement) controlsTransaction() bool {
	switch {
	case s.begins("ROLLBACK"):
		return !s.has("TO")
	case s.begins("PREPARE", "TRANSACTION"):
		return true
	}
	for _, word := range []string{"BEGIN", "START", "COMMIT", "END", "ABORT"} {
		if s.begins(word) {
			return true
		}
	}
	return false
}

// needsOwnFile tells whether PostgreSQL refuses a statement in a transaction
// (25001). What is not known here is found out by trying.
func (s statement) needsOwnFile() bool {
	if s.buildsIndexConcurrently() || s.concurrently && s.begins("ALTER", "TABLE") || s.begins("VACUUM") {
		return true
	}
	for _, kind := range []string{"DATABASE", "TABLESPACE"} {
		if s.begins("CREATE", kind) || s.begins("DROP", kind) {
			return true
		}
	}
	return s.begins("ALTER", "SYSTEM")
}

// buildsIndexConcurrently tells whether a statement builds, rebuilds or drops
// an index without locking writers out. While it waits for others nobody has
// to wait for it.
func (s statement) buildsIndexConcurrently() bool {
	return s.concurrently && (s.begins("CREATE", "INDEX") || s.begins("CREATE", "UNIQUE", "INDEX") || s.begins("DROP", "INDEX") || s.begins("REINDEX"))
}

// leavesTraces tells whether a statement that failed outside of a transaction
// may have changed something other than indexes, whose state can be read.
func (s statement) leavesTraces() bool {
	return !s.buildsIndexConcurrently() && !s.begins("VACUUM") && !s.begins("REINDEX")
}

// label names a statement by its first words.
func (s statement) label() string {
	label := s.words[0]
	for _, word := range s.words[1:min(len(s.words), 3)] {
		label += " " + word
	}
	if s.concurrently {
		label = s.words[0] + " … CONCURRENTLY"
	}
	return label
}
