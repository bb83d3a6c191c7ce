// Package catalog knows the resource types: one YAML file each says which
// notifications concern it, how a payload becomes fields, and who may see it.
// It turns notifications into mutations and tells stores and searches what fields
// there are.
//
// It is pure: it reads no topic and no store, and folds nothing. Its invariant: the
// same catalogue makes the same mutations of the same notification, byte for byte,
// and nothing reaches a mutation that a rule does not let through.
package catalog

import (
	"github.com/fresnel-search/fresnel/indexer/fold"
)

// FieldType is how a field is stored and searched.
type FieldType string

// The field types. Text is analysed and has an unanalysed twin NAME.raw; Nested is
// an array of objects that are searched one by one; Flattened holds any JSON and is
// searched by its leaves as keywords.
const (
	Keyword   FieldType = "keyword"
	Text      FieldType = "text"
	Date      FieldType = "date"
	Long      FieldType = "long"
	Double    FieldType = "double"
	Boolean   FieldType = "boolean"
	IP        FieldType = "ip"
	Flattened FieldType = "flattened"
	Nested    FieldType = "nested"
)

// Other is the flattened field that takes what the catalogue does not declare: in
// Document.Fields each unknown key has a register of its own, "other.KEY".
const Other = "other"

// Field is one declared field. Its name may have dots: flavor.id is member id of
// object flavor in the document.
type Field struct {
	Name        string
	Type        FieldType
	Set         string // the member of an element that is its key; empty if the field is no set
	AdminOnly   bool   // only operators see it
	Facet       bool   // facets list it
	Options     bool   // facets list its values
	Link        string // the type of the resource that it names
	Description string
	Fields      []Field // of a nested field's elements, names relative to it
}

// Type is one resource type.
type Type struct {
	Name        string // OS::Nova::Server
	Service     string // nova
	ServiceType string // compute: the Keystone catalogue's name for the service
	Plural      string // servers: for URLs
	Description string
	Fields      []Field
	// AdminOnly are globs of field names, declared or not, that only operators see.
	AdminOnly []string
	// AdminType says that only admins may see resources of this type at all.
	AdminType bool
	Rules     fold.Rules
}
