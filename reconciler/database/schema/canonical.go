package schema

import (
	"regexp"
	"strings"
)

var (
	// plainName is a name that needs no quotes.
	plainName = regexp.MustCompile(`^[a-z_][a-z0-9_$]*$`)
	// arrayCast is what follows the elements of an array whose cast applies
	// to the array as a whole.
	arrayCast = regexp.MustCompile(`^\]\)::([^\[\](),;]*(?:\([0-9, ]+\)[^\[\](),;]*)?)\[\]`)
)

// quote quotes a name where it must be. PostgreSQL's quote_ident also quotes
// keywords, which are others in each major version.
func quote(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// qualified joins the parts of a name.
func qualified(parts []string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = quote(part)
	}
	return strings.Join(quoted, ".")
}

// canonical gives an expression one spelling. When a dump is restored,
// PostgreSQL reads its own spelling (ARRAY['a'::character varying])::text[]
// and from then on spells it ARRAY[('a'::character varying)::text], which
// means the same. CHECK (role IN ('a', 'b')) on a varchar is such an
// expression, so without this every restored database would differ.
func canonical(text string) string {
	const opening = "(ARRAY["
	var out strings.Builder
	for i := 0; i < len(text); {
		if end := literalEnd(text, i); end > i {
			out.WriteString(text[i:end])
			i = end
			continue
		}
		if strings.HasPrefix(text[i:], opening) {
			if cast, next, ok := castArray(text, i+len(opening)); ok {
				out.WriteString(cast)
				i = next
				continue
			}
		}
		out.WriteByte(text[i])
		i++
	}
	return out.String()
}

// castArray spells an array with the cast on each element. It starts after the
// opening bracket and returns where the text goes on.
func castArray(text string, start int) (string, int, bool) {
	var elements []string
	depth, from := 0, start
	for i := start; i < len(text); {
		if end := literalEnd(text, i); end > i {
			i = end
			continue
		}
		switch text[i] {
		case '(', '[':
			depth++
		case ',':
			if depth == 0 {
				elements = append(elements, text[from:i])
				from = i + 1
			}
		case ')', ']':
			if depth > 0 {
				depth--
				break
			}
			match := arrayCast.FindStringSubmatch(text[i:])
			if match == nil {
				return "", 0, false
			}
			elements = append(elements, text[from:i])
			return spellArray(elements, match[1]), i + len(match[0]), true
		}
		i++
	}
	return "", 0, false
}

func spellArray(elements []string, kind string) string {
	for i, element := range elements {
		elements[i] = "(" + canonical(strings.TrimSpace(element)) + ")::" + kind
	}
	return "ARRAY[" + strings.Join(elements, ", ") + "]"
}

// literalEnd returns where a string literal or a quoted name that starts at i
// ends, or i when there is none. PostgreSQL doubles a quote inside of one; a
// backslash in an E” literal is doubled, so it never hides a quote.
func literalEnd(text string, i int) int {
	mark := text[i]
	if mark != '\'' && mark != '"' {
		return i
	}
	for j := i + 1; j < len(text); j++ {
		if text[j] != mark {
			continue
		}
		if j+1 < len(text) && text[j+1] == mark {
			j++
			continue
		}
		return j + 1
	}
	return len(text)
}
