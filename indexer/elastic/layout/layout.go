// Package layout says how documents of one resource type stand in an Elasticsearch
// index: the mapping that the index is made with, the JSON of a document, and what
// of it searches may look at. A layout is made of the catalogue's type when an index
// is made, and kept in the index's _meta from then on, so that reading and writing
// follow the index that they meet and not the catalogue, which may be newer.
//
// It is pure: it talks to no server. Its invariants: what Decode returns of what
// Encode wrote is the document, byte for byte; a value that only operators see is
// never indexed in a field that others search; no value makes a server reject a
// document, since what a field cannot hold is kept beside it and not indexed.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fresnel-search/fresnel/indexer/catalog"
)

// Edition is raised when a mapping or the JSON of documents changes in a way that
// the fields of a Layout do not tell. An index of another edition must be made anew.
const Edition = 1

// Flavor is the kind of server: it decides how a flattened field is called.
type Flavor string

// The flavors.
const (
	Elasticsearch Flavor = "elasticsearch"
	OpenSearch    Flavor = "opensearch"
)

// Layout is one type's layout. Its JSON is what stands in an index's _meta. It comes
// from Of or Parse, does not change, and is safe for concurrent use.
type Layout struct {
	Edition int     `json:"edition"`
	Type    string  `json:"type"`
	Fields  []Field `json:"fields"` // by name; catalog.Other is among them
	// AdminOnly are the globs of hidden names as of when the index was made: they
	// tell which members of flattened fields stand in VeiledLeaves.
	AdminOnly []string `json:"admin_only,omitempty"`

	index    map[string]*Field
	globs    *catalog.Type   // knows AdminOnly, and nothing else
	veils    map[string]veil // of the flattened fields
	encoders *sync.Pool
}

// Field is one declared field as the index has it.
type Field struct {
	Name   string            `json:"name"`
	Type   catalog.FieldType `json:"type"`
	Fields []Field           `json:"fields,omitempty"` // of a nested field, names relative to it
}

// The names at the root of a stored document. Everything that searches do not look
// at is in System, which is not indexed.
const (
	ID      = "id"      // keyword: the resource's id, for order and paging
	Type    = "type"    // keyword: the resource's type
	Readers = "readers" // keyword: the principals that may see it
	Parents = "parents" // keyword: Ref.Key of each
	Live    = "live"    // boolean: shown, and not deleted
	Deleted = "deleted" // boolean: a tombstone
	Written = "written" // date: of the last write, by the clock of the writer
	Fields  = "fields"  // object: the declared fields, and other
	System  = "system"  // object, not indexed: revisions, lineage, owner, state, outbox
)

// Raw is the unanalysed twin of a text field: fields.NAME.raw.
const Raw = "raw"

// MaxValue is how many characters of a keyword are indexed: a longer one is kept and
// shown, but no term equals it. With four bytes each it is what Lucene takes at most.
const MaxValue = 8191

// Of makes the layout of a type as the catalogue has it now.
func Of(t *catalog.Type) *Layout {
	l := &Layout{Edition: Edition, Type: t.Name, AdminOnly: slices.Sorted(slices.Values(t.AdminOnly))}
	for _, f := range t.Fields {
		l.Fields = append(l.Fields, fieldOf(f))
	}
	if !slices.ContainsFunc(t.Fields, func(f catalog.Field) bool { return f.Name == catalog.Other }) {
		l.Fields = append(l.Fields, fieldOf(catalog.Field{Name: catalog.Other, Type: catalog.Flattened}))
	}
	slices.SortFunc(l.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	l.prepare()
	return l
}

func fieldOf(f catalog.Field) Field {
	out := Field{Name: f.Name, Type: f.Type}
	for _, m := range f.Fields {
		out.Fields = append(out.Fields, fieldOf(m))
	}
	return out
}

// Parse reads a layout from an index's _meta. The error says in words that this
// program cannot use the index.
func Parse(b []byte) (*Layout, error) {
	l := new(Layout)
	if err := json.Unmarshal(b, l); err != nil || l.Type == "" {
		return nil, errors.New("the index does not say what its layout is: it was not made by Fresnel")
	}
	if l.Edition != Edition {
		return nil, fmt.Errorf("the index has layout edition %d and this program needs %d: reindex it", l.Edition, Edition)
	}
	l.prepare()
	return l, nil
}

func (l *Layout) prepare() {
	l.index = make(map[string]*Field, len(l.Fields))
	for i := range l.Fields {
		l.index[l.Fields[i].Name] = &l.Fields[i]
	}
	l.globs = &catalog.Type{AdminOnly: l.AdminOnly}
	l.veils = make(map[string]veil)
	for i := range l.Fields {
		if f := &l.Fields[i]; f.Type == catalog.Flattened {
			l.veils[f.Name] = l.veilOf(f.Name)
		}
	}
	l.encoders = &sync.Pool{New: func() any { return new(encoder) }}
}

// Field returns the declared field of exactly that name; nil if the index has none.
func (l *Layout) Field(name string) *Field { return l.index[name] }

// Agrees reports whether the index hides the same members of a flattened field as now
// does. Where it does not, only operators may search the field until it is indexed anew.
func (l *Layout) Agrees(field string, now *Layout) bool {
	return slices.Equal(Concern(l.AdminOnly, field), Concern(now.AdminOnly, field))
}

// Concern returns, sorted, those of the globs that may hide a name below field: one
// that hides the field hides all below it.
func Concern(globs []string, field string) (out []string) {
	below := field + "."
	for _, g := range globs {
		fixed := g
		if i := strings.IndexAny(g, `*?[\`); i >= 0 {
			fixed = g[:i]
		}
		if strings.HasPrefix(fixed, below) || fixed != g && strings.HasPrefix(below, fixed) || strings.HasPrefix(below, g+".") {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
