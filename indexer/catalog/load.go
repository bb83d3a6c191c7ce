package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/configs/resources"
)

// Builtin returns the catalogue that comes with Fresnel.
func Builtin() (*Catalog, error) {
	return Load(resources.FS)
}

// Load reads the *.yaml files of each directory. A file of a later one replaces the
// type that it names, or extends it if it says "extend: true". A catalogue with any
// mistake is refused; the error is of type Problems.
func Load(dirs ...fs.FS) (*Catalog, error) {
	c, problems := load(dirs)
	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

// Check returns everything that Load would complain of.
func Check(dirs ...fs.FS) Problems {
	_, problems := load(dirs)
	return problems
}

func load(dirs []fs.FS) (*Catalog, Problems) {
	var problems Problems
	specs := map[string]*typeSpec{}
	for _, dir := range dirs {
		for _, s := range readDir(dir, &problems) {
			name := s.r.text(s.text["type"])
			old, known := specs[name]
			switch {
			case !s.extend:
				specs[name] = s
			case known:
				old.merge(s)
			default:
				s.r.problem(s.text["type"], "%s extends a type that is not there", name)
			}
		}
	}
	types := map[string]*Type{}
	for name, s := range specs {
		types[name] = compileType(s)
	}
	for name, s := range specs {
		for i, p := range types[name].Rules.Parents {
			if types[p.Type] == nil && i < len(s.parents) {
				s.parents[i].r.problem(s.parents[i].node, "parent %s is no type of the catalogue", p.Type)
			}
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	if len(problems) > 0 {
		return nil, problems
	}
	return assemble(types), nil
}

// readDir reads the files of one directory, in the order of their names.
func readDir(dir fs.FS, problems *Problems) (specs []*typeSpec) {
	files, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		*problems = append(*problems, Problem{File: ".", Line: 1, Message: err.Error()})
		return nil
	}
	seen := map[string]string{}
	for _, file := range files {
		r := reader{file: path.Base(file), problems: problems}
		root, err := readFile(dir, file)
		if err != nil {
			r.problem(nil, "%v", err)
			continue
		}
		s := readType(r, root)
		name := s.text["type"]
		if name == nil || name.Value == "" {
			r.problem(root, "type: required, such as OS::Nova::Server")
			continue
		}
		if first, twice := seen[name.Value]; twice {
			r.problem(name, "%s is in %s already", name.Value, first)
			continue
		}
		seen[name.Value] = file
		specs = append(specs, s)
	}
	return specs
}

func readFile(dir fs.FS, file string) (*yaml.Node, error) {
	data, err := fs.ReadFile(dir, file)
	if err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("a file holds one type")
	}
	return resolve(doc.Content[0]), nil
}

func fieldsOf(s string) []string { return strings.Fields(s) }
