package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// free holds what the free-text clauses say for the whole text.
type free struct {
	fields  []string
	weights []float64
	and     bool // the default operator
	lenient bool
	slop    int
	leading bool // a pattern may begin with * or ?
}

// queryString parses query_string: the grammar of Lucene's classic query parser.
func (p *parser) queryString(path string, v any) (Node, error) {
	o := readOptions(path, v)
	text := o.required("query")
	f := freeOptions(o)
	if o.has("default_field") && o.has("fields") {
		o.fail(errorAt(join(path, "fields"), "stands beside default_field; give one"))
	}
	if o.has("default_field") {
		f.setFields(o, "default_field", []string{o.text("default_field")})
	} else {
		o.text("default_field")
	}
	f.slop = o.count("phrase_slop", 0, mostSlop)
	f.leading = o.flag("allow_leading_wildcard", true)
	minimum, boost := o.minimum(), o.boost()
	if err := o.done(); err != nil {
		return nil, err
	}
	if strings.TrimFunc(text, isSpace) == "" {
		return MatchNone{}, nil
	}
	l := &lucene{p: p, free: f, lex: lexer{text: []rune(text)}}
	n, err := l.parse()
	if err != nil {
		return nil, wordAt(join(path, "query"), err)
	}
	return withBoost(withMinimum(n, minimum), boost), nil
}

// wordAt puts the path before an error of a text's grammar.
func wordAt(path string, err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return errorAt(path, "%s", own.Detail)
	}
	return errorAt(path, "%v", err)
}

// freeOptions reads what query_string and simple_query_string share.
func freeOptions(o *options) free {
	f := free{fields: []string{"*"}, leading: true}
	f.and = o.choice("default_operator", "or", "and") == "and"
	f.lenient = o.flag("lenient", false)
	o.flag("analyze_wildcard", false) // patterns are folded like the field's text either way
	if list := o.list("fields"); len(list) > 0 {
		f.setFields(o, "fields", list)
	}
	return f
}

// setFields takes names such as name, name^2, image.* and *.
func (f *free) setFields(o *options, key string, names []string) {
	const most = 256
	if len(names) > most {
		o.fail(errorAt(join(o.path, key), "lists more than %d fields", most))
		return
	}
	f.fields, f.weights = nil, nil
	weights, weighted := make([]float64, 0, len(names)), false
	for i, name := range names {
		w := 1.0
		if at := strings.LastIndexByte(name, '^'); at >= 0 {
			n, err := strconv.ParseFloat(name[at+1:], 64)
			if err != nil || !goodBoost(n) {
				o.fail(errorAt(fmt.Sprintf("%s[%d]", join(o.path, key), i), "what follows ^ must be a number above 0"))
				return
			}
			name, w = name[:at], n
		}
		if name == "" {
			o.fail(errorAt(fmt.Sprintf("%s[%d]", join(o.path, key), i), "a field's name cannot be empty"))
			return
		}
		if name == allField {
			name = "*"
		}
		weighted = weighted || w != 1
		f.fields, weights = append(f.fields, name), append(weights, w)
	}
	if weighted {
		f.weights = weights
	}
}

// lucene parses one text by recursive descent over its tokens.
type lucene struct {
	p    *parser
	free free
	lex  lexer
	tok  token // the token to look at
}

func (l *lucene) advance() error {
	t, err := l.lex.next()
	l.tok = t
	return err
}

func (l *lucene) parse() (Node, error) {
	if err := l.advance(); err != nil {
		return nil, err
	}
	n, err := l.query(l.free)
	if err != nil {
		return nil, err
	}
	if l.tok.kind != tokEnd {
		return nil, fmt.Errorf("%s closes nothing; write a backslash before it", l.tok.show())
	}
	return n, nil
}

// occur says what a clause must do.
type occur int

const (
	should occur = iota
	must
	mustNot
)

type luceneClause struct {
	occur occur
	node  Node
}

// query parses clauses up to a closing parenthesis or the end. Words between them
// bind as in Lucene: a OR b AND c is a +b +c.
func (l *lucene) query(f free) (Node, error) {
	var cs []luceneClause
	for {
		var conj tokenKind
		if len(cs) > 0 && (l.tok.kind == tokAnd || l.tok.kind == tokOr) {
			conj = l.tok.kind
			if err := l.advance(); err != nil {
				return nil, err
			}
		}
		var mod tokenKind
		if k := l.tok.kind; k == tokPlus || k == tokMinus || k == tokNot {
			mod = k
			if err := l.advance(); err != nil {
				return nil, err
			}
		}
		n, err := l.clause(f)
		if err != nil {
			return nil, err
		}
		if cs = l.add(cs, conj, mod, n); l.tok.kind == tokEnd || l.tok.kind == tokClose {
			if len(cs) == 1 && mod == tokEnd {
				return n, nil
			}
			return l.combine(cs)
		}
	}
}

// combine makes a Bool of clauses.
func (l *lucene) combine(cs []luceneClause) (Node, error) {
	if err := l.p.count(""); err != nil {
		return nil, err
	}
	var b Bool
	for _, c := range cs {
		switch c.occur {
		case must:
			b.Must = append(b.Must, c.node)
		case mustNot:
			b.MustNot = append(b.MustNot, c.node)
		default:
			b.Should = append(b.Should, c.node)
		}
	}
	return b, nil
}

// add appends a clause; the word before it may change what the last one must do.
func (l *lucene) add(cs []luceneClause, conj, mod tokenKind, n Node) []luceneClause {
	if last := len(cs) - 1; last >= 0 && cs[last].occur != mustNot {
		if conj == tokAnd {
			cs[last].occur = must
		} else if conj == tokOr && l.free.and {
			cs[last].occur = should
		}
	}
	c := luceneClause{node: n}
	switch {
	case mod == tokMinus || mod == tokNot:
		c.occur = mustNot
	case mod == tokPlus, conj == tokAnd, l.free.and && conj != tokOr:
		c.occur = must
	}
	return append(cs, c)
}

// clause parses FIELD:... or a term, phrase, range or group of the fields given.
func (l *lucene) clause(f free) (Node, error) {
	t := l.tok
	if t.kind == tokTerm {
		if err := l.advance(); err != nil {
			return nil, err
		}
		if l.tok.kind != tokColon {
			return l.term(f, t)
		}
		if err := l.advance(); err != nil {
			return nil, err
		}
		name, err := unescape(t.text)
		if err != nil {
			return nil, err
		}
		if name == "_exists_" {
			return l.exists()
		}
		if f, err = f.only(name); err != nil {
			return nil, err
		}
		t = l.tok
		if t.kind == tokTerm {
			if err := l.advance(); err != nil {
				return nil, err
			}
			if l.tok.kind == tokColon {
				return nil, fmt.Errorf("%s: a value that holds a colon needs quotes, or a backslash before it", l.tok.show())
			}
			return l.term(f, t)
		}
	}
	switch t.kind {
	case tokQuoted:
		return l.phrase(f)
	case tokRange:
		return l.ranges(f)
	case tokOpen:
		return l.group(f)
	default:
		return nil, fmt.Errorf("a term, a phrase, a range or ( is missing before %s", t.show())
	}
}

// only narrows free text to one field, or pattern of fields.
func (f free) only(name string) (free, error) {
	if name == allField {
		name = "*"
	}
	if strings.Contains(name, "*") && strings.Contains(name, "^") {
		return f, errors.New("a pattern of fields cannot hold ^")
	}
	f.fields, f.weights = []string{name}, nil
	return f, nil
}

// exists parses the field behind _exists_:.
func (l *lucene) exists() (Node, error) {
	raw := l.tok.text
	if l.tok.kind != tokTerm && l.tok.kind != tokQuoted {
		return nil, fmt.Errorf("a field is missing before %s", l.tok.show())
	}
	name, err := unescape(raw)
	if err != nil {
		return nil, err
	}
	if err := checkField("", name); err != nil {
		return nil, err
	}
	if err := l.advance(); err != nil {
		return nil, err
	}
	return l.leaf(Exists{Field: name}, nil)
}

func (l *lucene) group(f free) (Node, error) {
	open := l.tok
	if err := l.p.enter(""); err != nil {
		return nil, err
	}
	defer l.p.leave()
	if err := l.advance(); err != nil {
		return nil, err
	}
	n, err := l.query(f)
	if err != nil {
		return nil, err
	}
	if l.tok.kind != tokClose {
		return nil, fmt.Errorf("%s is not closed", open.show())
	}
	if err := l.advance(); err != nil {
		return nil, err
	}
	return l.boosted(n)
}

// boosted reads a boost, if there is one.
func (l *lucene) boosted(n Node) (Node, error) {
	if l.tok.kind == tokTilde {
		return nil, fmt.Errorf("%s: a fuzzy term is not supported", l.tok.show())
	}
	if l.tok.kind != tokCaret {
		return n, nil
	}
	w, err := strconv.ParseFloat(l.tok.text[1:], 64)
	if err != nil || !goodBoost(w) {
		return nil, fmt.Errorf("%s: what follows ^ must be a number above 0", l.tok.show())
	}
	return withBoost(n, w), l.advance()
}

// leaf counts a node and reads its boost.
func (l *lucene) leaf(n Node, err error) (Node, error) {
	if err != nil {
		return nil, err
	}
	if err := l.p.countLeaf(n); err != nil {
		return nil, err
	}
	return l.boosted(n)
}

// countLeaf counts a leaf of free text by what it makes a store look up.
func (p *parser) countLeaf(n Node) error {
	if err := p.count(""); err != nil {
		return err
	}
	switch n := n.(type) {
	case Match:
		return p.countWords("", valueText(n.Text))
	case MatchPhrase:
		return p.countWords("", n.Text)
	case Bool:
		for range n.Should {
			if err := p.count(""); err != nil {
				return err
			}
		}
	}
	return nil
}
