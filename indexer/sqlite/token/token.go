// Package token cuts text into the tokens that searches for words compare: as
// Elasticsearch's standard analyzer does, word boundaries by Unicode's UAX #29 and
// letters in lower case, one rune at a time.
//
// It knows no fields and no queries. Its invariant: documents and queries are cut
// by the same function, so a text always finds itself; whoever changes what it
// returns must raise Edition, so that stores index their documents again.
package token

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// Edition names the rules in force. Stores remember which one they indexed with.
const Edition = 1

// MaxRunes is the length at which a token is cut in two.
const MaxRunes = 255

// Gap is the number of positions between the values of one field, so that no
// phrase spans two of them.
const Gap = 100

// Token is one word of a text, in lower case.
type Token struct {
	Term string
	Pos  int // counted from 0
}

// Split returns the tokens of text in their order.
func Split(text string) []Token {
	var toks []Token
	var run strings.Builder // words of scripts without spaces, kept together
	add := func(term string) {
		for _, part := range pieces(term) {
			toks = append(toks, Token{Term: lower(part), Pos: len(toks)})
		}
	}
	flush := func() {
		if run.Len() > 0 {
			add(run.String())
			run.Reset()
		}
	}
	for rest, state := strings.ToValidUTF8(text, "\uFFFD"), -1; len(rest) > 0; {
		var word string
		word, rest, state = uniseg.FirstWordInString(rest, state)
		switch {
		case spaceless(word):
			run.WriteString(word)
		case isWord(word):
			flush()
			add(word)
		default:
			flush()
		}
	}
	flush()
	return toks
}

// isWord reports whether a segment between two boundaries is a word and not
// punctuation or space.
func isWord(s string) bool {
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || r >= 0x1F000 && unicode.Is(unicode.So, r) {
			return true
		}
	}
	return false
}

// spaceless reports whether s is in a script that Unicode's rules cut at every
// letter although its words are longer.
func spaceless(s string) bool {
	for _, r := range s {
		return unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) && unicode.IsLetter(r)
	}
	return false
}

// pieces cuts a word at every MaxRunes runes.
func pieces(s string) []string {
	if len(s) <= MaxRunes {
		return []string{s}
	}
	var parts []string
	rs := []rune(s)
	for len(rs) > MaxRunes {
		parts = append(parts, string(rs[:MaxRunes]))
		rs = rs[MaxRunes:]
	}
	return append(parts, string(rs))
}

func lower(s string) string { return strings.Map(unicode.ToLower, s) }
