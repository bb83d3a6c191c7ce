package query

import (
	"bytes"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Parse parses the body of a search. It refuses what it does not know, and what is
// over the limits, with an *Error that names the place.
func Parse(body []byte, l Limits) (Request, error) {
	if len(body) > l.BodyBytes {
		return Request{}, errorAt("body", "is larger than %d bytes", l.BodyBytes)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return Request{}, errorAt("body", "is empty; send a JSON object such as {\"query\": {\"match_all\": {}}}")
	}
	v, err := decode(body, l.json())
	if err != nil {
		return Request{}, err
	}
	if _, ok := v.(object); !ok {
		return Request{}, errorAt("body", "must be a JSON object, is %s", kind(v))
	}
	return parseRequest(readOptions("", v), l)
}

// ParseParams parses a search given as URL parameters: q in the syntax of
// query_string, and type, from, size, sort (such as updated_at:desc), _source,
// version and all_projects.
func ParseParams(params url.Values, l Limits) (Request, error) {
	var o object
	for _, key := range slices.Sorted(maps.Keys(params)) {
		v := params.Get(key)
		switch key {
		case "q":
			o = append(o, member{"query", object{{"query_string", object{{"query", v}}}}})
		case "type":
			o = append(o, member{key, splitAll(params[key])})
		case "sort":
			o = append(o, member{key, sortParams(params[key])})
		case "_source":
			o = append(o, member{key, splitAll(params[key])})
		case "version", "all_projects":
			b, err := strconv.ParseBool(v)
			if err != nil {
				return Request{}, errorAt(key, "must be true or false, is %s", quote(v))
			}
			o = append(o, member{key, b})
		case "from", "offset", "size", "limit":
			o = append(o, member{key, v})
		default:
			return Request{}, unknown("", key, "parameter", []string{
				"q", "type", "from", "offset", "size", "limit", "sort", "_source", "version", "all_projects",
			})
		}
	}
	return parseRequest(readOptions("", o), l)
}

// splitAll splits parameters at commas.
func splitAll(params []string) any {
	out := []any{}
	for _, p := range params {
		for s := range strings.SplitSeq(p, ",") {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// sortParams reads FIELD and FIELD:asc; a colon inside of a name is part of it.
func sortParams(params []string) any {
	list, ok := splitAll(params).([]any)
	if !ok {
		return nil
	}
	for i, e := range list {
		s, ok := e.(string)
		if !ok {
			continue
		}
		for _, order := range []string{"asc", "desc"} {
			if f, cut := strings.CutSuffix(s, ":"+order); cut {
				list[i] = object{{f, order}}
			}
		}
	}
	return list
}

func parseRequest(o *options, l Limits) (Request, error) {
	o.what = "key"
	r := Request{Query: MatchAll{}}
	p := &parser{limits: l}
	if v, ok := o.value("query"); ok {
		n, err := p.node("query", v)
		if err != nil {
			return Request{}, err
		}
		r.Query = n
	}
	if r.Types = o.list("type"); o.err == nil && r.Types != nil && len(r.Types) == 0 {
		return Request{}, errorAt("type", "lists no type; leave it out for all")
	}
	r.From = o.either("from", "offset", 0, l.Window)
	r.Size = o.either("size", "limit", l.DefaultSize, l.Window)
	if o.err == nil && r.From+r.Size > l.Window {
		return Request{}, errorAt("from", "from and size together can be at most %d", l.Window)
	}
	if v, ok := o.value("sort"); ok {
		keys, err := parseSort(v)
		o.fail(err)
		r.Sort = keys
	}
	if v, ok := o.value("_source"); ok {
		src, err := parseSource(v)
		o.fail(err)
		r.Source = src
	}
	r.Version = o.flag("version", false)
	r.AllProjects = o.flag("all_projects", false)
	if err := o.done(); err != nil {
		return Request{}, err
	}
	return r, nil
}

// either reads a number that has two names.
func (o *options) either(a, b string, absent, most int) int {
	if o.has(a) && o.has(b) {
		o.fail(errorAt(b, "stands beside %s, which means the same; give one", a))
		return absent
	}
	if o.has(b) {
		o.known = append(o.known, a)
		return o.count(b, absent, most)
	}
	o.known = append(o.known, b)
	return o.count(a, absent, most)
}

const mostSorts = 16

// parseSort reads a field, an object of fields, or an array of both.
func parseSort(v any) ([]Sort, error) {
	list, ok := v.([]any)
	path := func(i int) string { return "sort[" + strconv.Itoa(i) + "]" }
	if !ok {
		list, path = []any{v}, func(int) string { return "sort" }
	}
	var keys []Sort
	for i, e := range list {
		switch e := e.(type) {
		case string:
			k, err := sortKey(path(i), e, object{})
			if err != nil {
				return nil, err
			}
			keys = append(keys, k)
		case object:
			for _, m := range e {
				k, err := sortKey(join(path(i), m.key), m.key, m.value)
				if err != nil {
					return nil, err
				}
				keys = append(keys, k)
			}
		default:
			return nil, errorAt(path(i), "must be a field or an object that holds one, is %s", kind(e))
		}
	}
	if len(keys) > mostSorts {
		return nil, errorAt("sort", "has more than %d keys", mostSorts)
	}
	return keys, nil
}

func sortKey(path, name string, v any) (Sort, error) {
	if err := checkField(path, name); err != nil {
		return Sort{}, err
	}
	if strings.HasPrefix(name, "_") && name != "_score" && name != idField && name != typeField {
		return Sort{}, unknown("sort", name, "sort key", []string{"_score", idField, typeField})
	}
	if s, ok := v.(string); ok {
		v = object{{"order", s}}
	}
	o := readOptions(path, v)
	k := Sort{Field: name, Missing: "_last"}
	switch o.choice("order", "asc", "desc") {
	case "desc":
		k.Desc = true
	case "":
		k.Desc = name == "_score"
	}
	if m := o.choice("missing", "_last", "_first"); m != "" {
		k.Missing = m
	}
	k.Mode = o.choice("mode", "min", "max")
	o.text("unmapped_type") // a field that is not there sorts as missing either way
	if n, ok := o.value("nested"); ok {
		in := readOptions(join(path, "nested"), n)
		in.under(name, in.required("path"), "path")
		o.fail(in.done())
	}
	o.under(name, o.text("nested_path"), "nested_path")
	if name == "name" {
		k.Field = "name.raw" // as Searchlight did
	}
	return k, o.done()
}

// under checks that a nested path leads to the field.
func (o *options) under(field, path, key string) {
	if path != "" && !strings.HasPrefix(field, path+".") {
		o.fail(errorAt(join(o.path, key), "field %s is not below it", quote(field)))
	}
}

// parseSource reads _source in all the forms that Elasticsearch takes.
func parseSource(v any) (*Source, error) {
	var s Source
	switch v := v.(type) {
	case bool:
		if !v {
			s.Exclude = []string{"*"}
			return &s, nil
		}
		return nil, nil
	case object:
		o := readOptions("_source", v)
		s.Include = append(o.list("includes"), o.list("include")...)
		s.Exclude = append(o.list("excludes"), o.list("exclude")...)
		if err := o.done(); err != nil {
			return nil, err
		}
	default:
		list, err := asStrings("_source", v)
		if err != nil {
			return nil, err
		}
		s.Include = list
	}
	const most = 1000
	if len(s.Include)+len(s.Exclude) > most {
		return nil, errorAt("_source", "lists more than %d members", most)
	}
	if len(s.Include)+len(s.Exclude) == 0 {
		return nil, nil
	}
	return &s, nil
}

// typeField is the resource's type as a sort key.
const typeField = "_type"
