package compile

import (
	"strings"
	"unicode"
)

// maxStars is how many stars a pattern may have; SQLite's matcher backtracks.
const maxStars = 16

// glob is a pattern with * and ?, read: a rune of class 0 is itself.
type glob []globRune

type globRune struct {
	r    rune
	wild byte // '*', '?' or 0
}

// parseGlob reads a pattern; a backslash makes the next rune itself.
func parseGlob(s string) (g glob) {
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			g, escaped = append(g, globRune{r: r}), false
		case r == '\\':
			escaped = true
		case r == '*':
			if n := len(g); n == 0 || g[n-1].wild != '*' {
				g = append(g, globRune{wild: '*'})
			}
		case r == '?':
			g = append(g, globRune{wild: '?'})
		default:
			g = append(g, globRune{r: r})
		}
	}
	if escaped {
		g = append(g, globRune{r: '\\'})
	}
	return g
}

func literal(s string) (g glob) {
	for _, r := range s {
		g = append(g, globRune{r: r})
	}
	return g
}

func (g glob) stars() (n int) {
	for _, c := range g {
		if c.wild == '*' {
			n++
		}
	}
	return n
}

func (g glob) lower() glob {
	out := make(glob, len(g))
	for i, c := range g {
		out[i] = globRune{unicode.ToLower(c.r), c.wild}
	}
	return out
}

// prefix is the part before the first wildcard, and whether what follows is only a
// star.
func (g glob) prefix() (s string, open bool) {
	var sb strings.Builder
	for i, c := range g {
		if c.wild != 0 {
			return sb.String(), c.wild == '*' && i == len(g)-1
		}
		sb.WriteRune(c.r)
	}
	return sb.String(), false
}

// sqlGlob is the pattern for GLOB, like for LIKE with a backslash as escape.
func (g glob) sqlGlob() string {
	var sb strings.Builder
	for _, c := range g {
		switch {
		case c.wild != 0:
			sb.WriteByte(c.wild)
		case strings.ContainsRune("*?[", c.r):
			sb.WriteString("[" + string(c.r) + "]")
		default:
			sb.WriteRune(c.r)
		}
	}
	return sb.String()
}

func (g glob) sqlLike() string {
	var sb strings.Builder
	for _, c := range g {
		switch {
		case c.wild == '*':
			sb.WriteByte('%')
		case c.wild == '?':
			sb.WriteByte('_')
		case strings.ContainsRune(`%_\`, c.r):
			sb.WriteString(`\` + string(c.r))
		default:
			sb.WriteRune(c.r)
		}
	}
	return sb.String()
}

// likeCond is the condition that a value of the field matches the pattern. What
// stands before the first wildcard bounds the rows looked at.
func likeCond(t target, g glob, fold bool) cond {
	c := cond{fields: []int64{t.id}}
	if t.kind == Pair {
		g = append(literal(pair(t.within, "")), g...)
	}
	pre, open := g.prefix()
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
	case open || len(g) == 1 && g[0].wild == '*':
	case fold:
		parts, c.args = append(parts, `value LIKE ? ESCAPE '\'`), append(c.args, g.sqlLike())
	default:
		parts, c.args = append(parts, "value GLOB ?"), append(c.args, g.sqlGlob())
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
