package sqlite_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// cloudy makes a document of about forty values, as a server's is.
func cloudy(r *rand.Rand, n int) resource.Document {
	hex := func() string { return fmt.Sprintf(`"%08x-%04x-%04x"`, r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<16)) }
	f := map[string]string{
		"id": fmt.Sprintf(`"%08d"`, n), "name": fmt.Sprintf(`"web-%d.example.net"`, r.IntN(1000)), "status": []string{`"ACTIVE"`, `"ERROR"`}[r.IntN(2)],
		"size": fmt.Sprint(r.IntN(100)), "load": fmt.Sprint(r.Float64()), "locked": "false", "flavor.id": fmt.Sprintf(`"m%d"`, r.IntN(9)),
		"description": `"a server in zone nova"`, "address": fmt.Sprintf(`"10.%d.%d.%d"`, r.IntN(200), r.IntN(200), r.IntN(200)),
		"created_at": fmt.Sprintf(`"2026-05-%02dT%02d:00:00Z"`, 1+r.IntN(28), r.IntN(24)), "hypervisor": fmt.Sprintf(`"hv%d"`, r.IntN(50)),
		"metadata": fmt.Sprintf(`{"role":"r%d","owner":%s}`, r.IntN(5), hex()),
		"networks": fmt.Sprintf(`[{"name":"n%d","version":4,"label":"blue net"},{"name":"n%d","version":6}]`, r.IntN(99), r.IntN(99)),
	}
	for i := range 8 {
		f[fmt.Sprint("other.k", i)] = hex()
	}
	project := resource.Project(fmt.Sprint(r.IntN(100)))
	return storetest.Doc(resource.Ref{Type: storetest.Server, ID: fmt.Sprintf("%08d", n)}, []resource.Principal{project}, f)
}

func fill(b *testing.B, s *sqlite.Store, from, n int) {
	b.Helper()
	r := rand.New(rand.NewPCG(uint64(from), 2))
	for i := from; i < from+n; i += 1000 {
		docs := make([]resource.Document, 1000)
		for k := range docs {
			docs[k] = cloudy(r, i+k)
		}
		write(b, s, docs...)
	}
}

func BenchmarkWriteThousandNew(b *testing.B) {
	s := open(b, b.TempDir(), storetest.Types())
	n := 0
	for b.Loop() {
		fill(b, s, n, 1000)
		n += 1000
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkUpdateThousand(b *testing.B) {
	s := open(b, b.TempDir(), storetest.Types())
	fill(b, s, 0, 10_000)
	refs := make([]resource.Ref, 1000)
	r := rand.New(rand.NewPCG(1, 1))
	n := 0
	var loading time.Duration
	for b.Loop() {
		for i, k := range r.Perm(10_000)[:1000] {
			refs[i] = resource.Ref{Type: storetest.Server, ID: fmt.Sprintf("%08d", k)}
		}
		start := time.Now()
		docs, err := s.Load(b.Context(), refs)
		if err != nil {
			b.Fatal(err)
		}
		loading += time.Since(start)
		for i := range docs {
			docs[i].Fields["status"] = json.RawMessage(fmt.Sprintf(`"S%d"`, r.IntN(5)))
			docs[i].Fields["size"] = json.RawMessage(fmt.Sprint(r.IntN(100)))
		}
		write(b, s, docs...)
		n += 1000
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
	b.ReportMetric(float64(loading.Microseconds())/float64(n), "load-µs/doc")
}

func BenchmarkWriteOne(b *testing.B) {
	s := open(b, b.TempDir(), storetest.Types())
	fill(b, s, 0, 10_000)
	r := rand.New(rand.NewPCG(3, 3))
	for n := 20_000; b.Loop(); n++ {
		write(b, s, cloudy(r, n))
	}
}

func BenchmarkSearch(b *testing.B) {
	s := open(b, b.TempDir(), storetest.Types())
	fill(b, s, 0, 50_000)
	tenant := &query.Scope{Principals: []resource.Principal{"project:7", "*"}}
	all := &query.Scope{All: true, Hidden: true}
	for _, c := range []struct {
		name  string
		n     query.Node
		scope *query.Scope
		sort  []query.Sort
	}{
		{"tenant sorted", query.MatchAll{}, tenant, []query.Sort{{Field: "created_at", Desc: true}}},
		{"all sorted", query.MatchAll{}, all, []query.Sort{{Field: "created_at", Desc: true}}},
		{"tenant free text", query.Match{Fields: []string{"*"}, Text: "zone nova", Lenient: true}, tenant, nil},
		{"all free text", query.Match{Fields: []string{"*"}, Text: "web 17", Lenient: true}, all, nil},
		{"tenant wildcard", query.Wildcard{Field: "name.raw", Value: "*-7*"}, tenant, nil},
		{"tenant range and not", query.Bool{
			Filter:  []query.Node{query.Range{Field: "created_at", GTE: "2026-05-10T00:00:00Z"}, query.Range{Field: "size", LT: json.Number("20")}},
			MustNot: []query.Node{query.Term{Field: "status", Value: "ERROR"}},
		}, tenant, []query.Sort{{Field: "name"}}},
		{"nested", query.Nested{Path: "networks", Query: query.Bool{Must: []query.Node{
			query.Term{Field: "networks.name", Value: "n7"}, query.Term{Field: "networks.version", Value: json.Number("6")},
		}}}, all, nil},
		{"by id", query.IDs{Values: []string{"00000077"}}, all, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				res, err := s.Search(b.Context(), query.Request{
					Types: []string{storetest.Server}, Query: c.n, Scope: c.scope, Sort: c.sort, Size: 20, Timeout: time.Minute,
				})
				if err != nil || res.Total == 0 {
					b.Fatal(res.Total, err)
				}
			}
		})
	}
}
