package compile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/sqlite/token"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Kind is how the values of an indexed field are compared.
type Kind string

// The kinds. A field of the catalogue has one or two of them.
const (
	Token   Kind = "token"   // words of a text field
	Keyword Kind = "keyword" // whole strings: keyword fields, NAME.raw, all leaves of a flattened field
	Long    Kind = "long"
	Double  Kind = "double"
	Date    Kind = "date" // milliseconds since 1970
	Boolean Kind = "boolean"
	IP      Kind = "ip"      // sixteen bytes
	Pair    Kind = "pair"    // path and value of a flattened field's leaf
	Element Kind = "element" // one row for each element of a nested field
	Reader  Kind = "reader"  // principals that may see the document
)

// Key names one column of the inverted table. Values that only operators see stand
// under a key of their own, so that no query of anybody else comes across them.
type Key struct {
	Name   string
	Kind   Kind
	Hidden bool
}

// Schema knows where the fields of each type stand in the inverted table.
type Schema struct {
	types  map[string]*typeSchema
	names  []string // of types, sorted
	ids    map[Key]int64
	kinds  map[int64]Kind
	reader int64
}

type typeSchema struct {
	t      *catalog.Type
	fields map[string]*leaf // by full name
	roots  []*leaf          // fields of the document itself
	// veiled says that members inside of a field may be hidden one by one.
	veiled bool
}

// leaf is a declared field, or a member of a nested field's elements.
type leaf struct {
	name    string
	rel     string // relative to the nested field, else the name
	typ     catalog.FieldType
	path    string // the nested field that it is in; empty at the root
	hidden  bool
	members []*leaf
}

// NewSchema lays out the types. Intern gives each key its number, the same one each
// time.
func NewSchema(types []*catalog.Type, intern func(Key) (int64, error)) (*Schema, error) {
	s := &Schema{types: map[string]*typeSchema{}, ids: map[Key]int64{}, kinds: map[int64]Kind{}}
	keys := map[Key]bool{{Name: "_readers", Kind: Reader}: true}
	for _, t := range types {
		ts := newTypeSchema(t)
		s.types[t.Name] = ts
		for k := range ts.keys() {
			keys[k] = true
		}
	}
	s.names = slices.Sorted(maps.Keys(s.types))
	for _, k := range slices.SortedFunc(maps.Keys(keys), compareKeys) {
		id, err := intern(k)
		if err != nil {
			return nil, fmt.Errorf("number of field %s: %w", k.Name, err)
		}
		s.ids[k], s.kinds[id] = id, k.Kind
	}
	s.reader = s.ids[Key{Name: "_readers", Kind: Reader}]
	return s, nil
}

func compareKeys(a, b Key) int {
	hidden := func(k Key) int {
		if k.Hidden {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(hidden(a), hidden(b)))
}

func newTypeSchema(t *catalog.Type) *typeSchema {
	ts := &typeSchema{t: t, fields: map[string]*leaf{}, veiled: len(t.AdminOnly) > 0}
	for _, f := range t.Fields {
		ts.roots = append(ts.roots, ts.add(f, nil))
	}
	if _, declared := ts.fields[catalog.Other]; !declared {
		ts.add(catalog.Field{Name: catalog.Other, Type: catalog.Flattened}, nil)
	}
	return ts
}

// add lays out one field. Elements nested in elements are searched as members of
// the outer ones.
func (ts *typeSchema) add(f catalog.Field, in *leaf) *leaf {
	l := &leaf{name: f.Name, rel: f.Name, typ: f.Type}
	l.hidden = f.AdminOnly || ts.t.Hidden(f.Name)
	if in != nil {
		l.name, l.path = in.name+"."+f.Name, cmp.Or(in.path, in.name)
		l.hidden = in.hidden || f.AdminOnly || ts.t.Hidden(l.name)
		ts.veiled = ts.veiled || l.hidden && !in.hidden
	}
	ts.fields[l.name] = l
	for _, m := range f.Fields {
		l.members = append(l.members, ts.add(m, l))
	}
	return l
}

// keys yields every key that a document of the type can have values under.
func (ts *typeSchema) keys() map[Key]bool {
	keys := map[Key]bool{}
	for _, l := range ts.fields {
		for _, k := range l.keys(l.hidden) {
			keys[k] = true
			if l.typ == catalog.Flattened && !l.hidden {
				keys[Key{Name: k.Name, Kind: k.Kind, Hidden: true}] = true
			}
		}
	}
	return keys
}

// keys are those of the field's own values; the first is the one that terms are
// looked up under.
func (l *leaf) keys(hidden bool) []Key {
	switch l.typ {
	case catalog.Text:
		return []Key{{l.name, Token, hidden}, {l.raw(), Keyword, hidden}}
	case catalog.Flattened:
		return []Key{{l.name, Keyword, hidden}, {l.name, Pair, hidden}}
	case catalog.Nested:
		return []Key{{l.name, Element, hidden}}
	default:
		return []Key{{l.name, Kind(l.typ), hidden}}
	}
}

func (l *leaf) raw() string { return l.name + ".raw" }

// Types returns the names of the types that the schema knows, sorted.
func (s *Schema) Types() []string { return slices.Clone(s.names) }

// Shape is a fingerprint of how documents of a type are indexed. Where it differs
// from the one that documents were written with, they must be indexed again.
func (s *Schema) Shape(typ string) string {
	ts := s.types[typ]
	if ts == nil {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %d\n", edition, token.Edition)
	for _, k := range slices.SortedFunc(maps.Keys(ts.keys()), compareKeys) {
		fmt.Fprintf(h, "%q %s %t\n", k.Name, k.Kind, k.Hidden)
	}
	for _, name := range slices.Sorted(maps.Keys(ts.fields)) {
		fmt.Fprintf(h, "%q %s %q\n", name, ts.fields[name].typ, ts.fields[name].path)
	}
	fmt.Fprintf(h, "%q\n", ts.t.AdminOnly)
	return hex.EncodeToString(h.Sum(nil))
}

// edition is raised when the rows made of a document change.
const edition = 1

// target is where a query looks for the values of one field.
type target struct {
	id     int64
	kind   Kind
	within string // the path inside of a flattened field, for Pair
}

// lookup finds where the values of a field stand, over all types searched. A field
// that is unknown, hidden or out of the nested scope has none.
func (c *compiler) lookup(name, nested string) (targets []target) {
	for _, typ := range c.req.Types {
		ts := c.s.types[typ]
		if ts == nil {
			continue
		}
		if l, ok := ts.fields[name]; ok {
			targets = c.appendTargets(targets, l, nested, "")
			continue
		}
		if base, ok := strings.CutSuffix(name, ".raw"); ok {
			if l := ts.fields[base]; l != nil && l.typ == catalog.Text {
				targets = c.appendKey(targets, l, nested, Key{l.raw(), Keyword, l.hidden}, "")
				continue
			}
		}
		if l, rest := ts.flattened(name); l != nil {
			targets = c.appendTargets(targets, l, nested, rest)
		}
	}
	return targets
}

// flattened finds the flattened field that name is a path in.
func (ts *typeSchema) flattened(name string) (l *leaf, rest string) {
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != '.' {
			continue
		}
		if l := ts.fields[name[:i]]; l != nil {
			if l.typ == catalog.Flattened {
				return l, name[i+1:]
			}
			return nil, ""
		}
	}
	return nil, ""
}

// appendTargets appends those of one type's field, without doubles.
func (c *compiler) appendTargets(targets []target, l *leaf, nested, within string) []target {
	if l.typ == catalog.Nested {
		return targets
	}
	k := l.keys(l.hidden)[0]
	if within != "" {
		k.Kind = Pair
	}
	targets = c.appendKey(targets, l, nested, k, within)
	if l.typ == catalog.Flattened && !l.hidden && c.req.Scope.Hidden {
		k.Hidden = true
		targets = c.appendKey(targets, l, nested, k, within)
	}
	return targets
}

func (c *compiler) appendKey(targets []target, l *leaf, nested string, k Key, within string) []target {
	if l.path != nested || l.hidden && !c.req.Scope.Hidden {
		return targets
	}
	t := target{id: c.s.ids[k], kind: k.Kind, within: within}
	if slices.Contains(targets, t) {
		return targets
	}
	return append(targets, t)
}

// expand finds the targets of a field name in which * stands for any characters.
func (c *compiler) expand(pattern, nested string) (targets []target) {
	if !strings.Contains(pattern, "*") {
		return c.lookup(pattern, nested)
	}
	for _, name := range c.fieldNames(nested) {
		if query.MatchName(pattern, name) {
			for _, t := range c.lookup(name, nested) {
				if !slices.Contains(targets, t) {
					targets = append(targets, t)
				}
			}
		}
	}
	return targets
}

// fieldNames are the names that a caller may use in a nested scope, sorted.
func (c *compiler) fieldNames(nested string) []string {
	set := map[string]bool{}
	for _, typ := range c.req.Types {
		ts := c.s.types[typ]
		if ts == nil {
			continue
		}
		for name, l := range ts.fields {
			if l.path != nested || l.typ == catalog.Nested {
				continue
			}
			set[name] = true
			if l.typ == catalog.Text {
				set[l.raw()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}
