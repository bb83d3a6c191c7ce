package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// testRandom compares a store with the interpreter: random documents, written over
// each other, and random searches of operators and tenants must give the same
// totals, hits, order, scores and sort values.
func testRandom(t *testing.T, open Open) {
	h := open(t, Types())
	model := NewSloppy(Types(), Faults{})
	rapid.Check(t, func(r *rapid.T) {
		clean(t, h, model)
		for range rapid.IntRange(1, 3).Draw(r, "rounds") {
			docs := rapid.SliceOfNDistinct(documents(), 1, 12, func(d resource.Document) string { return d.Ref.Key() }).Draw(r, "documents")
			for _, s := range []Harness{h, {Store: model}} {
				s.overwrite(t, docs...)
			}
		}
		h.refresh(t)
		for range 12 {
			req := requests().Draw(r, "request")
			want, wantErr := model.Search(t.Context(), req)
			got, err := h.Search.Search(t.Context(), req)
			if err != nil || wantErr != nil {
				r.Fatalf("Search(%+v) = %v, want %v", req, err, wantErr)
			}
			if diff := cmp.Diff(answered(want), answered(got), cmp.Comparer(near)); diff != "" {
				r.Fatalf("%s (-want +got):\n%s", describe(req), diff)
			}
		}
	})
}

// overwrite writes documents whatever is stored.
func (h Harness) overwrite(t testing.TB, docs ...resource.Document) {
	t.Helper()
	refs := make([]resource.Ref, len(docs))
	for i, d := range docs {
		refs[i] = d.Ref
	}
	for i, d := range h.load(t, refs...) {
		docs[i].Version = d.Version
	}
	h.write(t, docs...)
}

// clean empties a store through tombstones and a sweep.
func clean(t testing.TB, h Harness, model *Sloppy) {
	t.Helper()
	var dead []resource.Document
	for _, d := range model.All() {
		dead = append(dead, tombstone(d.Ref))
	}
	for _, s := range []Harness{h, {Store: model}} {
		s.overwrite(t, dead...)
		if _, err := s.Store.Sweep(t.Context(), time.Now().Add(time.Hour), 1000); err != nil {
			t.Fatal(err)
		}
	}
}

// near bears scores of single precision, as Elasticsearch has them.
func near(a, b float64) bool { return math.Abs(a-b) < 1e-6*max(1, math.Abs(a)) }

func describe(req query.Request) string {
	return fmt.Sprintf("Search(types %v, query %#v, sort %v, from %d, size %d, scope %+v)",
		req.Types, req.Query, req.Sort, req.From, req.Size, *req.Scope)
}

// answer is what must be equal.
type answer struct {
	Total    int
	MaxScore float64
	Hits     []answerHit
}

type answerHit struct {
	Ref      resource.Ref
	Score    float64
	Revision int64
	Source   string
	Sort     []any
}

func answered(res query.Result) answer {
	a := answer{Total: res.Total}
	if res.MaxScore != nil {
		a.MaxScore = *res.MaxScore
	}
	for _, h := range res.Hits {
		x := answerHit{Ref: h.Ref, Score: -1, Revision: h.Revision, Source: string(h.Source)}
		if h.Score != nil {
			x.Score = *h.Score
		}
		for _, v := range h.Sort {
			var one any
			if json.Unmarshal(v, &one) != nil {
				one = "malformed: " + string(v)
			}
			x.Sort = append(x.Sort, one)
		}
		a.Hits = append(a.Hits, x)
	}
	return a
}

func word() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"web", "db", "Prod", "01", "example.net", "web-01", "ÉTÉ", "a*b", "x_y", "[z]", "50%", "", "10.0.0.2"})
}

func sentence() *rapid.Generator[string] {
	return rapid.Custom(func(r *rapid.T) string {
		return strings.Join(rapid.SliceOfN(word(), 1, 4).Draw(r, "words"), " ")
	})
}

func date() *rapid.Generator[string] {
	return rapid.Custom(func(r *rapid.T) string {
		return fmt.Sprintf("2026-05-%02dT%02d:00:00Z", rapid.IntRange(1, 4).Draw(r, "day"), rapid.IntRange(0, 3).Draw(r, "hour"))
	})
}

func address() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.0.1", "fd00::1", "fd00::2", "::1"})
}

func quoted(s string) string {
	b, err := resource.Canonical(s)
	if err != nil {
		return "null"
	}
	return string(b)
}

// documents makes documents of the kit's types, some of them unseen.
func documents() *rapid.Generator[resource.Document] {
	return rapid.Custom(func(r *rapid.T) resource.Document {
		ref := resource.Ref{Type: rapid.SampledFrom([]string{Server, Server, Port}).Draw(r, "type"), ID: rapid.StringMatching(`[a-d][0-4]`).Draw(r, "id")}
		fields := map[string]string{"id": quoted(ref.ID)}
		maybe := func(name string, value func() string) {
			if rapid.IntRange(0, 2).Draw(r, name) > 0 {
				fields[name] = value()
			}
		}
		small := func() string { return fmt.Sprint(rapid.IntRange(-2, 5).Draw(r, "n")) }
		half := func() string { return fmt.Sprint(float64(rapid.IntRange(-4, 6).Draw(r, "n")) / 2) }
		maybe("name", func() string { return quoted(sentence().Draw(r, "name")) })
		maybe("status", func() string { return quoted(word().Draw(r, "status")) })
		if ref.Type == Port {
			maybe("size", half)
			maybe("network_id", func() string { return quoted(word().Draw(r, "network")) })
		} else {
			maybe("size", small)
			maybe("load", half)
			maybe("description", func() string {
				return "[" + quoted(sentence().Draw(r, "one")) + "," + quoted(sentence().Draw(r, "two")) + "]"
			})
			maybe("flavor.id", func() string { return quoted(word().Draw(r, "flavor")) })
			maybe("locked", func() string { return fmt.Sprint(rapid.Bool().Draw(r, "locked")) })
			maybe("created_at", func() string { return quoted(date().Draw(r, "created")) })
			maybe("address", func() string { return quoted(address().Draw(r, "address")) })
			maybe("hypervisor", func() string { return quoted(word().Draw(r, "hypervisor")) })
			maybe("metadata", func() string {
				return fmt.Sprintf(`{"open":%s,"rack":{"row":[%s,1]},"secret_x":%s}`,
					quoted(word().Draw(r, "m1")), quoted(word().Draw(r, "m2")), quoted(word().Draw(r, "m3")))
			})
			maybe("other.zone", func() string { return quoted(word().Draw(r, "zone")) })
			maybe("other.host_x", func() string { return quoted(word().Draw(r, "host")) })
			maybe("networks", func() string { return networks(r) })
		}
		d := Doc(ref, rapid.SliceOfNDistinct(principal(), 0, 2, rapid.ID).Draw(r, "readers"), fields)
		switch rapid.IntRange(0, 7).Draw(r, "seen") {
		case 0:
			d.Revision, d.TenantRevision = 0, 0
		case 1:
			d.Deleted = true
		}
		return d
	})
}

func networks(r *rapid.T) string {
	var list []string
	for range rapid.IntRange(0, 3).Draw(r, "networks") {
		list = append(list, fmt.Sprintf(`{"label":%s,"name":%s,"version":%d,"vlan":%d}`, quoted(sentence().Draw(r, "label")),
			quoted(word().Draw(r, "network")), rapid.IntRange(4, 6).Draw(r, "version"), rapid.IntRange(1, 3).Draw(r, "vlan")))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func principal() *rapid.Generator[resource.Principal] {
	return rapid.SampledFrom([]resource.Principal{"project:a", "project:b", "user:u", "*"})
}

func requests() *rapid.Generator[query.Request] {
	return rapid.Custom(func(r *rapid.T) query.Request {
		req := query.Request{
			Types: rapid.SampledFrom([][]string{{Port, Server}, {Server}, {Server}, {Port}}).Draw(r, "types"),
			From:  rapid.IntRange(0, 3).Draw(r, "from"), Size: rapid.IntRange(0, 8).Draw(r, "size"),
			Scope: rapid.SampledFrom([]*query.Scope{operator(), {All: true}, tenant("a"), {Principals: []resource.Principal{"user:u", "project:b"}}}).Draw(r, "scope"),
		}
		req.Query = clause(r, 3, "")
		server := req.Types[len(req.Types)-1] == Server
		for range rapid.IntRange(0, 2).Draw(r, "sorts") {
			fields := []string{"_score", "_id", "name", "name.raw", "size", "id"}
			if server {
				fields = append(fields, "status", "load", "created_at", "address", "locked", "metadata.open", "other.zone")
			}
			req.Sort = append(req.Sort, query.Sort{
				Field: rapid.SampledFrom(fields).Draw(r, "field"), Desc: rapid.Bool().Draw(r, "desc"),
				Missing: rapid.SampledFrom([]string{"", "_last", "_first"}).Draw(r, "missing"),
				Mode:    rapid.SampledFrom([]string{"", "min", "max"}).Draw(r, "mode"),
			})
		}
		return req
	})
}
