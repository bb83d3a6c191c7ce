package compile

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

func TestValuesThatAFieldCannotHoldAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		k  Kind
		v  query.Value
		ok bool
	}{
		{Long, json.Number("9223372036854775807"), true},
		{Long, json.Number("9223372036854775808"), false},
		{Long, "1.9", true},
		{Long, "x", false},
		{Double, json.Number("1e999"), false},
		{Double, "NaN", false},
		{Boolean, "", false},
		{Boolean, "false", true},
		{Boolean, "yes", false},
		{IP, "10.0.0.256", false},
		{IP, "fe80::1%eth0", true},
		{IP, "10.0.0.0/33", false},
		{Keyword, nil, false},
		{Keyword, true, true},
	} {
		if _, ok := convert(c.k, c.v); ok != c.ok {
			t.Errorf("convert(%s, %v): %t, want %t", c.k, c.v, ok, c.ok)
		}
	}
}

func TestPackedSortKeysGiveTheirValuesBack(t *testing.T) {
	t.Parallel()
	n := int64(0)
	s, err := NewSchema([]*catalog.Type{{Name: "T", Fields: []catalog.Field{
		{Name: "a", Type: catalog.Keyword}, {Name: "n", Type: catalog.Double}, {Name: "d", Type: catalog.Long},
	}}}, func(Key) (int64, error) { n++; return n, nil })
	if err != nil {
		t.Fatal(err)
	}
	d := resource.Document{Ref: resource.Ref{Type: "T", ID: "x/y"}, Revision: 1, Fields: map[string]json.RawMessage{
		"a": json.RawMessage(`["b","a","c"]`), "n": json.RawMessage(`-0.5`), "d": json.RawMessage(`"no number"`),
	}}
	rows, err := s.Rows(&d)
	if err != nil {
		t.Fatal(err)
	}
	packed := s.SortKeys(d.Ref.ID, rows)
	p, err := Unpack(packed)
	if err != nil || p.ID != "x/y" {
		t.Fatalf("Unpack = %q, %v", p.ID, err)
	}
	for _, c := range []struct {
		sort query.Sort
		want string
	}{
		{query.Sort{Field: "a"}, `"a"`},
		{query.Sort{Field: "a", Desc: true}, `"c"`},
		{query.Sort{Field: "a", Mode: "max"}, `"c"`},
		{query.Sort{Field: "n"}, `-0.5`},
		{query.Sort{Field: "d"}, ``},
	} {
		st, err := s.Compile(&query.Request{Types: []string{"T"}, Sort: []query.Sort{c.sort}, Scope: &query.Scope{All: true}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if v, ok := st.Sort[0].Value(p); ok {
			got = string(v.JSON())
		}
		if got != c.want {
			t.Errorf("sort value by %+v = %s, want %s", c.sort, got, c.want)
		}
	}
	for cut := range packed {
		if p, err := Unpack(packed[:cut]); err == nil {
			SortKey{fields: []int64{1, 2, 3}}.Value(p) // must not panic
		}
	}
}

func TestAValueOfTheWrongTypeIsTheCallersMistake(t *testing.T) {
	t.Parallel()
	n := int64(0)
	s, err := NewSchema([]*catalog.Type{{Name: "T", Fields: []catalog.Field{{Name: "n", Type: catalog.Long}, {Name: "h", Type: catalog.Long, AdminOnly: true}}}},
		func(Key) (int64, error) { n++; return n, nil })
	if err != nil {
		t.Fatal(err)
	}
	compile := func(q query.Node) error {
		_, err := s.Compile(&query.Request{Types: []string{"T"}, Query: q, Scope: &query.Scope{All: true}}, nil)
		return err
	}
	var qe *query.Error
	for _, q := range []query.Node{
		query.Term{Field: "n", Value: "x"},
		query.Terms{Field: "n", Values: []query.Value{"x"}},
		query.Range{Field: "n", GT: "x"},
		query.Match{Fields: []string{"n"}, Text: "x"},
		query.MatchPhrase{Fields: []string{"n"}, Text: "x"},
		query.Prefix{Field: "n", Value: "1"},
		query.Wildcard{Field: "n", Value: "1*"},
		query.Bool{Must: []query.Node{query.Term{Field: "n", Value: "x"}}},
	} {
		if err := compile(q); !errors.As(err, &qe) {
			t.Errorf("%#v: %v, want a query.Error", q, err)
		}
	}
	for _, q := range []query.Node{
		query.Term{Field: "h", Value: "x"},
		query.Term{Field: "none", Value: "x"},
		query.Match{Fields: []string{"n"}, Text: "x", Lenient: true},
		query.Range{Field: "n", GT: "x", Lenient: true},
	} {
		if err := compile(q); err != nil {
			t.Errorf("%#v: %v, want no error", q, err)
		}
	}
	if _, err := s.Compile(&query.Request{Types: []string{"T"}}, nil); !errors.Is(err, ErrUnrestricted) {
		t.Errorf("a request without scope: %v", err)
	}
}
