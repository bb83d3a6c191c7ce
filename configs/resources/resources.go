// Package resources holds the resource types that come with Fresnel, one YAML file
// each, in the language that indexer/catalog reads.
//
// It does not read them. Its invariant: nothing but *.yaml is embedded.
package resources

import "embed"

// FS holds the files.
//
//go:embed *.yaml
var FS embed.FS
