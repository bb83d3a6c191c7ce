package changelog

import (
	"fmt"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// EncodeChange is the JSON of a change as every audience gets it: the bytes that
// resource.Canonical makes, without reflection. It fails if a value in c is no JSON.
func EncodeChange(c *change.Change) ([]byte, error) {
	w := wire.NewWriter(len(c.Document) + 1024)
	w.Begin()
	w.String("id", c.ID)
	w.String("action", string(c.Action))
	w.Key("resource")
	w.Begin()
	w.String("type", c.Resource.Type)
	w.String("id", c.Resource.ID)
	w.String("href", c.Resource.Href)
	w.End()
	w.Count("revision", c.Revision)
	w.Text("lineage", c.Lineage)
	w.Time("time", c.Time)
	w.Text("project", c.Project)
	wire.Strings(w, "changed", c.Changed)
	if len(c.Before) > 0 {
		w.Values("before", c.Before)
	}
	if len(c.Document) > 0 {
		w.Append("document", func(b []byte) []byte { return append(b, c.Document...) })
	}
	w.True("late", c.Late)
	w.True("truncated", c.Truncated)
	resource.WriteCause(w, &c.Cause)
	w.End()
	b, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode change %s: %w", c.ID, err)
	}
	return b, nil
}
