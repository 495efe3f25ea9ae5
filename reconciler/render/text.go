package render

import (
	"strings"
	"unicode"
)

const (
	// maxText bounds the text of an error, in bytes.
	maxText = 1500
	// maxDump is how long something in brackets may be before it is taken for
	// the dump of an object, which may be a Secret.
	maxDump = 60
)

// flat makes one printable line of a text.
func flat(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return text
}

// withoutDumps cuts what kustomize quotes of files: everything between
// backquotes, and brackets with more than a few words in them.
func withoutDumps(text string) string {
	var out strings.Builder
	for text != "" {
		at := strings.IndexAny(text, "`{[")
		if at < 0 {
			break
		}
		out.WriteString(text[:at])
		text = text[at:]
		end := closing(text)
		if text[0] == '`' || end > maxDump {
			out.WriteString(text[:1] + "…" + text[end-1:end])
		} else {
			out.WriteString(text[:end])
		}
		text = text[end:]
	}
	return out.String() + text
}

// closing is the length of the group that a text starts with. A group that is
// never closed ends with the text.
func closing(text string) int {
	if text[0] == '`' {
		if at := strings.IndexByte(text[1:], '`'); at >= 0 {
			return at + 2
		}
		return len(text)
	}
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}
