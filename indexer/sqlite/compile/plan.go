package compile

import (
	"fmt"
	"strconv"
	"strings"
)

// builder collects the arguments of a statement. Text of a caller enters SQL only
// through arg. The pieces of a statement must be made in the order in which they
// stand in it: SQLite looks numbered arguments up one by one, which takes seconds
// for thousands.
type builder struct{ args []any }

func (b *builder) arg(v any) string {
	b.args = append(b.args, v)
	return "?"
}

// scope is what a condition is about: a document, or one element of it.
type scope struct {
	alias string // of the row that has doc and, in elements, elem
	elem  bool
}

// pred is a condition on a document or an element.
type pred interface {
	// sql is an expression that is 0 or 1, never NULL.
	sql(b *builder, s scope) string
}

// fixed is true or false whatever the document.
type fixed bool

func (f fixed) sql(*builder, scope) string {
	if f {
		return "1"
	}
	return "0"
}

// cond is a condition on rows of the inverted table: one of the fields, and where
// holds, in which each ? stands for one argument. A phrase joins one row for each of
// its words.
type cond struct {
	fields []int64
	where  string
	args   []any
	words  []cond // of a phrase, in order
	slop   int
}

// from is the rest of a SELECT on the rows that match; their columns are t's.
func (c cond) from(b *builder) string {
	if len(c.words) > 0 {
		return c.phrase(b)
	}
	return "terms t WHERE " + c.on(b, "t")
}

func (c cond) on(b *builder, alias string) string {
	var sb strings.Builder
	sb.WriteString(alias + ".field " + oneOf(c.fields))
	if c.where == "" {
		return sb.String()
	}
	sb.WriteString(" AND ")
	rest := strings.ReplaceAll(c.where, "value", alias+".value")
	for _, a := range c.args {
		before, after, _ := strings.Cut(rest, "?")
		sb.WriteString(before + b.arg(a))
		rest = after
	}
	return sb.String() + rest
}

// phrase joins the words at their distances. With a slop, the words may lie that
// many moves apart, each at a place of its own.
func (c cond) phrase(b *builder) string {
	first := c.words[0]
	first.fields = c.fields
	tables, on := []string{"terms t"}, []string{first.on(b, "t")}
	spots := []string{"t.pos"}
	for i, w := range c.words[1:] {
		a := "t" + strconv.Itoa(i+1)
		tables = append(tables, "terms "+a)
		w.fields = c.fields
		on = append(on, w.on(b, a), fmt.Sprintf("%s.field=t.field AND %s.doc=t.doc AND %s.elem=t.elem", a, a, a))
		spot := fmt.Sprintf("%s.pos-%d", a, i+1)
		if c.slop == 0 {
			on = append(on, spot+"=t.pos")
			continue
		}
		for j := range i + 1 {
			other := "t"
			if j > 0 {
				other += strconv.Itoa(j)
			}
			on = append(on, fmt.Sprintf("%s.pos<>%s.pos", a, other))
		}
		spots = append(spots, spot)
	}
	if len(spots) > 1 {
		list := strings.Join(spots, ",")
		on = append(on, fmt.Sprintf("max(%s)-min(%s)<=%s", list, list, b.arg(int64(c.slop))))
	}
	return strings.Join(tables, " CROSS JOIN ") + " WHERE " + strings.Join(on, " AND ")
}

func oneOf(ids []int64) string {
	if len(ids) == 1 {
		return "=" + strconv.FormatInt(ids[0], 10)
	}
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = strconv.FormatInt(id, 10)
	}
	return "IN (" + strings.Join(list, ",") + ")"
}

// leafPred holds if a row meets one of the conditions. A probe looks at the one
// document's rows; else all rows that match are collected first.
type leafPred struct {
	conds []cond
	probe bool
	// driving says that the statement only looks at documents that meet it.
	driving bool
}

func (p *leafPred) sql(b *builder, s scope) string {
	if p.driving {
		return "1"
	}
	parts := make([]string, len(p.conds))
	for i, c := range p.conds {
		if p.probe {
			parts[i] = "EXISTS(SELECT 1 FROM " + c.from(b) + " AND t.doc=" + s.alias + ".doc"
			if s.elem {
				parts[i] += " AND t.elem=" + s.alias + ".elem"
			}
			parts[i] += ")"
			continue
		}
		columns := "t.doc"
		if s.elem {
			columns = "t.doc,t.elem"
		}
		parts[i] = "SELECT " + columns + " FROM " + c.from(b)
	}
	if p.probe {
		return tree(parts, " OR ")
	}
	// A plus keeps SQLite from driving the statement by this set.
	who := "+" + s.alias + ".doc"
	if s.elem {
		who = "(+" + s.alias + ".doc,+" + s.alias + ".elem)"
	}
	return who + " IN (" + strings.Join(parts, " UNION ALL ") + ")"
}

// docsPred holds for the documents with these ids, of these types.
type docsPred struct{ types, ids []string }

func (p docsPred) sql(b *builder, s scope) string {
	return "+" + s.alias + ".doc IN (" + p.from(b) + ")"
}

func (p docsPred) from(b *builder) string {
	list := func(ss []string) string {
		out := make([]string, len(ss))
		for i, v := range ss {
			out[i] = b.arg(v)
		}
		return strings.Join(out, ",")
	}
	return "SELECT x.doc FROM docs x WHERE x.type IN (" + list(p.types) + ") AND x.id IN (" + list(p.ids) + ")"
}

type andPred []pred

func (p andPred) sql(b *builder, s scope) string { return tree(all(p, b, s), " AND ") }

type orPred []pred

func (p orPred) sql(b *builder, s scope) string { return tree(all(p, b, s), " OR ") }

type notPred struct{ p pred }

func (p notPred) sql(b *builder, s scope) string { return "NOT " + p.p.sql(b, s) }

// leastPred holds if at least n of its parts do.
type leastPred struct {
	n     int
	parts []pred
}

func (p leastPred) sql(b *builder, s scope) string {
	parts := all(p.parts, b, s)
	for i, part := range parts { // IN binds less than plus
		parts[i] = "(" + part + ")"
	}
	return "(" + tree(parts, "+") + ">=" + b.arg(int64(p.n)) + ")"
}

// nestedPred holds if one element meets the condition; marks are the rows that
// stand for elements.
type nestedPred struct {
	marks []int64
	p     pred
}

func (p nestedPred) sql(b *builder, s scope) string {
	return "EXISTS(SELECT 1 FROM " + p.from(b, s) + ")"
}

func (p nestedPred) from(b *builder, s scope) string {
	return "terms e WHERE e.field " + oneOf(p.marks) + " AND e.value=0 AND e.doc=" + s.alias + ".doc AND " +
		p.p.sql(b, scope{alias: "e", elem: true})
}

func all(ps []pred, b *builder, s scope) []string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.sql(b, s)
	}
	return parts
}

// tree joins parts in a balanced tree, since SQLite limits how deep expressions are.
func tree(parts []string, op string) string {
	switch len(parts) {
	case 0:
		return "1"
	case 1:
		return parts[0]
	default:
		half := len(parts) / 2
		return "(" + tree(parts[:half], op) + op + tree(parts[half:], op) + ")"
	}
}

// and, or and least drop what is fixed.
func and(ps ...pred) pred {
	var out andPred
	for _, p := range ps {
		switch p := p.(type) {
		case fixed:
			if !p {
				return p
			}
		case andPred:
			out = append(out, p...)
		default:
			out = append(out, p)
		}
	}
	return single(out, fixed(true), func() pred { return out })
}

func or(ps ...pred) pred {
	var out orPred
	for _, p := range ps {
		if f, ok := p.(fixed); ok {
			if f {
				return f
			}
			continue
		}
		out = append(out, p)
	}
	return single(out, fixed(false), func() pred { return out })
}

func single[S ~[]pred](ps S, none fixed, many func() pred) pred {
	switch len(ps) {
	case 0:
		return none
	case 1:
		return ps[0]
	default:
		return many()
	}
}

func not(p pred) pred {
	if f, ok := p.(fixed); ok {
		return !f
	}
	return notPred{p}
}

func least(n int, ps []pred) pred {
	var out []pred
	for _, p := range ps {
		if f, ok := p.(fixed); !ok {
			out = append(out, p)
		} else if f {
			n--
		}
	}
	switch {
	case n <= 0:
		return fixed(true)
	case n > len(out):
		return fixed(false)
	case n == 1:
		return or(out...)
	case n == len(out):
		return and(out...)
	default:
		return leastPred{n, out}
	}
}

// typePred holds for documents of these types.
type typePred []string

func (p typePred) sql(b *builder, s scope) string {
	args := make([]string, len(p))
	for i, t := range p {
		args[i] = b.arg(t)
	}
	return "+" + s.alias + ".doc IN (SELECT x.doc FROM live x WHERE x.type IN (" + strings.Join(args, ",") + "))"
}
