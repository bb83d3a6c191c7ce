package dsl

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// FuzzPatternsMeanWhatTheyMeant writes patterns for the server and reads them back.
func FuzzPatternsMeanWhatTheyMeant(f *testing.F) {
	for _, s := range []string{"", "a*b?c", `\*`, `a\`, `.*[z]|(x)~"<1-2>@#&{2}+^$`, "É*", "A?z", "\n\x01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		g := query.ParseGlob(strings.ToValidUTF8(pattern, "?"))
		if d := cmp.Diff(g, query.ParseGlob(wildcardOf(g))); d != "" {
			t.Errorf("wildcardOf(%q) = %q: %s", pattern, wildcardOf(g), d)
		}
		re, err := regexp.Compile("(?s)^(?:" + regexpOf("p.q\x01", g) + ")$")
		if err != nil {
			t.Fatalf("regexpOf(%q): %v", pattern, err)
		}
		var match strings.Builder // something that the pattern matches, in the other case
		for _, c := range g {
			switch {
			case c.Wild == '?':
				match.WriteRune('é')
			case c.Wild == '*':
				match.WriteString(`a"b`)
			case c.Rune >= 'a' && c.Rune <= 'z':
				match.WriteRune(c.Rune - 0x20)
			default:
				match.WriteRune(c.Rune)
			}
		}
		if !re.MatchString("p.q\x01" + match.String()) {
			t.Errorf("regexpOf(%q) = %s does not match %q", pattern, re, match.String())
		}
		if re.MatchString("P.q\x01"+match.String()) || re.MatchString("pxq\x01"+match.String()) {
			t.Errorf("regexpOf(%q) = %s matches at another path", pattern, re)
		}
	})
}
