package dsl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Key is one sort key of a part.
type Key struct {
	sort  query.Sort
	by    by
	field string // of the index
	kind  kind
	flat  target // of leaves
}

// by is what a key looks at.
type by string

const (
	byNothing by = "" // the field is not there or not to be seen: no document has a value
	byScore   by = "score"
	byID      by = "id"
	byType    by = "type"
	byField   by = "field"
	byLeaf    by = "leaf"
)

// sortKeys are the keys as each index has them. A field that no type has, or that is
// hidden in all, is the caller's mistake.
func (c *compiler) sortKeys() ([][]Key, error) {
	out := make([][]Key, len(c.indices))
	for _, s := range c.req.Sort {
		undeclared := s.Field != "_score" && s.Field != "_id" && s.Field != "_type" && !c.known(s.Field, "")
		if undeclared && s.Field != "id" {
			return nil, &query.Error{Path: "sort." + s.Field, Detail: "there is no such field to sort by"}
		}
		for i, ix := range c.indices {
			out[i] = append(out[i], ix.sortKey(s, undeclared, c.req.Scope))
		}
	}
	return out, nil
}

func (ix *Index) sortKey(s query.Sort, undeclared bool, scope *query.Scope) Key {
	k := Key{sort: s}
	switch {
	case s.Field == "_score":
		k.by = byScore
	case s.Field == "_id", undeclared:
		k.by = byID
	case s.Field == "_type":
		k.by = byType
	default:
		t, ok := ix.lookup(s.Field, "", scope)
		switch {
		case !ok, t.kind == flat && len(t.fields) == 0:
		case t.kind == flat:
			k.by, k.flat = byLeaf, t
		case t.kind == word: // sorted by the whole text
			k.by, k.field, k.kind = byField, t.fields[0]+"."+layout.Raw, keyword
		default:
			k.by, k.field, k.kind = byField, t.fields[0], t.kind
		}
	}
	return k
}

// clashes reports whether k cannot stand for another index's key o in one search: that
// index would sort by something else, or by what is hidden in it.
func (k Key) clashes(o Key, other *Index) bool {
	switch {
	case k.by == byLeaf && o.by == byLeaf:
		return false
	case k.by == byLeaf:
		return o.by != byNothing || other.hasLeaves(k.flat.path)
	case k.by != byField:
		return false
	case o.by == byField:
		return k.field != o.field || k.kind != o.kind && (!k.kind.number() || !o.kind.number())
	}
	_, there := other.kinds[strings.TrimSuffix(k.field, "."+layout.Raw)]
	return there || o.by == byLeaf
}

// number reports whether values are numbers that servers compare across indices.
func (k kind) number() bool { return k == long || k == double }

// joined are the keys for a search of several indices.
func joined(keys [][]Key, members []int) []Key {
	out := append([]Key(nil), keys[members[0]]...)
	for _, i := range members[1:] {
		for j, k := range keys[i] {
			switch {
			case out[j].by == byNothing:
				out[j] = k
			case k.by == byField && k.kind != out[j].kind:
				out[j].kind = double
			case k.by == byLeaf && len(k.flat.fields) > len(out[j].flat.fields):
				out[j].flat.fields = k.flat.fields
			}
		}
	}
	return out
}

// sortBody writes the keys; ties are broken by type and id.
func sortBody(keys []Key) list {
	var out list
	if len(keys) == 0 {
		out = append(out, object{"_score": object{"order": "desc"}})
	}
	for _, k := range keys {
		order := object{"order": "asc"}
		if k.sort.Desc {
			order["order"] = "desc"
		}
		switch k.by {
		case byNothing:
		case byScore:
			out = append(out, object{"_score": order})
		case byID:
			out = append(out, object{layout.ID: order})
		case byType:
			out = append(out, object{layout.Type: order})
		case byLeaf:
			out = append(out, object{"_script": k.script(order)})
		case byField:
			order["missing"] = cmp.Or(k.sort.Missing, "_last")
			order["unmapped_type"] = string(k.kind)
			if k.kind == double {
				order["numeric_type"] = "double"
			}
			if k.sort.Mode != "" {
				order["mode"] = k.sort.Mode
			}
			out = append(out, object{k.field: order})
		}
	}
	return append(out, object{layout.Type: object{"order": "asc"}}, object{layout.ID: object{"order": "asc"}})
}

// leafScript finds the smallest or largest leaf at a path. What it returns begins with
// 1; documents without one give 0 or 2, to stand before or after.
const leafScript = `String best = null;
for (f in params.fields) {
  for (v in doc[f]) {
    if (v.startsWith(params.path)) {
      String s = v.substring(params.path.length());
      if (best == null || (params.max ? s.compareTo(best) > 0 : s.compareTo(best) < 0)) { best = s; }
    }
  }
}
return best == null ? params.missing : '1' + best;`

func (k Key) script(order object) object {
	missing := "2"
	if k.sort.Desc != (k.sort.Missing == "_first") {
		missing = "0"
	}
	order["type"] = "string"
	order["script"] = object{"lang": "painless", "source": leafScript, "params": object{
		"fields": k.flat.fields, "path": layout.LeafPath(k.flat.path), "missing": missing,
		"max": k.sort.Mode == "max" || k.sort.Mode == "" && k.sort.Desc,
	}}
	return order
}

// Values reads a hit's sort values as the server sent them.
func Values(keys []Key, sent []json.RawMessage, id string) []Value {
	out := make([]Value, len(keys))
	at := 0
	for i, k := range keys {
		if k.by == byNothing || at >= len(sent) {
			if k.sort.Field == "id" {
				out[i].shown = text(id)
			}
			continue
		}
		out[i] = k.read(sent[at])
		at++
		if k.sort.Field == "id" && out[i].shown == nil {
			out[i].shown = text(id)
		}
	}
	return out
}

// Value is a sort value; the zero one is that of a document without.
type Value struct {
	shown json.RawMessage
	form  byte // 'n' number, 't' text, 'a' address; 0 is none
	n     float64
	s     string
}

// JSON is the value as answers show it.
func (v Value) JSON() json.RawMessage {
	if v.shown == nil {
		return json.RawMessage("null")
	}
	return v.shown
}

// Number is the value of a number.
func (v Value) Number() float64 { return v.n }

func (k Key) read(sent json.RawMessage) Value {
	var s string
	isText := json.Unmarshal(sent, &s) == nil && len(sent) > 0 && sent[0] == '"'
	switch {
	case bytes.Equal(sent, []byte("null")):
		return Value{}
	case k.by == byLeaf:
		if !strings.HasPrefix(s, "1") {
			return Value{}
		}
		return Value{shown: text(s[1:]), form: 't', s: s[1:]}
	case k.by == byField && k.kind == ip:
		a, err := netip.ParseAddr(s)
		if err != nil {
			return Value{}
		}
		b := a.As16()
		return Value{shown: text(a.Unmap().String()), form: 'a', s: string(b[:])}
	case isText:
		if k.by == byField && k.kind != keyword { // an infinity
			return Value{}
		}
		return Value{shown: text(s), form: 't', s: s}
	}
	return k.readNumber(sent)
}

// readNumber takes what servers send for a missing number, the last one of its type,
// for none.
func (k Key) readNumber(sent json.RawMessage) Value {
	if k.by == byField && k.kind == boolean {
		switch string(sent) {
		case "0", "false":
			return Value{shown: json.RawMessage("0"), form: 'n'}
		case "1", "true":
			return Value{shown: json.RawMessage("1"), form: 'n', n: 1}
		}
		return Value{}
	}
	if i, err := strconv.ParseInt(string(sent), 10, 64); err == nil {
		if k.by == byField && (i == math.MaxInt64 || i == math.MinInt64) {
			return Value{}
		}
		return Value{shown: sent, form: 'n', n: float64(i)}
	}
	f, err := strconv.ParseFloat(string(sent), 64)
	if err != nil {
		return Value{}
	}
	shown, err := json.Marshal(f)
	if err != nil {
		return Value{}
	}
	return Value{shown: shown, form: 'n', n: f}
}

func text(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always encodes
		return json.RawMessage(`""`)
	}
	return bytes.TrimSpace(b.Bytes())
}

// Compare orders two hits of different parts by their sort values: numbers before
// texts before addresses. It is 0 for a tie.
func Compare(keys []Key, a, b []Value) int {
	for i, k := range keys {
		x, y := a[i], b[i]
		if (x.form == 0) != (y.form == 0) {
			if (x.form == 0) == (k.sort.Missing == "_first") {
				return -1
			}
			return 1
		}
		c := cmp.Or(cmp.Compare(rank(x.form), rank(y.form)), cmp.Compare(x.n, y.n), strings.Compare(x.s, y.s))
		if k.sort.Desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func rank(form byte) int { return strings.IndexByte("\x00nta", form) }
