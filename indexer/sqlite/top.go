package sqlite

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/sqlite/compile"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// found is a document that matches.
type found struct {
	doc    int64
	typ    string
	id     string
	score  float64
	values []sortValue
}

// sortValue is a value to sort by; ok is false if the document has none.
type sortValue struct {
	compile.Value
	ok bool
}

// top keeps the first n of all that is added, and counts everything.
type top struct {
	keys  []compile.SortKey
	n     int
	total int
	best  float64
	all   []found // a heap, the last one first
}

func (t *top) Len() int           { return len(t.all) }
func (t *top) Less(i, j int) bool { return t.compare(t.all[i], t.all[j]) > 0 }
func (t *top) Swap(i, j int)      { t.all[i], t.all[j] = t.all[j], t.all[i] }

// Push and Pop are for package heap; only elements of this type come.
func (t *top) Push(x any) {
	if m, ok := x.(found); ok {
		t.all = append(t.all, m)
	}
}

func (t *top) Pop() any {
	m := t.all[len(t.all)-1]
	t.all = t.all[:len(t.all)-1]
	return m
}

func (t *top) add(m found) {
	t.total++
	t.best = max(t.best, m.score)
	switch {
	case len(t.all) < t.n:
		heap.Push(t, m)
	case t.n > 0 && t.compare(m, t.all[0]) < 0:
		t.all[0] = m
		heap.Fix(t, 0)
	}
}

// page is what was kept, in order, from the given place on.
func (t *top) page(from int) []found {
	slices.SortFunc(t.all, t.compare)
	return t.all[min(from, len(t.all)):]
}

// compare orders by the sort keys, or by score if there are none; ties by type and
// id.
func (t *top) compare(a, b found) int {
	if len(t.keys) == 0 {
		return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.typ, b.typ), strings.Compare(a.id, b.id))
	}
	for i, k := range t.keys {
		var c int
		switch {
		case k.Score:
			c = cmp.Compare(a.score, b.score)
		case k.ID:
			c = strings.Compare(a.id, b.id)
		case k.Type:
			c = strings.Compare(a.typ, b.typ)
		default:
			va, vb := a.values[i], b.values[i]
			if va.ok != vb.ok { // those without a value: last, or first
				if va.ok == k.First {
					return 1
				}
				return -1
			}
			c = va.Compare(vb.Value)
		}
		if k.Desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Or(strings.Compare(a.typ, b.typ), strings.Compare(a.id, b.id))
}

// sorted writes the score and the sort values of a hit.
func (m found) sorted(req *query.Request, h *query.Hit) {
	scored := len(req.Sort) == 0
	for i, s := range req.Sort {
		v := json.RawMessage("null")
		switch {
		case s.Field == "_score":
			scored = true
			v = compile.NumberJSON(m.score)
		case s.Field == "_id" || s.Field == "id" && !m.values[i].ok:
			v = compile.TextJSON(m.id)
		case s.Field == "_type":
			v = compile.TextJSON(m.typ)
		case m.values[i].ok:
			v = m.values[i].JSON()
		}
		h.Sort = append(h.Sort, v)
	}
	if scored {
		h.Score = &m.score
	}
}
