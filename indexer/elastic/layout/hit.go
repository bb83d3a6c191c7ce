package layout

import (
	"encoding/json"
	"maps"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// ReadHit reads of a _source what an answer to a search shows: identity, revisions and
// fields. It is Read without what only the fold needs.
func ReadHit(r *wire.Reader) resource.Document {
	d := resource.Document{Fields: map[string]json.RawMessage{}}
	var kept map[string]json.RawMessage
	r.Object(func(name string) bool {
		switch name {
		case ID:
			d.Ref.ID = r.String()
		case Type:
			d.Ref.Type = r.String()
		case Fields:
			readFields(r, d.Fields)
		case System:
			r.Object(func(name string) bool {
				switch name {
				case sysRevision:
					d.Revision = r.Int()
				case sysTenant:
					d.TenantRevision = r.Int()
				case sysKept:
					kept = r.Values()
				default:
					r.Skip()
				}
				return true
			})
		default:
			r.Skip()
		}
		return true
	})
	maps.Copy(d.Fields, kept)
	return d
}
