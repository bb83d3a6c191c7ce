package query

import (
	"fmt"
	"strconv"
	"strings"
)

// simpleQueryString parses simple_query_string, in which no text is malformed: an
// operator that makes no sense is left out.
func (p *parser) simpleQueryString(path string, v any) (Node, error) {
	o := readOptions(path, v)
	text := o.required("query")
	f := freeOptions(o)
	o.choice("flags", "ALL")
	minimum, boost := o.minimum(), o.boost()
	if err := o.done(); err != nil {
		return nil, err
	}
	s := &simple{p: p, free: f, text: []rune(text)}
	n, err := s.query(true)
	if err != nil {
		return nil, wordAt(join(path, "query"), err)
	}
	if n == nil {
		return MatchNone{}, nil
	}
	return withBoost(withMinimum(n, minimum), boost), nil
}

// simple parses one text. Operators bind from left to right.
type simple struct {
	p    *parser
	free free
	text []rune
	pos  int
}

// chain is what was read so far in one pair of parentheses.
type chain struct {
	top      Node
	and      bool // the operator between all clauses of top, once there are two
	joined   bool
	op       rune // the operator read before the next clause; 0 is the default
	negative bool
}

func (s *simple) query(outer bool) (Node, error) {
	var c chain
	for s.pos < len(s.text) {
		r := s.text[s.pos]
		switch {
		case r == ')':
			s.pos++
			if !outer {
				return c.top, nil
			}
		case r == '-':
			s.pos++
			c.negative = !c.negative
		case r == '+' || r == '|':
			s.pos++
			if c.op == 0 && c.top != nil {
				c.op = r
			}
		case isSpace(r):
			s.pos++
			c.negative = false
		default:
			n, err := s.operand(r)
			if err != nil {
				return nil, err
			}
			if err := s.add(&c, n); err != nil {
				return nil, err
			}
		}
	}
	return c.top, nil
}

func (s *simple) operand(r rune) (Node, error) {
	switch r {
	case '(':
		if err := s.p.enter(""); err != nil {
			return nil, err
		}
		defer s.p.leave()
		s.pos++
		return s.query(false)
	case '"':
		return s.phrase()
	}
	return s.word()
}

// add puts a clause behind the others; a change of operator makes what was read so
// far the first clause of the next.
func (s *simple) add(c *chain, n Node) error {
	negative := c.negative
	c.negative = false
	if n == nil {
		return nil
	}
	if err := s.p.countLeaf(n); err != nil {
		return err
	}
	if negative {
		n = Bool{MustNot: []Node{n}}
	}
	if c.top == nil {
		c.top, c.op = n, 0
		return nil
	}
	and := c.op == '+' || c.op == 0 && s.free.and
	c.op = 0
	if !c.joined || c.and != and {
		if err := s.p.count(""); err != nil {
			return err
		}
		first := []Node{c.top}
		c.top, c.and, c.joined = Bool{Should: first}, and, true
		if and {
			c.top = Bool{Must: first}
		}
		if s.p.limits.Depth < depthOf(c.top) {
			return errorAt("", "operators take turns more than %d times; use parentheses", s.p.limits.Depth)
		}
	}
	if b, ok := c.top.(Bool); ok && and {
		b.Must = append(b.Must, n)
		c.top = b
	} else if ok {
		b.Should = append(b.Should, n)
		c.top = b
	}
	return nil
}

// depthOf follows the first clauses down, along which operators that take turns nest.
func depthOf(n Node) int {
	d := 1
	for {
		b, ok := n.(Bool)
		if !ok {
			return d
		}
		if len(b.Must) > 0 {
			n = b.Must[0]
		} else if len(b.Should) > 0 {
			n = b.Should[0]
		} else {
			return d
		}
		d++
	}
}

// phrase reads "..." and its slop.
func (s *simple) phrase() (Node, error) {
	l := lexer{text: s.text, pos: s.pos}
	raw, closed := l.quoted()
	s.pos = l.pos
	if !closed {
		s.pos++ // a lone quote is left out
		return nil, nil
	}
	slop := s.free.slop
	if n, ok := s.tilde(); ok {
		slop = min(n, mostSlop)
	}
	if raw == "" {
		return nil, nil
	}
	return s.free.quoted(bare(raw), slop), nil
}

// tilde reads ~ and a number.
func (s *simple) tilde() (int, bool) {
	end := s.pos + 1
	if s.pos == len(s.text) || s.text[s.pos] != '~' {
		return 0, false
	}
	for end < len(s.text) && s.text[end] >= '0' && s.text[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(string(s.text[s.pos+1 : end]))
	s.pos = end
	if err != nil {
		return 0, true
	}
	return n, true
}

// word reads up to a blank or an operator; a star at its end makes it a prefix.
func (s *simple) word() (Node, error) {
	start := s.pos
	for s.pos < len(s.text) {
		r := s.text[s.pos]
		if r == '\\' && s.pos+1 < len(s.text) {
			s.pos += 2
			continue
		}
		if isSpace(r) || strings.ContainsRune(`"|+()`, r) {
			break
		}
		s.pos++
	}
	raw := string(s.text[start:s.pos])
	if fuzzy(raw) {
		return nil, fmt.Errorf("%s at character %d: a fuzzy term is not supported; write \\~ for a tilde", quote(raw), start+1)
	}
	if raw == "*" {
		return s.free.present(), nil
	}
	if stem, star := strings.CutSuffix(raw, "*"); star && loneBackslash(stem) == "" {
		return s.prefix(stem)
	}
	if raw = strings.TrimSuffix(raw, loneBackslash(raw)); raw == "" {
		return nil, nil
	}
	return s.free.word(bare(raw)), nil
}

// prefix makes the pattern of a stem in which a star is a letter.
func (s *simple) prefix(stem string) (Node, error) {
	if err := s.p.checkPattern("", stem); err != nil {
		return nil, err
	}
	value := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(bare(stem)) + "*"
	return Pattern{Fields: s.free.fields, Weights: s.free.weights, Value: value, Lenient: s.free.soft()}, nil
}

// bare takes the backslashes out; here \x is x, whatever x is.
func bare(raw string) string {
	var b strings.Builder
	escaped := false
	for _, r := range raw {
		if r == '\\' && !escaped {
			escaped = true
			continue
		}
		escaped = false
		b.WriteRune(r)
	}
	return b.String()
}

// loneBackslash returns the backslash at the end that escapes nothing.
func loneBackslash(raw string) string {
	n := len(raw) - len(strings.TrimRight(raw, `\`))
	return raw[len(raw)-n%2:]
}

// fuzzy reports whether a raw word ends in ~ or ~2, not escaped.
func fuzzy(raw string) bool {
	head := strings.TrimRight(raw, "0123456789")
	stem, ok := strings.CutSuffix(head, "~")
	return ok && stem != "" && loneBackslash(stem) == ""
}
