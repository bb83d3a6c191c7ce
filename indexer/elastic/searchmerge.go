package elastic

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/elastic/dsl"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/searchapi/query"
	"github.com/fresnel-search/fresnel/searchapi/view"
)

// merger makes one answer of those to a plan's parts.
type merger struct {
	req  *query.Request
	plan *dsl.Plan
	view *view.View

	total    int
	best     *float64
	hits     []sortedHit
	timedOut bool
	shards   int
	failed   int
	failures []string // types of errors
}

// sortedHit is a hit before it is shown.
type sortedHit struct {
	doc    resource.Document
	score  *float64
	values []dsl.Value
}

// add reads the answer to one part.
func (m *merger) add(part *dsl.Part, body []byte) error {
	r := wire.NewReader(body)
	r.Object(func(name string) bool {
		switch name {
		case "timed_out":
			m.timedOut = r.Bool() || m.timedOut
		case "_shards":
			m.readShards(r)
		case "hits":
			m.readHits(r, part)
		default:
			r.Skip()
		}
		return true
	})
	if err := r.Close(); err != nil {
		return fmt.Errorf("answer to a search: %w", errors.Join(resource.ErrAgain, err))
	}
	return nil
}

func (m *merger) readShards(r *wire.Reader) {
	r.Object(func(name string) bool {
		switch name {
		case "total":
			m.shards += int(r.Int())
		case "failed":
			m.failed += int(r.Int())
		case "failures":
			r.Array(func() {
				if f := quoteFree(r.Raw()); !slices.Contains(m.failures, f) {
					m.failures = append(m.failures, f)
				}
			})
		default:
			r.Skip()
		}
		return true
	})
}

func (m *merger) readHits(r *wire.Reader, part *dsl.Part) {
	r.Object(func(name string) bool {
		switch name {
		case "total":
			r.Object(func(name string) bool {
				if name == "value" {
					m.total += int(r.Int())
				} else {
					r.Skip()
				}
				return true
			})
		case "max_score":
			if f := score(r.Raw()); f != nil && (m.best == nil || *f > *m.best) {
				m.best = f
			}
		case "hits":
			r.Array(func() { m.hits = append(m.hits, m.readHit(r, part)) })
		default:
			r.Skip()
		}
		return true
	})
}

func (m *merger) readHit(r *wire.Reader, part *dsl.Part) (h sortedHit) {
	var sort []json.RawMessage
	r.Object(func(name string) bool {
		switch name {
		case "_score":
			h.score = score(r.Raw())
		case "_source":
			h.doc = layout.ReadHit(r)
		case "sort":
			r.Array(func() { sort = append(sort, r.Raw()) })
		default:
			r.Skip()
		}
		return true
	})
	h.values = dsl.Values(part.Keys, sort, h.doc.Ref.ID)
	if !m.plan.Scored {
		h.score = nil
	}
	for i, s := range m.req.Sort {
		if s.Field == "_score" {
			f := h.values[i].Number()
			h.score = &f
		}
	}
	return h
}

// score is a score as servers send it; nil for null.
func score(raw json.RawMessage) *float64 {
	var f *float64
	if json.Unmarshal(raw, &f) != nil {
		return nil
	}
	return f
}

// page puts hits of several parts in order and cuts out what was asked for.
func (m *merger) page() []sortedHit {
	if len(m.plan.Parts) < 2 {
		return m.hits
	}
	keys := m.plan.Parts[0].Keys
	slices.SortFunc(m.hits, func(a, b sortedHit) int {
		c := dsl.Compare(keys, a.values, b.values)
		if len(keys) == 0 && a.score != nil && b.score != nil {
			c = cmp.Compare(*b.score, *a.score)
		}
		return cmp.Or(c, strings.Compare(a.doc.Ref.Type, b.doc.Ref.Type), strings.Compare(a.doc.Ref.ID, b.doc.Ref.ID))
	})
	m.hits = m.hits[min(m.req.From, len(m.hits)):]
	return m.hits[:min(m.req.Size, len(m.hits))]
}

// result shows the hits to the scope.
func (m *merger) result(limit time.Duration) (query.Result, error) {
	res := query.Result{Total: m.total}
	if len(m.req.Sort) == 0 && m.req.Size > 0 {
		res.MaxScore = m.best
	}
	if m.timedOut {
		res.Partial = ranOut(limit)
	}
	if m.failed > 0 {
		res.Partial = joinWords(res.Partial, fmt.Sprintf("%d of %d shards of the index did not answer", m.failed, m.shards))
	}
	for _, found := range m.page() {
		h, err := m.view.Hit(&found.doc, m.req.Scope, m.req.Source)
		if err != nil {
			return res, err
		}
		h.Score = found.score
		for _, v := range found.values {
			h.Sort = append(h.Sort, v.JSON())
		}
		res.Hits = append(res.Hits, h)
	}
	return res, nil
}
