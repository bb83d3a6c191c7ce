package dsl

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// ErrUnrestricted says that a request reached the store without a scope.
var ErrUnrestricted = errors.New("search request has no scope")

// Part is one search: the body for some of the indices. Most requests are one part;
// those that sort by a name which stands for different things in different types are
// several, and what they find is merged.
type Part struct {
	Indices []int // positions in what Compile was given
	Body    json.RawMessage
	Keys    []Key // of the hits' sort values
}

// Plan is a compiled request.
type Plan struct {
	Parts  []Part
	Scored bool // hits have scores
}

type compiler struct {
	req      *query.Request
	indices  []*Index
	verdicts verdicts
	clash    []map[string]kind // by index, fields that ranges were made for
}

// Compile compiles a request that policy has restricted for the indices of its types.
// Timeout is how long a server may take. No parts means that nothing can match. The
// error is a *query.Error for what the caller did.
func Compile(req *query.Request, indices []*Index, timeout time.Duration) (*Plan, error) {
	if req.Scope == nil {
		return nil, ErrUnrestricted
	}
	c := &compiler{req: req, indices: indices, clash: make([]map[string]kind, len(indices))}
	q := req.Query
	if q == nil {
		q = query.MatchAll{}
	}
	bodies := make([]any, len(indices))
	for i, ix := range indices {
		c.clash[i] = map[string]kind{}
		bodies[i] = typeCompiler{c, ix}.node(q, place{path: "query"})
	}
	if err := c.verdicts.err(); err != nil {
		return nil, err
	}
	keys, err := c.sortKeys()
	if err != nil {
		return nil, err
	}
	p := &Plan{Scored: len(req.Sort) == 0 || slices.ContainsFunc(req.Sort, func(s query.Sort) bool { return s.Field == "_score" })}
	if !req.Scope.All && len(req.Scope.Principals) == 0 {
		return p, nil
	}
	parts := c.parts(bodies, keys)
	if len(parts) > 1 && req.Size > 0 { // what is merged begins at the beginning
		r := *req
		r.From, r.Size = 0, req.From+req.Size
		c.req = &r
	}
	for _, members := range parts {
		if err := c.add(p, members, bodies, keys, timeout); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add writes one part.
func (c *compiler) add(p *Plan, members []int, bodies []any, keys [][]Key, timeout time.Duration) error {
	part := Part{Indices: members, Keys: joined(keys, members)}
	from, size := c.req.From, c.req.Size
	q, err := c.grouped(members, bodies)
	if err != nil {
		return err
	}
	body := object{
		"size": size, "track_total_hits": true, "timeout": strconv.FormatInt(max(1, timeout.Milliseconds()), 10) + "ms",
		"query": c.around(q, p.Scored && size > 0),
	}
	if size > 0 {
		body["from"] = from
		body["sort"] = sortBody(part.Keys)
		if len(c.req.Sort) == 0 {
			body["track_scores"] = true // for the best score of all
		}
	}
	part.Body, err = json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write a search: %w", err)
	}
	p.Parts = append(p.Parts, part)
	return nil
}

// around puts the filters that every search has around a query.
func (c *compiler) around(q any, scored bool) any {
	filter := list{on("term", layout.Live, object{"value": true})}
	if !c.req.Scope.All {
		filter = append(filter, clause("terms", object{layout.Readers: c.req.Scope.Principals}))
	}
	body := object{}
	if scored {
		body["must"] = list{q}
	} else {
		filter = append(filter, q)
	}
	body["filter"] = filter
	return clause("bool", body)
}

// grouped joins what was made for each index; those that came out the same are one
// group. Servers drop a group where its index is another before they look at it.
func (c *compiler) grouped(members []int, bodies []any) (any, error) {
	type group struct {
		body  any
		names []string
	}
	var groups []*group
	at := map[string]*group{}
	for _, i := range members {
		b, err := json.Marshal(bodies[i])
		if err != nil {
			return nil, fmt.Errorf("write a query: %w", err)
		}
		g := at[string(b)]
		if g == nil {
			g = &group{body: json.RawMessage(b)}
			at[string(b)] = g
			groups = append(groups, g)
		}
		g.names = append(g.names, c.indices[i].name)
	}
	if len(groups) == 1 {
		return groups[0].body, nil
	}
	var qs list
	for _, g := range groups {
		qs = append(qs, clause("bool", object{"must": list{g.body}, "filter": list{clause("terms", object{"_index": g.names})}}))
	}
	return anyOf(qs), nil
}

// parts divides the indices in which something can match into searches: two indices
// share one unless a field that it sorts by or has ranges on is another thing in each.
func (c *compiler) parts(bodies []any, keys [][]Key) (parts [][]int) {
	for i := range bodies {
		if bodies[i] == nil {
			continue
		}
		at := slices.IndexFunc(parts, func(members []int) bool {
			return !slices.ContainsFunc(members, func(j int) bool { return c.clashes(i, j, keys) })
		})
		if at < 0 {
			parts = append(parts, []int{i})
			continue
		}
		parts[at] = append(parts[at], i)
	}
	return parts
}

func (c *compiler) clashes(i, j int, keys [][]Key) bool {
	for k := range c.req.Sort {
		if keys[i][k].clashes(keys[j][k], c.indices[j]) || keys[j][k].clashes(keys[i][k], c.indices[i]) {
			return true
		}
	}
	return c.indices[j].clashes(c.clash[i]) || c.indices[i].clashes(c.clash[j])
}

// clashes reports whether an index has one of the fields as a date although it is none
// where the range was made: OpenSearch reads the bounds before it drops the group.
func (ix *Index) clashes(used map[string]kind) bool {
	for name, k := range used {
		if ix.kinds[name] == date && k != date {
			return true
		}
	}
	return false
}

// ranged remembers that a range was made for a target's fields.
func (c *compiler) ranged(ix *Index, t target) {
	if t.kind == flat {
		return
	}
	c.clash[slices.Index(c.indices, ix)][t.fields[0]] = t.kind
}

// known reports whether a field has a place in any of the types searched.
func (c *compiler) known(name, nested string) bool {
	return slices.ContainsFunc(c.indices, func(ix *Index) bool {
		_, ok := ix.lookup(name, nested, c.req.Scope)
		return ok
	})
}

func (c *compiler) fail(path, detail string) {
	c.verdicts.fail(&query.Error{Path: path, Detail: detail})
}

// verdicts remember for each value in the query whether some type's field can hold it:
// one that no field can hold is the caller's mistake.
type verdicts struct {
	order []string
	all   map[string]*verdict
	first error
}

type verdict struct {
	path string
	kind kind
	ok   bool
}

func (v *verdicts) add(path, key string, k kind, ok bool) {
	id := path + "\x00" + key
	if v.all == nil {
		v.all = map[string]*verdict{}
	}
	one := v.all[id]
	if one == nil {
		one = &verdict{path: path, kind: k}
		v.all[id] = one
		v.order = append(v.order, id)
	}
	one.ok = one.ok || ok
}

func (v *verdicts) fail(err error) {
	if v.first == nil {
		v.first = err
	}
}

func (v *verdicts) err() error {
	for _, id := range v.order {
		if one := v.all[id]; !one.ok {
			return &query.Error{Path: one.path, Detail: fmt.Sprintf("a field of type %s cannot hold this value", one.kind)}
		}
	}
	return v.first
}
