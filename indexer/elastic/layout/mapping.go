package layout

import (
	"encoding/json"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
)

// MetaKey is the member of a mapping's _meta that holds the layout.
const MetaKey = "fresnel"

// gap is the number of positions between the values of a text field, so that no
// phrase matches across them.
const gap = 100

type object = map[string]any

// Mapping is the mapping of an index with this layout, as JSON: strict everywhere but
// in System and in what is not indexed, with the layout in _meta.
func (l *Layout) Mapping() json.RawMessage {
	fields := object{}
	for i := range l.Fields {
		place(fields, l.Fields[i].Name, l.Fields[i].mapping())
	}
	keyword := object{"type": "keyword", "ignore_above": MaxValue}
	leaves := object{"type": "keyword"}
	b, err := json.Marshal(object{
		"dynamic": "strict",
		"_meta":   object{MetaKey: l},
		"properties": object{
			ID: keyword, Type: keyword, Readers: keyword, Parents: keyword,
			Live: object{"type": "boolean"}, Deleted: object{"type": "boolean"},
			Written: object{"type": "date", "format": "epoch_millis"},
			Fields:  object{"type": "object", "dynamic": "strict", "properties": fields},
			Leaves:  leaves, VeiledLeaves: leaves,
			System: object{"type": "object", "enabled": false},
		},
	})
	if err != nil {
		panic("layout: a mapping is always JSON: " + err.Error())
	}
	return b
}

// place puts a mapping at a dotted name, through objects.
func place(properties object, name string, mapping object) {
	first, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		properties[name] = mapping
		return
	}
	inner, ok := properties[first].(object)
	if !ok {
		inner = object{"type": "object", "properties": object{}}
		properties[first] = inner
	}
	place(inner["properties"].(object), rest, mapping)
}

// mapping of one field. What Encode lets through fits; ignore_malformed is for what a
// server takes for malformed all the same: it must not cost us the document.
func (f *Field) mapping() object {
	switch f.Type {
	case catalog.Text:
		raw := object{"type": "keyword", "ignore_above": MaxValue}
		// Scores count words: statistics over what others may not see would tell of it.
		return object{
			"type": "text", "analyzer": "standard", "similarity": "boolean", "position_increment_gap": gap, "fields": object{Raw: raw},
		}
	case catalog.Date:
		return object{"type": "date", "format": "strict_date_optional_time||epoch_millis", "ignore_malformed": true}
	case catalog.Long, catalog.Double, catalog.IP:
		return object{"type": string(f.Type), "ignore_malformed": true}
	case catalog.Boolean:
		return object{"type": "boolean"}
	case catalog.Flattened:
		return object{"type": "object", "enabled": false}
	case catalog.Nested:
		properties := object{}
		for i := range f.Fields {
			place(properties, f.Fields[i].Name, f.Fields[i].mapping())
		}
		return object{"type": "nested", "dynamic": "strict", "properties": properties}
	default:
		return object{"type": "keyword", "ignore_above": MaxValue}
	}
}
