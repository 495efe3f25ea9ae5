package render

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxNesting bounds defaults within defaults.
const maxNesting = 8

var namePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const escapeAdvice = "write $${...} to keep the text as it is, or annotate the object with " + SubstituteAnnotation + ": disabled"

// expand puts variables into a text.
func expand(text string, vars map[string]string, depth int) (string, error) {
	if depth > maxNesting {
		return "", errors.New("defaults within defaults are nested too deep")
	}
	var out strings.Builder
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			out.WriteString(text)
			return out.String(), nil
		}
		size := span(text[at:])
		if at > 0 && text[at-1] == '$' {
			// The first of two dollars goes, what follows stays.
			out.WriteString(text[:at-1] + text[at:at+max(size, 2)])
			text = text[at+max(size, 2):]
			continue
		}
		if size == 0 {
			return "", fmt.Errorf("a ${ is never closed: %s", escapeAdvice)
		}
		value, err := evaluate(text[at+2:at+size-1], vars, depth)
		if err != nil {
			return "", err
		}
		out.WriteString(text[:at] + value)
		text = text[at+size:]
	}
}

// evaluate gives the value of what stands between the braces.
func evaluate(expression string, vars map[string]string, depth int) (string, error) {
	name, otherwise, hasDefault := expression, "", false
	if at := strings.IndexByte(expression, ':'); at >= 0 && at+1 < len(expression) && strings.ContainsRune("=-", rune(expression[at+1])) {
		name, otherwise, hasDefault = expression[:at], expression[at+2:], true
	}
	if !namePattern.MatchString(name) {
		return "", fmt.Errorf("${%s} is not understood: use ${VAR}, ${VAR:=default} or ${VAR:-default}; %s", flat(expression), escapeAdvice)
	}
	value, set := vars[name]
	switch {
	case hasDefault && value == "":
		return expand(otherwise, vars, depth+1)
	case !set:
		return "", fmt.Errorf("variable %s is not set: set it, give a default as in ${%s:=value}, or %s", name, name, escapeAdvice)
	}
	return value, nil
}

// span is the length of the expression that a text starts with, braces
// included, or zero when it has no end.
func span(text string) int {
	depth := 0
	for i := range len(text) {
		switch {
		case strings.HasPrefix(text[i:], "${"):
			depth++
		case text[i] == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// single tells whether a text is one expression and nothing else.
func single(text string) bool {
	return strings.HasPrefix(text, "${") && span(text) == len(text)
}
