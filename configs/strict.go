package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// strict reports every key in the YAML node that the type has no field for, with
// its line and the nearest key that there is.
func strict(n *yaml.Node, t reflect.Type, path string) []error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return strict(n.Content[0], t, path)
	case yaml.AliasNode:
		return strict(n.Alias, t, path)
	case yaml.SequenceNode:
		return strictList(n, t, path)
	case yaml.MappingNode:
		return strictMap(n, t, path)
	default:
		return nil
	}
}

func strictList(n *yaml.Node, t reflect.Type, path string) (errs []error) {
	if t.Kind() != reflect.Slice {
		return nil // the decoder says that it wants no list
	}
	for i, item := range n.Content {
		errs = append(errs, strict(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
	}
	return errs
}

func strictMap(n *yaml.Node, t reflect.Type, path string) (errs []error) {
	switch t.Kind() {
	case reflect.Map:
		for i := 0; i+1 < len(n.Content); i += 2 {
			errs = append(errs, strict(n.Content[i+1], t.Elem(), join(path, n.Content[i].Value))...)
		}
		return errs
	case reflect.Struct:
	default:
		return nil // the decoder says that it wants no object
	}
	fields := keys(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Tag == "!!merge" {
			errs = append(errs, strict(n.Content[i+1], t, path)...)
			continue
		}
		f, ok := fields[k.Value]
		if !ok {
			errs = append(errs, fmt.Errorf("line %d: %s: unknown key%s", k.Line, join(path, k.Value), nearest(k.Value, fields)))
			continue
		}
		errs = append(errs, strict(n.Content[i+1], f, join(path, k.Value))...)
	}
	return errs
}

// keys are the YAML keys of a struct and the types of their values.
func keys(t reflect.Type) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for f := range t.Fields() {
		if !f.IsExported() {
			continue
		}
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-":
		case opts == "inline":
			maps.Copy(m, keys(f.Type))
		case name != "":
			m[name] = f.Type
		}
	}
	return m
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// nearest suggests a key, or lists all if none is near.
func nearest(key string, fields map[string]reflect.Type) string {
	names := make([]string, 0, len(fields))
	for k := range fields {
		names = append(names, k)
	}
	slices.Sort(names)
	best, at := "", len(key)/2+1
	for _, k := range names {
		if d := distance(key, k); d < at {
			best, at = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; known here: " + strings.Join(names, ", ")
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
