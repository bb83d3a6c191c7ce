package dsl

import (
	"strings"
	"unicode/utf8"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// maxRegexp is how long a regular expression servers take, in characters.
const maxRegexp = 1000

// glob is the clause that a value matches the pattern; ok is false if the target
// holds no text, or if the pattern is too long to be matched so.
func (t target) glob(g query.Glob, fold bool) (q any, ok bool) {
	if !t.texts() {
		return nil, false
	}
	pre, open := g.Prefix()
	lit := len(g) == 0 || !open && !wild(g)
	if t.kind == flat {
		if fold { // letters may fold, but not those of the path
			re := regexpOf(layout.LeafPath(t.path), g)
			if utf8.RuneCountInString(re) > maxRegexp {
				return nil, false
			}
			return t.each(func(f string) any { return on("regexp", f, object{"value": re, "flags": "NONE"}) }), true
		}
		pre, g = t.text(pre), append(query.LiteralGlob(layout.LeafPath(t.path)), g...)
	}
	switch {
	case lit && fold && pre != "": // OpenSearch folds nothing to nothing
		return t.each(func(f string) any { return on("term", f, object{"value": pre, "case_insensitive": true}) }), true
	case lit:
		return t.each(func(f string) any { return on("term", f, object{"value": pre}) }), true
	case open && pre == "" && t.kind == keyword:
		return t.exists(), true
	case open:
		return t.each(func(f string) any { return on("prefix", f, folding(object{"value": pre}, fold)) }), true
	}
	return t.each(func(f string) any { return on("wildcard", f, folding(object{"value": wildcardOf(g)}, fold)) }), true
}

func wild(g query.Glob) bool {
	for _, c := range g {
		if c.Wild != 0 {
			return true
		}
	}
	return false
}

func folding(o object, fold bool) object {
	if fold {
		o["case_insensitive"] = true
	}
	return o
}

// wildcardOf writes a pattern for a wildcard clause.
func wildcardOf(g query.Glob) string {
	var sb strings.Builder
	for _, c := range g {
		switch {
		case c.Wild != 0:
			sb.WriteByte(c.Wild)
		case strings.ContainsRune(`*?\`, c.Rune):
			sb.WriteString(`\` + string(c.Rune))
		default:
			sb.WriteRune(c.Rune)
		}
	}
	return sb.String()
}

// regexpOf writes a regular expression: the prefix as it is, then the pattern, in
// which ASCII letters match in either case.
func regexpOf(prefix string, g query.Glob) string {
	var sb strings.Builder
	for _, r := range prefix {
		literalRune(&sb, r)
	}
	for _, c := range g {
		switch lower := c.Rune | 0x20; {
		case c.Wild == '*':
			sb.WriteString(".*")
		case c.Wild == '?':
			sb.WriteByte('.')
		case lower >= 'a' && lower <= 'z' && c.Rune < utf8.RuneSelf:
			sb.WriteString("[" + string(lower) + string(lower-0x20) + "]")
		default:
			literalRune(&sb, c.Rune)
		}
	}
	return sb.String()
}

// literalRune escapes every ASCII character that is neither letter nor digit: what is
// none of these is no operator.
func literalRune(sb *strings.Builder, r rune) {
	lower := r | 0x20
	if r >= ' ' && r < utf8.RuneSelf && (lower < 'a' || lower > 'z') && (r < '0' || r > '9') {
		sb.WriteByte('\\')
	}
	sb.WriteRune(r)
}
