package token_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/sqlite/token"
)

func terms(s string) (out []string) {
	for _, t := range token.Split(s) {
		out = append(out, t.Term)
	}
	return out
}

func TestTokensAreThoseOfTheStandardAnalyzer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"web-01.example.net":          "web 01 example.net",
		"web-prod-1":                  "web prod 1",
		"example.net":                 "example.net",
		"0.3.4":                       "0.3.4",
		"10.0.0.2":                    "10.0.0.2",
		"cirros-0.3.4-x86_64-uec":     "cirros 0.3.4 x86_64 uec",
		"OS::Nova::Server":            "os nova server",
		"host_name foo__bar":          "host_name foo__bar",
		"can't O'Neil":                "can't o'neil",
		"compute.instance.create.end": "compute.instance.create.end",
		"1,000 a,b":                   "1,000 a b",
		"x@y.org":                     "x y.org",
		"日本 カタカナ":                     "日 本 カタカナ",
		"สวัสดี ok":                   "สวัสดี ok",
		"Café NAÏVE":                  "café naïve",
		"İstanbul":                    "istanbul",
		"!? -- ...":                   "",
		"":                            "",
		"2026-11-21T14:10:53":         "2026 11 21t14 10 53",
	} {
		if diff := cmp.Diff(strings.Fields(want), append([]string{}, terms(text)...)); diff != "" {
			t.Errorf("Split(%q) (-want +got):\n%s", text, diff)
		}
	}
}

func TestPositionsCountTokens(t *testing.T) {
	t.Parallel()
	want := []token.Token{{Term: "a"}, {Term: "b", Pos: 1}, {Term: "c", Pos: 2}}
	if diff := cmp.Diff(want, token.Split("A - b, ... C")); diff != "" {
		t.Errorf("Split (-want +got):\n%s", diff)
	}
}

func TestLongWordsAreCutAtTheLimit(t *testing.T) {
	t.Parallel()
	got := terms(strings.Repeat("é", 2*token.MaxRunes+1))
	if len(got) != 3 || utf8.RuneCountInString(got[0]) != token.MaxRunes || got[2] != "é" {
		t.Errorf("a word of %d runes became %d tokens", 2*token.MaxRunes+1, len(got))
	}
}

func FuzzSplitOfItsOwnTokensChangesNothing(f *testing.F) {
	for _, s := range []string{"web-01.example.net", "İstanbul", "a\xffb", "日本", "fe80::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, tok := range token.Split(s) {
			if !utf8.ValidString(tok.Term) || tok.Term == "" || utf8.RuneCountInString(tok.Term) > token.MaxRunes {
				t.Fatalf("Split(%q) gave the token %q", s, tok.Term)
			}
			if again := strings.ToLower(tok.Term); len(token.Split(again)) == 0 {
				t.Fatalf("token %q of %q has no tokens", tok.Term, s)
			}
		}
	})
}
