package storetest

import (
	"encoding/json"
	"fmt"

	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// clause makes a random clause, at most depth deep, for use inside of a nested field
// or, with an empty path, outside.
func clause(r *rapid.T, depth int, path string) query.Node {
	kinds := 11
	if depth > 0 {
		kinds = 16
	}
	boost := rapid.SampledFrom([]float64{0, 0, 1, 2, 0.5}).Draw(r, "boost")
	switch kind := rapid.IntRange(0, kinds).Draw(r, "kind"); kind {
	case 0:
		return query.MatchAll{Boost: boost}
	case 1:
		return query.IDs{Values: rapid.SliceOfN(rapid.StringMatching(`[a-d][0-4]`), 1, 3).Draw(r, "ids"), Boost: boost}
	case 2:
		return query.Exists{Field: rapid.SampledFrom(existing(path)).Draw(r, "field"), Boost: boost}
	case 3:
		return ranges(r, path, boost)
	case 4:
		return query.Prefix{
			Field: rapid.SampledFrom(textual(path)).Draw(r, "field"), Value: rapid.SampledFrom([]string{"", "w", "Web", "[", "é", "1"}).Draw(r, "prefix"),
			CaseInsensitive: rapid.Bool().Draw(r, "fold"), Boost: boost,
		}
	case 5:
		return query.Wildcard{
			Field: rapid.SampledFrom(textual(path)).Draw(r, "field"), Value: wild().Draw(r, "wildcard"),
			CaseInsensitive: rapid.Bool().Draw(r, "fold"), Boost: boost,
		}
	case 6:
		return query.Match{
			Fields: fields(r, path), Weights: []float64{rapid.SampledFrom([]float64{1, 3}).Draw(r, "weight")}, Text: sentence().Draw(r, "text"),
			And: rapid.Bool().Draw(r, "and"), MinimumShouldMatch: rapid.SampledFrom([]string{"", "2", "75%", "-1"}).Draw(r, "minimum"),
			Lenient: true, Boost: boost,
		}
	case 7:
		return query.MatchPhrase{
			Fields: fields(r, path), Text: sentence().Draw(r, "text"), Slop: rapid.IntRange(0, 3).Draw(r, "slop"),
			Prefix: rapid.Bool().Draw(r, "prefix"), Lenient: true, Boost: boost,
		}
	case 8:
		return query.Pattern{Fields: fields(r, path), Value: wild().Draw(r, "pattern"), Lenient: true, Boost: boost}
	case 9, 10, 11:
		f, v := term(r, path)
		if rapid.Bool().Draw(r, "terms") {
			return query.Terms{Field: f, Values: v, Boost: boost}
		}
		return query.Term{Field: f, Value: v[0], CaseInsensitive: rapid.Bool().Draw(r, "fold"), Boost: boost}
	case 12:
		if path == "" {
			return query.Nested{
				Path: rapid.SampledFrom([]string{"networks", "networks", "networks", "name"}).Draw(r, "path"), Query: clause(r, depth-1, "networks"),
				ScoreMode: rapid.SampledFrom([]string{"", "avg", "sum", "max", "min", "none"}).Draw(r, "mode"), Boost: boost,
			}
		}
		fallthrough
	default:
		list := func(name string, n int) (out []query.Node) {
			for range rapid.IntRange(0, n).Draw(r, name) {
				out = append(out, clause(r, depth-1, path))
			}
			return out
		}
		return query.Bool{
			Must: list("must", 2), Filter: list("filter", 1), Should: list("should", 3), MustNot: list("must_not", 1),
			MinimumShouldMatch: rapid.SampledFrom([]string{"", "", "0", "1", "2", "-1", "50%"}).Draw(r, "minimum"), Boost: boost,
		}
	}
}

func textual(path string) []string {
	if path != "" {
		return []string{"networks.name", "networks.label", "networks.label.raw", "name"}
	}
	return []string{
		"name", "name.raw", "description", "status", "flavor.id", "hypervisor", "metadata", "metadata.open", "metadata.rack.row",
		"other.zone", "other.host_x", "other", "nothing", "networks.name",
	}
}

func existing(path string) []string {
	all := append(textual(path), "size", "networks", "flavor", "metadata.rack", "metadata.secret_x", "created_at", "address")
	if path != "" {
		all = append(all, "networks.vlan", "networks.version")
	}
	return all
}

func fields(r *rapid.T, path string) []string {
	if path != "" {
		return rapid.SampledFrom([][]string{{"networks.*"}, {"networks.label"}, {"networks.label", "networks.name"}, {"name"}}).Draw(r, "fields")
	}
	return rapid.SampledFrom([][]string{{"*"}, {"name"}, {"name", "description"}, {"name", "status", "flavor.*"}, {"metadata.open"}, {"nothing"}, {"*.raw"}}).
		Draw(r, "fields")
}

func wild() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"*", "w*", "*b", "?eb*", "W?B", `a\*b`, "[z]", "*%", "x_?", "*É*", "e*.*t", "", "db"})
}

// term makes a field and values that it can hold.
func term(r *rapid.T, path string) (string, []query.Value) {
	kinds := map[string]func() query.Value{}
	str := func() query.Value { return word().Draw(r, "value") }
	num := func() query.Value {
		return json.Number(fmt.Sprint(float64(rapid.IntRange(-4, 12).Draw(r, "value")) / 2))
	}
	for _, f := range textual(path) {
		kinds[f] = str
	}
	names := textual(path)
	if path == "" {
		kinds["size"], kinds["load"] = num, num
		kinds["locked"] = func() query.Value { return rapid.Bool().Draw(r, "value") }
		kinds["created_at"] = func() query.Value { return date().Draw(r, "value") }
		kinds["address"] = func() query.Value {
			return rapid.OneOf(address(), rapid.SampledFrom([]string{"10.0.0.0/24", "fd00::/16", "0.0.0.0/0"})).Draw(r, "value")
		}
		names = append(names, "size", "load", "locked", "created_at", "address")
	} else {
		kinds["networks.version"], kinds["networks.vlan"] = num, num
		names = append(names, "networks.version", "networks.vlan")
	}
	f := rapid.SampledFrom(names).Draw(r, "field")
	var vs []query.Value
	for range rapid.IntRange(1, 3).Draw(r, "values") {
		vs = append(vs, kinds[f]())
	}
	return f, vs
}

func ranges(r *rapid.T, path string, boost float64) query.Node {
	n := query.Range{Boost: boost, Lenient: true}
	n.Field = "networks.version"
	if path == "" {
		n.Field = rapid.SampledFrom([]string{"size", "load", "created_at", "address", "status", "name", "metadata.open", "networks.version"}).Draw(r, "field")
	}
	bound := func(name string) query.Value {
		if rapid.Bool().Draw(r, name) {
			return nil
		}
		switch n.Field {
		case "created_at":
			return date().Draw(r, "bound")
		case "address":
			return address().Draw(r, "bound")
		case "status", "name", "metadata.open":
			return word().Draw(r, "bound")
		default:
			return json.Number(fmt.Sprint(float64(rapid.IntRange(-4, 12).Draw(r, "bound")) / 2))
		}
	}
	n.GT, n.GTE, n.LT, n.LTE = bound("gt"), bound("gte"), bound("lt"), bound("lte")
	return n
}
