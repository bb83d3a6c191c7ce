// Package day compares what Fresnel shows with what the services themselves listed at
// the end of the recorded day.
//
// It does not produce the records and does not ask for documents: a test does both.
// It knows neither the catalogue nor how Fresnel works; fields.yaml maps the names,
// untold.yaml holds what the notifications do not tell, each with its exact extent.
package day

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"
)

// Object is one resource, as an API or Fresnel shows it.
type Object = map[string]any

// Day is the truth with its map and its exemptions.
type Day struct {
	objects map[string][]Object
	fields  map[string]map[string]Source
	untold  map[string]Untold
	floors  map[string]int
}

// Source says where the API has a field.
type Source struct {
	Path string `yaml:"path"` // members parted by dots; names may have colons
	As   string `yaml:"as"`   // how the two forms are made comparable
	// Join takes the value from objects of another type: those whose member On is
	// this object's id and that have the members Where.
	Join    string            `yaml:"join"`
	On      string            `yaml:"on"`
	Where   map[string]string `yaml:"where"`
	Members map[string]string `yaml:"members"` // of the items of a list: ours to the API's
	// Only names objects for which the API lists the field at all; others are equal.
	Only map[string]string `yaml:"only"`
}

// UnmarshalYAML takes a plain path too.
func (s *Source) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&s.Path)
	}
	type plain Source
	return n.Decode((*plain)(s))
}

// Untold is what the notifications do not tell of one type.
type Untold struct {
	// Fields differ in exactly so many resources.
	Fields []UntoldField `yaml:"fields"`
	// Resources are in the truth alone, exactly so many of each kind.
	Resources []UntoldResource `yaml:"resources"`
}

// UntoldField exempts one field.
type UntoldField struct {
	Field   string `yaml:"field"`
	Differs int    `yaml:"differs"`
	Reason  string `yaml:"reason"`
}

// UntoldResource exempts the resources that no notification named.
type UntoldResource struct {
	Where  map[string]string `yaml:"where"`
	Count  int               `yaml:"count"`
	Reason string            `yaml:"reason"`
}

// Open reads the day's folder.
func Open(dir string) (*Day, error) {
	d := &Day{objects: map[string][]Object{}}
	if err := d.readTruth(filepath.Join(dir, "truth.json.gz")); err != nil {
		return nil, fmt.Errorf("read the truth: %w", err)
	}
	for file, into := range map[string]any{"fields.yaml": &d.fields, "untold.yaml": &d.untold, "compared.yaml": &d.floors} {
		f, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		dec := yaml.NewDecoder(f)
		dec.KnownFields(true)
		err = dec.Decode(into)
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return d, nil
}

func (d *Day) readTruth(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.NewDecoder(z).Decode(&raw); err != nil {
		return err
	}
	for typ, b := range raw {
		if len(b) > 0 && b[0] == '[' {
			var list []Object
			if err := json.Unmarshal(b, &list); err != nil {
				return err
			}
			d.objects[typ] = list
		}
	}
	return nil
}

// Types are the types that fields.yaml maps, sorted.
func (d *Day) Types() []string { return slices.Sorted(maps.Keys(d.fields)) }

// Fields are the mapped fields of a type, sorted.
func (d *Day) Fields(typ string) []string { return slices.Sorted(maps.Keys(d.fields[typ])) }

// Report is the comparison of one type.
type Report struct {
	Resources int            // compared
	Compared  int            // fields of resources that had to be equal, and were
	Problems  []string       // everything that is wrong; empty if the test passes
	Differ    map[string]int // in how many resources each field differs
}

// Compare compares the documents of a type, as the search API shows them, by id.
func (d *Day) Compare(typ string, documents map[string]Object) Report {
	r := Report{Differ: map[string]int{}}
	examples := map[string]string{}
	missing := make([]int, len(d.untold[typ].Resources))
	seen := map[string]bool{}
	for _, want := range d.objects[typ] {
		id, _ := want["id"].(string)
		seen[id] = true
		got, ok := documents[id]
		if !ok {
			if i := slices.IndexFunc(d.untold[typ].Resources, func(u UntoldResource) bool { return meets(want, u.Where) }); i >= 0 {
				missing[i]++
			} else {
				r.problem("%s %s is missing", typ, id)
			}
			continue
		}
		r.Resources++
		for _, field := range d.Fields(typ) {
			a, b := d.pair(typ, field, got, want)
			if a == b {
				r.Compared++
				continue
			}
			if r.Differ[field]++; r.Differ[field] == 1 {
				examples[field] = fmt.Sprintf("%s: shown %s, true %s", id, a, b)
			}
		}
	}
	for id := range documents {
		if !seen[id] {
			r.problem("%s %s is not in the truth", typ, id)
		}
	}
	d.judge(typ, &r, examples, missing)
	slices.Sort(r.Problems)
	return r
}

// judge holds the differences against the exemptions, which must fit exactly.
func (d *Day) judge(typ string, r *Report, examples map[string]string, missing []int) {
	exempt := map[string]int{}
	for _, u := range d.untold[typ].Fields {
		exempt[u.Field] = u.Differs
		if r.Differ[u.Field] == 0 {
			r.problem("%s %s is exempt and never differs", typ, u.Field)
		}
	}
	for field, n := range r.Differ {
		if n != exempt[field] {
			r.problem("%s %s differs in %d of %d, exempt are %d; %s", typ, field, n, r.Resources, exempt[field], examples[field])
		}
	}
	if r.Compared < d.floors[typ] {
		r.problem("%s: %d fields compared, %d at check-in", typ, r.Compared, d.floors[typ])
	}
	for i, u := range d.untold[typ].Resources {
		if missing[i] != u.Count {
			r.problem("%s: %d missing where %v, exempt are %d", typ, missing[i], u.Where, u.Count)
		}
	}
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func meets(o Object, where map[string]string) bool {
	for k, v := range where {
		if fmt.Sprint(o[k]) != v {
			return false
		}
	}
	return true
}
