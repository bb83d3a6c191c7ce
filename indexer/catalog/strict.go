package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Problem is one mistake in a catalogue file.
type Problem struct {
	File    string
	Line    int
	Message string
}

// String is FILE:LINE: MESSAGE.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

// Problems is every mistake found, as one error.
type Problems []Problem

// Error gives one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// reader reads the nodes of one file strictly and collects what is wrong.
type reader struct {
	file     string
	problems *Problems
}

func (r reader) problem(n *yaml.Node, format string, args ...any) {
	line := 1
	if n != nil {
		line = n.Line
	}
	*r.problems = append(*r.problems, Problem{File: r.file, Line: line, Message: fmt.Sprintf(format, args...)})
}

// pair is a member of a mapping.
type pair struct {
	key   string
	at    *yaml.Node
	value *yaml.Node
}

// pairs are the members of a mapping with free names, in the file's order.
func (r reader) pairs(n *yaml.Node) (ps []pair) {
	n = resolve(n)
	if n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		r.problem(n, "this must be a mapping of names to values")
		return nil
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			r.problem(key, "%s comes twice", key.Value)
			continue
		}
		seen[key.Value] = true
		ps = append(ps, pair{key: key.Value, at: key, value: resolve(n.Content[i+1])})
	}
	return ps
}

// members are the members of a mapping whose names are known.
func (r reader) members(n *yaml.Node, allowed ...string) map[string]*yaml.Node {
	m := map[string]*yaml.Node{}
	for _, p := range r.pairs(n) {
		if !slices.Contains(allowed, p.key) {
			r.unknown(p.at, "key", p.key, allowed)
			continue
		}
		m[p.key] = p.value
	}
	return m
}

// unknown reports a name that is not allowed, with the nearest one and all of them.
func (r reader) unknown(n *yaml.Node, what, name string, allowed []string) {
	allowed = slices.Sorted(slices.Values(allowed))
	hint := ""
	if best := nearest(name, allowed); best != "" {
		hint = fmt.Sprintf("; did you mean %s?", best)
	}
	r.problem(n, "unknown %s %s%s (allowed: %s)", what, name, hint, strings.Join(allowed, ", "))
}

func (r reader) text(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.problem(n, "this must be a text")
		return ""
	}
	return n.Value
}

// flag is a boolean; fallback if it is absent.
func (r reader) flag(n *yaml.Node, fallback bool) bool {
	if n == nil {
		return fallback
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		r.problem(n, "this must be true or false")
		return fallback
	}
	return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
}

// texts is a list of texts; a single text is a list of one.
func (r reader) texts(n *yaml.Node) (list []string) {
	for _, item := range r.items(n) {
		list = append(list, r.text(item))
	}
	return list
}

// items are the items of a list; anything else is a list of one.
func (r reader) items(n *yaml.Node) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	items := make([]*yaml.Node, len(n.Content))
	for i := range n.Content {
		items[i] = resolve(n.Content[i])
	}
	return items
}

// scalar is a text, number, boolean or null as a payload would have it.
func (r reader) scalar(n *yaml.Node) any {
	if n.Kind != yaml.ScalarNode {
		r.problem(n, "this must be a single value")
		return nil
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return r.flag(n, false)
	case "!!int", "!!float":
		return json.Number(n.Value)
	default:
		return n.Value
	}
}

// oneOf is a text out of a closed list.
func (r reader) oneOf(n *yaml.Node, what string, allowed ...string) string {
	s := r.text(n)
	if s != "" && !slices.Contains(allowed, s) {
		r.unknown(n, what, s, allowed)
		return ""
	}
	return s
}

func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// nearest is the name that differs least from the one given, if not by much.
func nearest(name string, names []string) string {
	best, least := "", len(name)/2+2
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the insertions, removals and replacements between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
