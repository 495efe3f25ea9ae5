package lint

import (
	"fmt"
	"slices"
	"strings"
)

// mark begins a directive in a comment.
const mark = "lockstep:allow"

// directive is a comment that allows the findings of a rule.
type directive struct {
	line   int
	rule   string
	reason string
	// at is the statement it is about; -1 is all of the file, and the number
	// of statements is none.
	at   int
	used bool
}

// directives reads the comments of a file. One is about the statement that it
// stands above, or at the end of the line of. Those of the first comments of a
// file, when an empty line divides them from the first statement, are about
// the whole file.
func directives(s *source) []*directive {
	var out []*directive
	head := s.head()
	for _, t := range s.tokens {
		if t.Type != tokenLineComment {
			continue
		}
		text := strings.TrimSpace(strings.TrimLeft(s.file.SQL[t.Start:t.End], "-"))
		rest, ok := strings.CutPrefix(text, mark)
		if !ok || rest != "" && !strings.ContainsAny(rest[:1], " \t") {
			continue
		}
		rule, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
		d := &directive{line: s.lineOf(t.Start), rule: rule, reason: strings.TrimSpace(reason), at: s.above(t)}
		if t.Start < head {
			d.at = -1
		}
		out = append(out, d)
	}
	return out
}

// head is the byte up to which comments are about the whole file.
func (s *source) head() int {
	last := -1
	for i, t := range s.tokens {
		if !t.comment() {
			break
		}
		last = i
	}
	if last < 0 || last == len(s.tokens)-1 {
		return 0
	}
	head := 0
	for i := range last + 1 {
		between := s.file.SQL[s.tokens[i].End:s.tokens[i+1].Start]
		if strings.Count(between, "\n") > 1 || strings.HasSuffix(s.file.SQL[s.tokens[i].Start:s.tokens[i].End], "\n") && strings.Contains(between, "\n") {
			head = s.tokens[i].End
		}
	}
	return head
}

// above is the statement that a comment is about.
func (s *source) above(comment token) int {
	for i, statement := range s.statements {
		sameLine := s.lineOf(comment.Start) == s.lineOf(max(statement.end-1, 0)) && comment.Start >= statement.end
		if comment.Start < statement.end || sameLine {
			return i
		}
	}
	return len(s.statements)
}

// allow applies directives to the findings, and reports those that are wrong.
func (r *run) allow(all []*directive) {
	for _, d := range all {
		switch _, known := r.rules[d.rule]; {
		case !known:
			r.complain(d, ruleAllowUnknown, fmt.Sprintf("The comment allows the rule %q, which does not exist.", d.rule))
		case d.reason == "":
			r.complain(d, ruleAllowNoReason, fmt.Sprintf("The comment allows %s and gives no reason, so it does not count.", d.rule))
		default:
			r.apply(d)
		}
	}
}

func (r *run) apply(d *directive) {
	for _, f := range r.found {
		if f.Rule == d.rule && f.at >= 0 && (d.at == -1 || d.at == f.at) {
			f.Level, f.Allowed = Note, d.reason
			d.used = true
		}
	}
	if !d.used {
		r.complain(d, ruleAllowUnused, fmt.Sprintf("The comment allows %s, which is not found there.", d.rule))
	}
}

// complain reports a directive. Such findings cannot be allowed.
func (r *run) complain(d *directive, rule, message string) {
	text := mark + " " + strings.TrimSpace(d.rule+" "+d.reason)
	f := &found{at: -1, Finding: Finding{
		Rule: rule, Level: r.rules[rule].Level, File: r.source.file.Name, Line: d.line, Statement: clip(text), Message: message,
	}}
	if slices.Contains([]string{ruleAllowUnknown, ruleAllowNoReason}, rule) {
		f.Rewrite = []string{"-- " + mark + " RULE reason"}
	}
	r.found = append(r.found, f)
}
