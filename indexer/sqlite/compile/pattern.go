package compile

import (
	"strings"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// sqlGlob is a pattern for GLOB, sqlLike for LIKE with a backslash as escape.
func sqlGlob(g query.Glob) string {
	var sb strings.Builder
	for _, c := range g {
		switch {
		case c.Wild != 0:
			sb.WriteByte(c.Wild)
		case strings.ContainsRune("*?[", c.Rune):
			sb.WriteString("[" + string(c.Rune) + "]")
		default:
			sb.WriteRune(c.Rune)
		}
	}
	return sb.String()
}

func sqlLike(g query.Glob) string {
	var sb strings.Builder
	for _, c := range g {
		switch {
		case c.Wild == '*':
			sb.WriteByte('%')
		case c.Wild == '?':
			sb.WriteByte('_')
		case strings.ContainsRune(`%_\`, c.Rune):
			sb.WriteString(`\` + string(c.Rune))
		default:
			sb.WriteRune(c.Rune)
		}
	}
	return sb.String()
}

// likeCond is the condition that a value of the field matches the pattern. What
// stands before the first wildcard bounds the rows looked at.
func likeCond(t target, g query.Glob, fold bool) cond {
	c := cond{fields: []int64{t.id}}
	if t.kind == Pair {
		g = append(query.LiteralGlob(pair(t.within, "")), g...)
	}
	pre, open := g.Prefix()
	if fold { // letters may fold, but not those of the path
		pre, open = "", false
		if t.kind == Pair {
			pre = pair(t.within, "")
		}
	}
	var parts []string
	if pre != "" {
		parts, c.args = append(parts, "value>=?"), append(c.args, pre)
		if end := after(pre); end != "" {
			parts, c.args = append(parts, "value<?"), append(c.args, end)
		}
	}
	switch {
	case open || len(g) == 1 && g[0].Wild == '*':
	case fold:
		parts, c.args = append(parts, `value LIKE ? ESCAPE '\'`), append(c.args, sqlLike(g))
	default:
		parts, c.args = append(parts, "value GLOB ?"), append(c.args, sqlGlob(g))
	}
	c.where = strings.Join(parts, " AND ")
	return c
}

// after is the least text that is greater than every text with the prefix; empty if
// there is none.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}
