package lint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxBytes is how large a file may be to be looked at: the parser takes about
// a second for a megabyte.
const maxBytes = 4 << 20

// source is a file that has been read.
type source struct {
	file       File
	statements []statement
	tokens     []token
	// lines holds where each line begins.
	lines []int
}

// statement is one statement of a file.
type statement struct {
	*node
	// start and end are bytes of the file: from the first token to after the last.
	start, end int
	line       int
	text       string
}

// clipped is how much of a statement a finding shows, in characters.
const clipped = 200

// refusal is a finding about a file that cannot be looked at.
type refusal struct {
	rule    string
	line    int
	message string
	rewrite []string
}

// readSource parses a file. A refusal is what the file's author can mend; an
// error is a failure of the parser.
func readSource(file File) (*source, *refusal, error) {
	s := &source{file: file, lines: []int{0}}
	for i := range len(file.SQL) {
		if file.SQL[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	if r := s.unreadable(); r != nil {
		return s, r, nil
	}
	tokens, err := shared.tokens(file.SQL)
	if r, err := s.refuse(err); r != nil || err != nil {
		return s, r, err
	}
	s.tokens = tokens
	if depth := chain(tokens); depth > maxChain {
		return s, &refusal{rule: ruleTooDeep, line: 1, message: fmt.Sprintf(
			"An expression in this file is too deep for the parser (up to %d tokens in one another, the limit is %d), so nothing in the file was checked.",
			depth, maxChain)}, nil
	}
	tree, err := shared.tree(file.SQL)
	if r, err := s.refuse(err); r != nil || err != nil {
		return s, r, err
	}
	return s, nil, s.divide(tree)
}

// unreadable finds what the parser would not: it stops at a zero byte, and
// takes any bytes for text.
func (s *source) unreadable() *refusal {
	sql := s.file.SQL
	if len(sql) > maxBytes {
		return &refusal{rule: ruleTooLarge, line: 1, message: fmt.Sprintf(
			"The file has %d bytes and the limit is %d, so nothing in it was checked.", len(sql), maxBytes)}
	}
	if at := strings.IndexByte(sql, 0); at >= 0 {
		return &refusal{rule: ruleSyntax, line: s.lineOf(at), message: "The file has a zero byte, which PostgreSQL refuses."}
	}
	if !utf8.ValidString(sql) {
		at := strings.IndexRune(strings.ToValidUTF8(sql, "\x00"), 0)
		return &refusal{rule: ruleSyntax, line: s.lineOf(at), message: "The file is not valid UTF-8, which PostgreSQL refuses."}
	}
	return nil
}

// refuse turns a syntax error into a refusal.
func (s *source) refuse(err error) (*refusal, error) {
	var syntax *syntaxError
	if !errors.As(err, &syntax) {
		return nil, err
	}
	at := s.offset(syntax.position)
	r := &refusal{rule: ruleSyntax, line: s.lineOf(at), message: fmt.Sprintf("PostgreSQL's parser says: %s.", syntax.message)}
	if strings.HasPrefix(s.file.SQL[at:], `\`) {
		r.rule = rulePsql
		r.message = `A command of psql stands here; the server does not know commands that begin with a backslash.`
		r.rewrite = []string{"-- take the command out, or write what it does in SQL"}
	}
	return r, nil
}

// offset is the byte at which a character, counted from 1, begins.
func (s *source) offset(position int) int {
	n := 0
	for at := range s.file.SQL {
		n++
		if n >= position {
			return at
		}
	}
	return len(s.file.SQL)
}

// lineOf is the line of a byte, counted from 1.
func (s *source) lineOf(at int) int {
	line, found := slices.BinarySearch(s.lines, at)
	if found {
		line++
	}
	return max(line, 1)
}

// divide takes the statements out of the tree. The parser counts what stands
// before a statement to it; here it begins with its first token.
func (s *source) divide(tree []rawStmt) error {
	next := 0
	for _, raw := range tree {
		end := raw.Location + raw.Length
		if raw.Length == 0 {
			end = len(s.file.SQL)
		}
		for next < len(s.tokens) && (s.tokens[next].Start < raw.Location || s.tokens[next].comment()) {
			next++
		}
		if raw.Stmt == nil || next == len(s.tokens) || s.tokens[next].Start >= end || end > len(s.file.SQL) {
			return fmt.Errorf("file %s: statement at byte %d: %w", s.file.Name, raw.Location, errTree)
		}
		start := s.tokens[next].Start
		s.statements = append(s.statements, statement{
			node: raw.Stmt, start: start, end: end, line: s.lineOf(start), text: clip(s.file.SQL[start:end]),
		})
	}
	return nil
}

// clip puts a statement on one line and cuts it.
func clip(sql string) string {
	line := strings.Join(strings.Fields(sql), " ")
	if utf8.RuneCountInString(line) <= clipped {
		return line
	}
	return string([]rune(line)[:clipped-1]) + "…"
}
