// Package layout says how documents of one resource type stand in an Elasticsearch
// index: the mapping that the index is made with, the JSON of a document, and what
// of it searches may look at. A layout is made of the catalogue's type when an index
// is made, and kept in the index's _meta from then on, so that reading and writing
// follow the index that they meet and not the catalogue, which may be newer.
//
// It is pure: it talks to no server. Its invariants: what Decode returns of what
// Encode wrote is the document, byte for byte; a value that only operators see is
// never indexed in a field that others search.
package layout

import (
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

// Layout is one type's layout. Its JSON is what stands in an index's _meta.
type Layout struct {
	Edition int     `json:"edition"`
	Type    string  `json:"type"`
	Fields  []Field `json:"fields"` // by name; Other is among them
	// AdminOnly are the globs of hidden names as of when the index was made: they
	// tell which members of flattened fields stand under Veiled.
	AdminOnly []string `json:"admin_only,omitempty"`
}

// Field is one declared field as the index has it.
type Field struct {
	Name   string            `json:"name"`
	Type   catalog.FieldType `json:"type"`
	Fields []Field           `json:"fields,omitempty"` // of a nested field
	// Split says that some members of this flattened field are hidden: it is indexed
	// as Seen (what everybody may search) and Veiled (what only operators may).
	Split bool `json:"split,omitempty"`
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
	Seen    = "seen"    // object: of each split field, the members that all may search
	Veiled  = "veiled"  // object: of each split field, the other members
	System  = "system"  // object, not indexed: revisions, lineage, owner, state, outbox
)
