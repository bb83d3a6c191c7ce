// Package compile turns documents into rows of an inverted table and queries into
// SQL over that table. Both sides are here, so that they agree on what a value is.
//
// It opens no database. Its invariants: text of a caller enters a statement only as
// an argument; a statement for a scope reads no row that the scope may not see, so
// that neither matches nor scores nor order depend on one.
package compile

import (
	"errors"
	"strings"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// ErrUnrestricted says that a request reached the store without a scope.
var ErrUnrestricted = errors.New("search request has no scope")

// Statement is a compiled request.
type Statement struct {
	// SQL selects doc, type and packed sort keys of every document that matches,
	// then its score if Scored, then its fields if Flattened. For a request of size 0
	// it selects the number of those documents.
	SQL  string
	Args []any
	Sort []SortKey
	// Scored says that scores differ from match to match; else each is Score.
	Scored    bool
	Score     float64
	Flattened bool
}

// Estimate counts the rows that a statement selects, at most limit of them.
type Estimate func(sql string, args []any, limit int) (int, error)

type compiler struct {
	s   *Schema
	req *query.Request
}

// Compile compiles a request that policy has restricted. Estimate, which may be nil,
// helps to choose where to begin.
func (s *Schema) Compile(req *query.Request, est Estimate) (*Statement, error) {
	if req.Scope == nil {
		return nil, ErrUnrestricted
	}
	c := &compiler{s: s, req: req}
	q := req.Query
	if q == nil {
		q = query.MatchAll{}
	}
	m, err := c.node(q, "query", "")
	if err != nil {
		return nil, err
	}
	st := &Statement{}
	if st.Sort, err = c.sort(); err != nil {
		return nil, err
	}
	return st, c.assemble(st, m, est)
}

// assemble writes the statement around what the query matches.
func (c *compiler) assemble(st *Statement, m match, est Estimate) error {
	p := and(c.readers(), m.p)
	drive, err := c.driver(p, est)
	if err != nil {
		return err
	}
	var b builder
	sql := "SELECT count(*)"
	if c.req.Size > 0 {
		sql = c.columns(st, m, &b)
	}
	sql += " FROM live d WHERE "
	if drive != nil {
		sql += "d.doc IN (" + drive.from(&b) + ") AND "
	}
	sql += c.types(&b, drive != nil) + p.sql(&b, scope{alias: "d"})
	if c.req.Size > 0 {
		// The order makes SQLite find all matches in one step, which can be interrupted.
		sql += " ORDER BY +d.doc"
	}
	st.SQL, st.Args = sql, b.args
	return nil
}

// columns begins a statement for hits.
func (c *compiler) columns(st *Statement, m match, b *builder) string {
	sql := "SELECT d.doc, d.type, d.keys"
	if n, ok := m.s.(number); ok {
		st.Score = float64(n)
	} else if c.wantsScore(st) {
		st.Scored = true
		sql += ", " + m.s.sql(b, scope{alias: "d"})
	}
	for _, k := range st.Sort {
		st.Flattened = st.Flattened || k.Flattened()
	}
	if st.Flattened {
		sql += ", (SELECT x.fields FROM docs x WHERE x.doc=d.doc)"
	}
	return sql
}

func (c *compiler) wantsScore(st *Statement) bool {
	for _, k := range st.Sort {
		if k.Score {
			return true
		}
	}
	return len(st.Sort) == 0
}

// types restricts to the types asked for, unless those are all.
func (c *compiler) types(b *builder, driven bool) string {
	if len(c.req.Types) == 0 {
		return "0 AND "
	}
	asked := map[string]bool{}
	args := make([]string, len(c.req.Types))
	for i, t := range c.req.Types {
		asked[t] = true
		args[i] = b.arg(t)
	}
	plus := ""
	if driven || len(asked) == len(c.s.types) {
		plus = "+"
	}
	return plus + "d.type IN (" + strings.Join(args, ",") + ") AND "
}

// readers restricts to what the scope may see.
func (c *compiler) readers() pred {
	if c.req.Scope.All {
		return fixed(true)
	}
	if len(c.req.Scope.Principals) == 0 {
		return fixed(false)
	}
	args := make([]any, len(c.req.Scope.Principals))
	for i, p := range c.req.Scope.Principals {
		args[i] = string(p)
	}
	cd := cond{fields: []int64{c.s.reader}, args: args}
	cd.where = "value IN (" + marks(len(args)) + ")"
	return &leafPred{conds: []cond{cd}, probe: true}
}

// boosted is a clause's own boost on what it scores.
func boosted(boost float64) float64 {
	if boost == 0 {
		return 1
	}
	return boost
}

// node compiles one clause. Path names it in errors; nested is the nested field
// that it is inside of.
func (c *compiler) node(n query.Node, path, nested string) (match, error) {
	switch n := n.(type) {
	case query.MatchAll:
		return match{fixed(true), number(boosted(n.Boost))}, nil
	case query.MatchNone:
		return match{fixed(false), number(0)}, nil
	case query.Term:
		return c.term(n, path+".term."+n.Field, nested)
	case query.Terms:
		return c.terms(n, path+".terms."+n.Field, nested)
	case query.IDs:
		return c.ids(n), nil
	case query.Exists:
		return match{leafOf(c.exists(n.Field, nested)), number(boosted(n.Boost))}, nil
	case query.Range:
		return c.ranges(n, path+".range."+n.Field, nested)
	case query.Prefix:
		return c.prefix(n, path+".prefix."+n.Field, nested)
	case query.Wildcard:
		return c.wildcard(n, path+".wildcard."+n.Field, nested)
	case query.Match:
		return c.match(n, path+".match", nested)
	case query.MatchPhrase:
		return c.phrase(n, path+".match_phrase", nested)
	case query.Pattern:
		return c.pattern(n, path, nested)
	case query.Bool:
		return c.boolean(n, path+".bool", nested)
	case query.Nested:
		return c.nested(n, path+".nested", nested)
	default:
		return match{}, &query.Error{Path: path, Detail: "this clause is not supported"}
	}
}
