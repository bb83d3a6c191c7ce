package query

import (
	"strings"
	"unicode"
)

// MaxStars is how many stars a wildcard may have: some matchers backtrack.
const MaxStars = 16

// Glob is a wildcard of Wildcard or Pattern, read.
type Glob []GlobRune

// GlobRune is one rune of a Glob: itself, or what Wild says: '*' or '?'.
type GlobRune struct {
	Rune rune
	Wild byte
}

// ParseGlob reads a wildcard; a backslash makes the next rune itself. Stars in a row
// are one.
func ParseGlob(s string) (g Glob) {
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			g, escaped = append(g, GlobRune{Rune: r}), false
		case r == '\\':
			escaped = true
		case r == '*':
			if n := len(g); n == 0 || g[n-1].Wild != '*' {
				g = append(g, GlobRune{Wild: '*'})
			}
		case r == '?':
			g = append(g, GlobRune{Wild: '?'})
		default:
			g = append(g, GlobRune{Rune: r})
		}
	}
	if escaped {
		g = append(g, GlobRune{Rune: '\\'})
	}
	return g
}

// LiteralGlob matches exactly s.
func LiteralGlob(s string) (g Glob) {
	for _, r := range s {
		g = append(g, GlobRune{Rune: r})
	}
	return g
}

// PrefixGlob matches what begins with s.
func PrefixGlob(s string) Glob { return append(LiteralGlob(s), GlobRune{Wild: '*'}) }

// Stars is the number of its stars.
func (g Glob) Stars() (n int) {
	for _, c := range g {
		if c.Wild == '*' {
			n++
		}
	}
	return n
}

// Lower has its runes in lower case, one by one.
func (g Glob) Lower() Glob {
	out := make(Glob, len(g))
	for i, c := range g {
		out[i] = GlobRune{unicode.ToLower(c.Rune), c.Wild}
	}
	return out
}

// Prefix is the part before the first wildcard, and whether what follows is only a
// star.
func (g Glob) Prefix() (s string, open bool) {
	var sb strings.Builder
	for i, c := range g {
		if c.Wild != 0 {
			return sb.String(), c.Wild == '*' && i == len(g)-1
		}
		sb.WriteRune(c.Rune)
	}
	return sb.String(), false
}

// MatchName matches a dotted name with * for any characters; it takes time linear in
// both.
func MatchName(pattern, name string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == name[i]:
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
