// Package dsl prints a request that policy has restricted as the body of an
// Elasticsearch search, one resource type at a time, because what a field is, and
// who may see it, differs from type to type.
//
// It talks to no server. Its invariants: text of a caller stands in a body only as
// the value of a JSON string, never as syntax; the filter on readers stands in filter
// context around everything else; a clause on a field that the scope may not see is
// the same as one on a field that does not exist.
package dsl
