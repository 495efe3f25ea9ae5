// Package lint finds the statements of SQL migrations that lock users out,
// rewrite or scan big tables, or take away what running code needs.
//
// Statements are read by PostgreSQL's own parser. What is decided about them
// is decided from the text and from facts about the database that the caller
// gives, without a connection: the same input gives the same findings.
//
// A finding has a rule, a level and, where there is one, the safe way to do
// the same. Size lowers a level: what blocks users on a table of ten million
// rows is a note on one of thirty, or on one that the same files create.
// Whether the code of before can live with a statement is told apart from
// its level, for whoever has to decide about going back.
//
// A comment above a statement, or at the head of a file for all of it, turns
// the findings of one rule into notes that keep the reason:
//
//	-- lockstep:allow create-index The table has 300 rows and grows by one a day.
//
// The parser is PostgreSQL's C code compiled to WebAssembly. The first call in
// a process costs one to three seconds and 260 MB, most of which is given back
// to the system afterwards; 25 MB stay. Later calls take about a millisecond
// for each kilobyte at worst.
package lint
