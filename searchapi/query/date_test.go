package query_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

func TestParseDateReadsDatesAndDateMath(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 14, 25, 36, 500, time.UTC)
	for _, c := range []struct {
		v            query.Value
		format, zone string
		up           bool
		want         string
	}{
		{"now", "", "", false, "2026-03-31T14:25:36.000000500Z"},
		{"now-1d", "", "", false, "2026-03-30T14:25:36.000000500Z"},
		{"now-1d/d", "", "", false, "2026-03-30T00:00:00.000000000Z"},
		{"now/d", "", "", true, "2026-03-31T23:59:59.999999999Z"},
		{"now-1M", "", "", false, "2026-02-28T14:25:36.000000500Z"},
		{"now+1y/w", "", "", false, "2027-03-29T00:00:00.000000000Z"},
		{"now/d", "", "+02:00", false, "2026-03-30T22:00:00.000000000Z"},
		{"2026-05-01", "", "", false, "2026-05-01T00:00:00.000000000Z"},
		{"2026-05-01", "", "", true, "2026-05-01T23:59:59.999999999Z"},
		{"2026-05", "", "", true, "2026-05-31T23:59:59.999999999Z"},
		{"2026-05-01T10", "", "", true, "2026-05-01T10:59:59.999999999Z"},
		{"2026-05-01T10:11:12.5+02:00", "", "", true, "2026-05-01T08:11:12.500000000Z"},
		{"2026-05-01 10:11:12", "", "+01:00", false, "2026-05-01T09:11:12.000000000Z"},
		{"2026-05-31||-1M/d", "", "", false, "2026-04-30T00:00:00.000000000Z"},
		{json.Number("1700000000123"), "", "", false, "2023-11-14T22:13:20.123000000Z"},
		{"1700000000", "epoch_second", "", false, "2023-11-14T22:13:20.000000000Z"},
		{"31/12/2026", "dd/MM/yyyy||epoch_millis", "", true, "2026-12-31T23:59:59.999999999Z"},
		{"2026.05.01 08:00:00.250", "yyyy.MM.dd HH:mm:ss.SSS", "", false, "2026-05-01T08:00:00.250000000Z"},
	} {
		got, err := query.ParseDate(c.v, query.DateSpec{Format: c.format, TimeZone: c.zone, Up: c.up, Now: now})
		if err != nil || got.Format(query.Instant) != c.want {
			t.Errorf("ParseDate(%v, %q, %q, up %v) = %v, %v, want %s", c.v, c.format, c.zone, c.up, got.Format(query.Instant), err, c.want)
		}
	}
	for _, bad := range []query.Value{"nowish", "now-1", "now-d1", "now/5d", "now+99999999y", "tomorrow", "2026-13-01", "", true, "2026-05-01||*2d", json.Number("1e300")} {
		if got, err := query.ParseDate(bad, query.DateSpec{Now: now}); err == nil {
			t.Errorf("ParseDate(%v) = %v, want an error", bad, got)
		}
	}
}

func TestResolveMakesInstantsOfDatesOnly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 14, 0, 0, 0, time.UTC)
	isDate := func(f string) bool { return f == "at" }
	in := query.Bool{
		Must: []query.Node{query.Range{Field: "at", GT: "2026-03-30", LTE: "now/d", TimeZone: "+01:00"}, query.Range{Field: "name", GT: "now"}},
		Should: []query.Node{
			query.Nested{Path: "x", Query: query.Term{Field: "at", Value: "2026-03"}},
			query.Match{Fields: []string{"at"}, Text: "soon", Lenient: true},
			query.Terms{Field: "at", Values: []query.Value{"2026"}},
		},
	}
	month := query.Range{Field: "at", GTE: "2026-03-01T00:00:00.000000000Z", LTE: "2026-03-31T23:59:59.999999999Z"}
	year := query.Range{Field: "at", GTE: "2026-01-01T00:00:00.000000000Z", LTE: "2026-12-31T23:59:59.999999999Z"}
	want := query.Node(query.Bool{
		Must: []query.Node{
			query.Range{Field: "at", GT: "2026-03-30T22:59:59.999999999Z", LTE: "2026-03-31T22:59:59.999999999Z"},
			query.Range{Field: "name", GT: "now"},
		},
		Should: []query.Node{query.Nested{Path: "x", Query: month}, query.MatchNone{}, query.Bool{Should: []query.Node{year}}},
	})
	got, err := query.Resolve(in, now, isDate)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	again, err := query.Resolve(got, now.Add(time.Hour), isDate)
	if err != nil || cmp.Diff(got, again) != "" {
		t.Errorf("Resolve of what is resolved = %v, %v", again, err)
	}
}

func TestResolveNamesThePlaceOfAWrongDate(t *testing.T) {
	fine := query.Term{Field: "name", Value: "soon"}
	for _, c := range []struct {
		path string
		in   query.Node
	}{
		{"query.range.at.lt", query.Range{Field: "at", LT: "soon"}},
		{"query.bool.must[1].range.at.gte", query.Bool{Must: []query.Node{fine, query.Range{Field: "at", GTE: "soon"}}}},
		{"query.bool.must_not[0].bool.filter[0].term.at", query.Bool{MustNot: []query.Node{
			query.Bool{Filter: []query.Node{query.Term{Field: "at", Value: "soon"}}},
		}}},
		{"query.bool.should[0].terms.at[1]", query.Bool{Should: []query.Node{
			query.Terms{Field: "at", Values: []query.Value{"2026", "soon"}},
		}}},
		{"query.nested.query.match.at", query.Nested{Path: "x", Query: query.Match{Fields: []string{"at"}, Text: "soon"}}},
		{"query.match_phrase.at", query.MatchPhrase{Fields: []string{"at"}, Text: "soon"}},
	} {
		_, err := query.Resolve(c.in, time.Now(), func(f string) bool { return f == "at" })
		want := c.path + `: "soon" is no date of format strict_date_optional_time||epoch_millis`
		if err == nil || err.Error() != want {
			t.Errorf("Resolve = %v, want %s", err, want)
		}
	}
}
