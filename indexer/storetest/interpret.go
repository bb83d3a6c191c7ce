package storetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// ErrUnrestricted says that a request has no scope.
var ErrUnrestricted = errors.New("search request has no scope")

// Search evaluates the request on each document in turn. It selects no members and
// knows no value that a field cannot hold: those match nothing.
func (s *Sloppy) Search(ctx context.Context, req query.Request) (res query.Result, err error) {
	return s.search(ctx, req, func() map[resource.Ref]resource.Document { return s.shown })
}

// search evaluates the request on the documents given, which are read under the lock.
func (s *Sloppy) search(ctx context.Context, req query.Request, documents func() map[resource.Ref]resource.Document) (res query.Result, err error) {
	if err := ctx.Err(); err != nil {
		return res, err
	}
	if req.Scope == nil {
		return res, ErrUnrestricted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []candidate
	for _, d := range documents() {
		t := s.types[d.Ref.Type]
		if t == nil || d.Ghost() || d.Deleted || !slices.Contains(req.Types, d.Ref.Type) || !req.Scope.Sees(d.Readers) {
			continue
		}
		w := view{ref: d.Ref, all: index(t, &d, req.Scope.Hidden), names: func(path string) []string {
			return s.names(req, path)
		}}
		ok, score := true, 1.0
		if req.Query != nil {
			ok, score = w.eval(req.Query)
		}
		if ok {
			found = append(found, candidate{d: &d, w: w, score: score})
		}
	}
	if err := s.checkSort(req); err != nil {
		return res, err
	}
	slices.SortFunc(found, func(a, b candidate) int { return a.compare(b, req.Sort) })
	res.Total = len(found)
	for i, c := range found {
		if i == 0 && len(req.Sort) == 0 && req.Size > 0 {
			res.MaxScore = &found[0].score
		}
		if i < req.From || i >= req.From+req.Size {
			continue
		}
		res.Hits = append(res.Hits, s.hit(c, req))
	}
	return res, nil
}

// Get finds one resource in a scope, as it is stored, never as of a refresh.
func (s *Sloppy) Get(ctx context.Context, ref resource.Ref, scope query.Scope) (h query.Hit, err error) {
	res, err := s.search(ctx, query.Request{
		Types: []string{ref.Type}, Query: query.IDs{Values: []string{ref.ID}}, Size: 1, Scope: &scope,
	}, func() map[resource.Ref]resource.Document { return s.docs })
	if err != nil || len(res.Hits) == 0 {
		return h, cmp.Or(err, query.ErrNotFound)
	}
	h = res.Hits[0]
	h.Score = nil
	return h, nil
}

// names are the fields that the searched types have in a nested field, or outside.
func (s *Sloppy) names(req query.Request, path string) (names []string) {
	for _, typ := range req.Types {
		t := s.types[typ]
		if t == nil {
			continue
		}
		for _, f := range t.Fields {
			fields := []catalog.Field{f}
			if f.Type == catalog.Nested {
				fields = f.Fields
			}
			for _, m := range fields {
				if f.Type == catalog.Nested {
					m.Name = f.Name + "." + m.Name
				}
				if (path == "") == (f.Type == catalog.Nested) || path != "" && f.Name != path ||
					(f.AdminOnly || m.AdminOnly) && !req.Scope.Hidden {
					continue
				}
				names = append(names, m.Name)
				if m.Type == catalog.Text {
					names = append(names, m.Name+".raw")
				}
			}
		}
	}
	if path == "" {
		names = append(names, catalog.Other)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkSort refuses to sort by what no type has.
func (s *Sloppy) checkSort(req query.Request) error {
	for _, k := range req.Sort {
		names := s.names(req, "")
		base, _, _ := strings.Cut(k.Field, ".")
		if strings.HasPrefix(k.Field, "_") || slices.Contains(names, k.Field) || base == catalog.Other || base == "metadata" {
			continue
		}
		return &query.Error{Path: "sort." + k.Field, Detail: "there is no such field to sort by"}
	}
	return nil
}

type candidate struct {
	d     *resource.Document
	w     view
	score float64
}

func (c candidate) compare(o candidate, keys []query.Sort) int {
	if len(keys) == 0 {
		keys = []query.Sort{{Field: "_score", Desc: true}}
	}
	for _, k := range keys {
		r := 0
		switch k.Field {
		case "_score":
			r = cmp.Compare(c.score, o.score)
		case "_id":
			r = strings.Compare(c.d.Ref.ID, o.d.Ref.ID)
		default:
			a, okA := c.sortValue(k)
			b, okB := o.sortValue(k)
			switch {
			case okA != okB:
				if okA == (k.Missing == "_first") {
					return 1
				}
				return -1
			case okA:
				r = compareSorted(a, b)
			}
		}
		if k.Desc {
			r = -r
		}
		if r != 0 {
			return r
		}
	}
	return cmp.Or(strings.Compare(c.d.Ref.Type, o.d.Ref.Type), strings.Compare(c.d.Ref.ID, o.d.Ref.ID))
}

// compareSorted compares values of perhaps different types: numbers before texts.
func compareSorted(a, b value) int {
	x, y := a.sortJSON(), b.sortJSON()
	numA, numB := x[0] != '"', y[0] != '"'
	switch {
	case numA && numB:
		return compareAs(catalog.Double, string(x), string(y))
	case numA != numB:
		if numA {
			return -1
		}
		return 1
	case a.typ == catalog.IP && b.typ == catalog.IP:
		return compareAs(catalog.IP, a.v, b.v)
	default:
		return strings.Compare(a.v, b.v)
	}
}

func (c candidate) sortValue(k query.Sort) (best value, ok bool) {
	name := k.Field
	for _, v := range c.w.values(func(n string) bool { return n == name || n == name+".raw" }) {
		if v.typ == catalog.Text {
			continue
		}
		larger := k.Mode == "max" || k.Mode == "" && k.Desc
		if ok {
			if r := compareSorted(v, best); larger && r <= 0 || !larger && r >= 0 {
				continue
			}
		}
		best, ok = v, true
	}
	return best, ok
}

// sortJSON is a sort value as Elasticsearch shows it.
func (v value) sortJSON() json.RawMessage {
	switch v.typ {
	case catalog.Date:
		ms, _ := instant(v.v)
		return json.RawMessage(strconv.FormatInt(ms, 10))
	case catalog.Boolean:
		return json.RawMessage(map[string]string{"true": "1", "false": "0"}[v.v])
	case catalog.Long, catalog.Double:
		return json.RawMessage(v.v)
	case catalog.IP:
		a, _ := netip.ParseAddr(v.v)
		return json.RawMessage(strconv.Quote(a.String()))
	default:
		return json.RawMessage(strconv.Quote(v.v))
	}
}

// hit shows a candidate, hidden fields and members of nested fields left out.
func (s *Sloppy) hit(c candidate, req query.Request) query.Hit {
	t := s.types[c.d.Ref.Type]
	h := query.Hit{Ref: c.d.Ref, Revision: c.d.TenantRevision}
	if req.Scope.Hidden {
		h.Revision = c.d.Revision
	}
	fields := map[string]json.RawMessage{"id": json.RawMessage(fmt.Sprintf("%q", c.d.Ref.ID))}
	for name, raw := range c.d.Fields {
		f, _ := declared(t, name)
		if (f.AdminOnly || t.Hidden(name)) && !req.Scope.Hidden {
			continue
		}
		v := parse(raw)
		if !req.Scope.Hidden {
			strip(t, name, v)
		}
		if clean, err := resource.Canonical(v); err == nil {
			fields[name] = clean
		}
	}
	h.Source = resource.Render(fields)
	scored := len(req.Sort) == 0
	for _, k := range req.Sort {
		v := json.RawMessage("null")
		switch k.Field {
		case "_score":
			scored = true
			v = json.RawMessage(strconv.FormatFloat(c.score, 'g', -1, 64))
		case "_id":
			v = json.RawMessage(strconv.Quote(c.d.Ref.ID))
		default:
			if best, ok := c.sortValue(k); ok {
				v = best.sortJSON()
			}
		}
		h.Sort = append(h.Sort, v)
	}
	if scored {
		h.Score = &c.score
	}
	return h
}

// strip removes hidden members.
func strip(t *catalog.Type, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, m := range v {
			if member, _ := t.Field(path + "." + key); t.Hidden(path+"."+key) || member.AdminOnly || hiddenMember(t, path, key) {
				delete(v, key)
				continue
			}
			strip(t, path+"."+key, m)
		}
	case []any:
		for _, e := range v {
			strip(t, path, e)
		}
	}
}

func hiddenMember(t *catalog.Type, path, key string) bool {
	f, _ := declared(t, path)
	return slices.ContainsFunc(f.Fields, func(m catalog.Field) bool { return m.Name == key && m.AdminOnly })
}
