package database

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
)

// withheld stands where a server's message held a value of a row or a piece
// of a file.
const withheld = "[withheld]"

// quotation is from the first to the last quotation mark of a message, in
// whatever language the server speaks.
var quotation = regexp.MustCompile(`(?s)["«»„“”](.*)["«»„“”]`)

// word is a piece of a file that can be shown: a name, a keyword or a sign,
// but no literal.
var word = regexp.MustCompile(`^([\pL_][\pL\pN_$]{0,62}|[^\pL\pN'"$\\\s]{1,3})$`)

// safeMessage is the server's message without values of rows and without
// pieces of the file (D12). Details, hints and contexts are left out for the
// same reason: the detail of a unique violation is the row. Of the messages
// themselves, those of class 22 quote values, and that of a syntax error
// quotes what stands in the file; all others quote names.
func safeMessage(server *pgconn.PgError) string {
	text := server.Message
	if strings.HasPrefix(server.Code, "22") || server.Code == codeSyntax {
		text = quotation.ReplaceAllStringFunc(text, func(match string) string {
			if quoted := quotation.FindStringSubmatch(match)[1]; server.Code == codeSyntax && word.MatchString(quoted) {
				return match
			}
			return withheld
		})
	}
	return oneLine(text)
}

// oneLine replaces line breaks and control characters, which could forge a
// line of a log.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}
