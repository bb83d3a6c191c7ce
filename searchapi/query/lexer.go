package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// tokenKind is the kind of a token of query_string.
type tokenKind int

const (
	tokEnd tokenKind = iota
	tokAnd
	tokOr
	tokNot
	tokPlus
	tokMinus
	tokOpen
	tokClose
	tokColon
	tokCaret  // ^ and its number
	tokTilde  // ~ and its number, if any
	tokTerm   // raw, with its escapes
	tokQuoted // without its quotes, raw
	tokRange  // from [ or { to ] or }
)

type token struct {
	kind tokenKind
	text string
	at   int // the rune where it begins, from 0
}

// show names a token for messages.
func (t token) show() string {
	if t.kind == tokEnd {
		return "the end"
	}
	return fmt.Sprintf("%s at character %d", quote(t.text), t.at+1)
}

var errUnfinished = errors.New("a backslash at the end escapes nothing")

// lexer cuts text into tokens as Lucene's classic query parser does. What it does
// otherwise: a slash inside of a term is a letter, where Lucene begins a regexp.
type lexer struct {
	text []rune
	pos  int
}

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\u3000' }

// special reports whether a rune cannot stand in a term without a backslash.
func special(r rune) bool { return isSpace(r) || strings.ContainsRune(`!():^[]"{}~\`, r) }

func (l *lexer) skipSpace() {
	for l.pos < len(l.text) && isSpace(l.text[l.pos]) {
		l.pos++
	}
}

// at returns the rune n after the position; 0 past the end.
func (l *lexer) at(n int) rune {
	if l.pos+n < len(l.text) {
		return l.text[l.pos+n]
	}
	return 0
}

func (l *lexer) next() (token, error) {
	for {
		l.skipSpace()
		// A lone + or - between blanks is text, and text without letters is nothing.
		if c := l.at(0); (c == '+' || c == '-') && (l.pos+1 == len(l.text) || isSpace(l.at(1))) {
			l.pos++
			continue
		}
		break
	}
	if l.pos == len(l.text) {
		return token{kind: tokEnd, at: l.pos}, nil
	}
	switch c := l.text[l.pos]; c {
	case '+':
		return l.single(tokPlus), nil
	case '-':
		return l.single(tokMinus), nil
	case '!':
		return l.single(tokNot), nil
	case '(':
		return l.single(tokOpen), nil
	case ')':
		return l.single(tokClose), nil
	case ':':
		return l.single(tokColon), nil
	case '^', '~':
		return l.numbered(c), nil
	case '"':
		return l.until(tokQuoted, `"`)
	case '[', '{':
		return l.until(tokRange, "]}")
	case ']', '}':
		return token{}, fmt.Errorf("%s at character %d closes no range; write a backslash before it", quote(string(c)), l.pos+1)
	case '/':
		return token{}, fmt.Errorf("a slash at character %d begins a regexp, which is not supported; write \\/ for a slash", l.pos+1)
	}
	return l.term()
}

func (l *lexer) single(k tokenKind) token {
	l.pos++
	return token{kind: k, text: string(l.text[l.pos-1]), at: l.pos - 1}
}

// numbered reads ^ or ~ and the number behind it.
func (l *lexer) numbered(c rune) token {
	t := token{kind: tokCaret, at: l.pos}
	if c == '~' {
		t.kind = tokTilde
	}
	l.pos++
	start := l.pos
	for r := l.at(0); r >= '0' && r <= '9' || r == '.'; r = l.at(0) {
		l.pos++
	}
	t.text = string(c) + string(l.text[start:l.pos])
	return t
}

// until reads to the first closing rune that is not escaped or, in a range, quoted.
func (l *lexer) until(k tokenKind, closing string) (token, error) {
	t, quoted := token{kind: k, at: l.pos}, false
	for i := l.pos + 1; i < len(l.text); i++ {
		switch r := l.text[i]; {
		case r == '\\':
			i++
		case k == tokRange && r == '"':
			quoted = !quoted
		case !quoted && strings.ContainsRune(closing, r):
			t.text = string(l.text[l.pos : i+1])
			if k == tokQuoted {
				t.text = string(l.text[l.pos+1 : i])
			}
			l.pos = i + 1
			return t, nil
		}
	}
	return token{}, fmt.Errorf("%s at character %d is not closed", quote(string(l.text[l.pos])), l.pos+1)
}

// quoted reads "..." and reports whether it is closed.
func (l *lexer) quoted() (raw string, closed bool) {
	t, err := l.until(tokQuoted, `"`)
	return t.text, err == nil
}

func (l *lexer) term() (token, error) {
	start := l.pos
	for l.pos < len(l.text) {
		r := l.text[l.pos]
		if r == '\\' {
			if l.pos+1 == len(l.text) {
				return token{}, errUnfinished
			}
			l.pos += 2
			continue
		}
		if special(r) {
			break
		}
		l.pos++
	}
	t := token{kind: tokTerm, text: string(l.text[start:l.pos]), at: start}
	switch t.text {
	case "AND", "&&":
		t.kind = tokAnd
	case "OR", "||":
		t.kind = tokOr
	case "NOT":
		t.kind = tokNot
	}
	return t, nil
}

// unescape takes the backslashes out: \x is x, \u and four hex digits a rune.
func unescape(raw string) (string, error) {
	var b strings.Builder
	err := eachRune(raw, func(r rune, _ bool) { b.WriteRune(r) })
	return b.String(), err
}

// eachRune calls f with each rune that raw stands for and whether it was escaped.
func eachRune(raw string, f func(r rune, escaped bool)) error {
	runes := []rune(raw)
	for i := 0; i < len(runes); i++ {
		if runes[i] != '\\' {
			f(runes[i], false)
			continue
		}
		if i++; i == len(runes) {
			return errUnfinished
		}
		if runes[i] != 'u' {
			f(runes[i], true)
			continue
		}
		const digits = 4
		if i+digits >= len(runes) {
			return errors.New(`\u needs four hexadecimal digits`)
		}
		n, err := strconv.ParseUint(string(runes[i+1:i+1+digits]), 16, 16)
		if err != nil {
			return errors.New(`\u needs four hexadecimal digits`)
		}
		f([]rune(string(rune(n)))[0], true)
		i += digits
	}
	return nil
}

// wild reports whether a raw term holds * or ? that is not escaped, and whether it
// consists of nothing but stars.
func wild(raw string) (pattern, all bool) {
	all = raw != ""
	escaped := false
	for _, r := range raw {
		switch {
		case escaped:
			escaped, all = false, false
		case r == '\\':
			escaped = true
		case r == '*':
			pattern = true
		case r == '?':
			pattern, all = true, false
		default:
			all = false
		}
	}
	return pattern, all && pattern
}

// patternOf turns a raw term into a Pattern's value, in which a backslash stands
// only before *, ? and itself.
func patternOf(raw string) (string, error) {
	var b strings.Builder
	err := eachRune(raw, func(r rune, escaped bool) {
		if r == '\\' || escaped && (r == '*' || r == '?') {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	})
	return b.String(), err
}
