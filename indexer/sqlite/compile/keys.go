package compile

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// ErrKeys says that packed sort keys are not what SortKeys makes.
var ErrKeys = errors.New("malformed sort keys")

// SortKey is one sort key of a statement. Exactly one of its sources applies.
type SortKey struct {
	Desc  bool
	First bool // documents without a value come first

	Score, ID, Type bool
	fields          []int64  // columns to look for in packed sort keys
	paths           []string // a flattened field and the path in it
	max             bool     // of several values take the largest
}

// Flattened reports whether the key's values stand in the document only.
func (k SortKey) Flattened() bool { return len(k.paths) > 0 }

// sort compiles the sort keys: fields that the caller may not see are as unknown
// as those that do not exist.
func (c *compiler) sort() (keys []SortKey, err error) {
	for _, s := range c.req.Sort {
		k := SortKey{Desc: s.Desc, First: s.Missing == "_first"}
		k.max = s.Mode == "max" || s.Mode == "" && s.Desc
		switch s.Field {
		case "_score":
			k.Score = true
		case "_id":
			k.ID = true
		case "_type":
			k.Type = true
		default:
			for _, t := range c.lookup(s.Field, "") {
				c.sortTarget(&k, s.Field, t)
			}
			if len(k.fields)+len(k.paths) == 0 {
				if s.Field != "id" {
					return nil, &query.Error{Path: "sort." + s.Field, Detail: "there is no such field to sort by"}
				}
				k.ID = true
			}
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func (c *compiler) sortTarget(k *SortKey, name string, t target) {
	switch t.kind {
	case Token: // sorted by the whole text
		for _, raw := range c.lookup(name+".raw", "") {
			if !slices.Contains(k.fields, raw.id) {
				k.fields = append(k.fields, raw.id)
			}
		}
	case Pair:
		k.paths = []string{strings.TrimSuffix(name, "."+t.within), t.within}
	default:
		k.fields = append(k.fields, t.id)
	}
}

// Packed is what SortKeys packed, read.
type Packed struct {
	ID   string
	rest []byte
}

// Unpack reads packed sort keys.
func Unpack(b []byte) (Packed, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || uint64(len(b)-w) < n {
		return Packed{}, ErrKeys
	}
	return Packed{ID: string(b[w : w+int(n)]), rest: b[w+int(n):]}, nil
}

// Value finds the value to sort by; ok is false if the document has none.
func (k SortKey) Value(p Packed) (v Value, ok bool) {
	for b := p.rest; len(b) > 0; {
		field, w := binary.Uvarint(b)
		if w <= 0 {
			return v, false
		}
		lo, rest, fine := readValue(b[w:])
		if !fine {
			return v, false
		}
		hi, rest, fine := readValue(rest)
		if !fine {
			return v, false
		}
		b = rest
		if slices.Contains(k.fields, int64(field)) {
			v = k.better(k.better(v, ok, lo), true, hi)
			ok = true
		}
	}
	return v, ok
}

// better is the value to sort by of v, if there is one yet, and o.
func (k SortKey) better(v Value, ok bool, o Value) Value {
	if !ok || k.max && o.Compare(v) > 0 || !k.max && o.Compare(v) < 0 {
		return o
	}
	return v
}

// FlatValue finds the value of a key for which Flattened is true in a document's
// fields, those that the caller may not see left out.
func (k SortKey) FlatValue(fields map[string]json.RawMessage) (v Value, ok bool) {
	for name, raw := range fields {
		full := k.paths[0] + "." + k.paths[1]
		if name != k.paths[0] && name != full && !strings.HasPrefix(full, name+".") {
			continue
		}
		decoded, err := decode(raw)
		if err != nil {
			continue
		}
		if rest := strings.TrimPrefix(full, name); rest != "" {
			obj, isObject := decoded.(map[string]any)
			if !isObject {
				continue
			}
			decoded, _ = member(obj, rest[1:])
		}
		for _, one := range values(decoded) {
			if s, fine := scalar.Text(one); fine && len(s) <= MaxValue {
				v, ok = k.better(v, ok, textValue(s)), true
			}
		}
	}
	return v, ok
}
