package database

import (
	"fmt"
	"strings"
)

// statement is one SQL statement, as far as it has to be understood.
type statement struct {
	// line of its first word, counted from 1.
	line int32
	// words outside of quotes and comments, in upper case; the first maxWords.
	words []string
	// concurrently is true when the keyword is anywhere in it.
	concurrently bool
	// command is true when it begins with a backslash: a command for psql.
	command bool
}

// maxWords is how many words of a statement are kept.
const maxWords = 16

// begins tells whether the statement begins with these words.
func (s statement) begins(words ...string) bool {
	if len(s.words) < len(words) {
		return false
	}
	for i, word := range words {
		if s.words[i] != word {
			return false
		}
	}
	return true
}

// has tells whether the words stand somewhere in the statement, side by side.
func (s statement) has(words ...string) bool {
	for i := range s.words {
		if (statement{words: s.words[i:]}).begins(words...) {
			return true
		}
	}
	return false
}

// splitStatements divides SQL at the semicolons that end statements, by the
// rules of the PostgreSQL manual's section on lexical structure, and with
// standard_conforming_strings on.
func splitStatements(sql string) ([]statement, error) {
	s := scanner{text: sql, line: 1}
	for s.at < len(s.text) {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	s.end()
	return s.done, nil
}

type scanner struct {
	text string
	at   int
	line int32

	done    []statement
	current statement
	started bool
	// parentheses and bodies nest; semicolons inside them end nothing. A body
	// is that of a function in standard SQL: BEGIN ATOMIC … END.
	parentheses int
	bodies      int
}

// step takes one token.
func (s *scanner) step() error {
	rest := s.text[s.at:]
	switch c := rest[0]; {
	case c == '\n':
		s.line++
		s.at++
	case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
		s.at++
	case strings.HasPrefix(rest, "--"):
		s.lineComment()
	case strings.HasPrefix(rest, "/*"):
		return s.blockComment()
	case c == ';' && s.parentheses == 0 && s.bodies == 0:
		s.end()
		s.at++
	default:
		s.start()
		return s.token(rest)
	}
	return nil
}

// token takes one token that belongs to a statement.
func (s *scanner) token(rest string) error {
	switch c := rest[0]; {
	case c == '\'':
		return s.quoted('\'', false)
	case c == '"':
		return s.quoted('"', false)
	case c == '$':
		return s.dollar()
	case isWordStart(c):
		return s.word()
	case c >= '0' && c <= '9':
		s.at += wordLength(rest)
	case c == '(':
		s.parentheses++
		s.at++
	case c == ')':
		s.parentheses = max(0, s.parentheses-1)
		s.at++
	case c == '\\':
		s.current.command = s.current.command || len(s.current.words) == 0
		s.at++
	default:
		s.at++
	}
	return nil
}

func (s *scanner) start() {
	if !s.started {
		s.started = true
		s.current.line = s.line
	}
}

// end closes the statement, unless there was nothing in it.
func (s *scanner) end() {
	if s.started {
		s.done = append(s.done, s.current)
	}
	s.current, s.started, s.parentheses, s.bodies = statement{}, false, 0, 0
}

// skip moves on by n bytes and counts the lines in them.
func (s *scanner) skip(n int) {
	s.line += int32(strings.Count(s.text[s.at:s.at+n], "\n"))
	s.at += n
}

func (s *scanner) lineComment() {
	end := strings.IndexByte(s.text[s.at:], '\n')
	if end < 0 {
		end = len(s.text) - s.at
	}
	s.at += end
}

// blockComment takes a comment; they nest.
func (s *scanner) blockComment() error {
	rest := s.text[s.at:]
	depth := 0
	for i := 0; i+1 < len(rest); {
		switch rest[i : i+2] {
		case "/*":
			depth++
			i += 2
		case "*/":
			depth--
			i += 2
		default:
			i++
		}
		if depth == 0 {
			s.skip(i)
			return nil
		}
	}
	return fmt.Errorf("line %d: a comment is not closed", s.line)
}

// quoted takes a string or a quoted name. A doubled quote stands for itself;
// a backslash means something only in strings with an E before them.
func (s *scanner) quoted(quote byte, escapes bool) error {
	rest := s.text[s.at:]
	for i := 1; i < len(rest); i++ {
		switch {
		case escapes && rest[i] == '\\':
			i++
		case rest[i] != quote:
		case i+1 < len(rest) && rest[i+1] == quote:
			i++
		default:
			s.skip(i + 1)
			return s.continued(escapes)
		}
	}
	return fmt.Errorf("line %d: a quote is not closed", s.line)
}

// continued goes on with a string that is written in two parts: on another
// line, a second part still means what the E of the first says.
func (s *scanner) continued(escapes bool) error {
	rest := s.text[s.at:]
	trimmed := strings.TrimLeft(rest, " \t\r\n\f\v")
	gap := rest[:len(rest)-len(trimmed)]
	if !escapes || !strings.HasPrefix(trimmed, "'") || !strings.Contains(gap, "\n") {
		return nil
	}
	s.skip(len(gap))
	return s.quoted('\'', true)
}

// dollar takes a string in dollar quotes, or a parameter such as $1.
func (s *scanner) dollar() error {
	rest := s.text[s.at:]
	tag := 1
	if tag < len(rest) && isWordStart(rest[tag]) {
		for tag < len(rest) && isWordPart(rest[tag]) && rest[tag] != '$' {
			tag++
		}
	}
	if tag >= len(rest) || rest[tag] != '$' {
		s.at++
		return nil
	}
	mark := rest[:tag+1]
	end := strings.Index(rest[len(mark):], mark)
	if end < 0 {
		return fmt.Errorf("line %d: the quote %s is not closed", s.line, mark)
	}
	s.skip(end + 2*len(mark))
	return nil
}

// word takes a keyword or a name, or the E of a string with escapes.
func (s *scanner) word() error {
	rest := s.text[s.at:]
	n := wordLength(rest)
	word := strings.ToUpper(rest[:n])
	s.at += n
	if word == "E" && n < len(rest) && rest[n] == '\'' {
		return s.quoted('\'', true)
	}
	s.nest(word)
	s.current.concurrently = s.current.concurrently || word == "CONCURRENTLY"
	if len(s.current.words) < maxWords {
		s.current.words = append(s.current.words, word)
	}
	return nil
}

// nest follows the body of a function in standard SQL, where CASE also ends in END.
func (s *scanner) nest(word string) {
	if s.parentheses > 0 || !s.current.definesRoutine() {
		return
	}
	switch {
	case word == "BEGIN", word == "CASE" && s.bodies > 0:
		s.bodies++
	case word == "END" && s.bodies > 0:
		s.bodies--
	}
}

func (s statement) definesRoutine() bool {
	for _, kind := range []string{"FUNCTION", "PROCEDURE"} {
		if s.begins("CREATE", kind) || s.begins("CREATE", "OR", "REPLACE", kind) {
			return true
		}
	}
	return false
}

func isWordStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func isWordPart(c byte) bool { return isWordStart(c) || c >= '0' && c <= '9' || c == '$' }

func wordLength(text string) int {
	n := 0
	for n < len(text) && isWordPart(text[n]) {
		n++
	}
	return n
}
