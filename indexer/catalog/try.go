package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// Try writes what each record becomes, for people: one line for what it was, then
// its mutations with their fields. It stops at the first error of the writer.
func Try(w io.Writer, c *Catalog, records []stream.Record) error {
	for i := range records {
		var b bytes.Buffer
		n, err := notification.Decode(records[i], notification.DefaultLimits())
		if err != nil {
			fmt.Fprintf(&b, "%d\tdead: %v\n", i+1, err)
		} else {
			fmt.Fprintf(&b, "%d\t%s %s %s", i+1, n.Timestamp.Format(timeFormat), n.Priority, n.EventType)
			c.try(&b, n)
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return fmt.Errorf("write what record %d becomes: %w", i+1, err)
		}
	}
	return nil
}

func (c *Catalog) try(b *bytes.Buffer, n *notification.Notification) {
	res := c.Mutations(n)
	switch {
	case res.Err != nil:
		fmt.Fprintf(b, " -> dead: %v\n", res.Err)
	case res.Ignored != "":
		fmt.Fprintf(b, " -> ignored: %s\n", res.Ignored)
	default:
		b.WriteByte('\n')
	}
	for i := range res.Mutations {
		m := &res.Mutations[i]
		fmt.Fprintf(b, "\t%s %s", m.Kind, m.Ref)
		if m.Stamp.Version != 0 {
			fmt.Fprintf(b, " version %d", m.Stamp.Version)
		}
		if m.Revives {
			b.WriteString(" revives")
		}
		b.WriteByte('\n')
		describe(b, m)
	}
}

// describe writes what a mutation says, sorted.
func describe(b *bytes.Buffer, m *resource.Mutation) {
	for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
		fmt.Fprintf(b, "\t\t%s = %s\n", name, m.Fields[name])
	}
	for _, set := range slices.Sorted(maps.Keys(m.Sets)) {
		fmt.Fprintf(b, "\t\t%s is the set of %d\n", set, len(m.Sets[set]))
		elements(b, set, m.Sets[set])
	}
	for _, set := range slices.Sorted(maps.Keys(m.Elements)) {
		elements(b, set, m.Elements[set])
	}
}

func elements(b *bytes.Buffer, set string, of map[string]json.RawMessage) {
	for _, key := range slices.Sorted(maps.Keys(of)) {
		if resource.IsNull(of[key]) {
			fmt.Fprintf(b, "\t\t%s - %s\n", set, key)
			continue
		}
		fmt.Fprintf(b, "\t\t%s + %s %s\n", set, key, of[key])
	}
}
