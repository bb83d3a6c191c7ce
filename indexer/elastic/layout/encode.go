package layout

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// The members of System.
const (
	sysRevision = "revision"
	sysTenant   = "tenant_revision"
	sysLineage  = "lineage"
	sysOwner    = "owner"
	sysChanged  = "changed" // microseconds since 1970
	sysState    = "state"   // base64 of resource.EncodeState
	sysOutbox   = "outbox"  // resource.EncodeOutbox
	sysKept     = "kept"    // fields by name whose bytes stand nowhere else as they are
)

const otherPrefix = catalog.Other + "."

// Encode appends the _source of a document, on one line. A value that its field cannot
// hold, or that the index has no field for, is kept and not indexed. The error wraps
// resource.ErrRejected and names a field, never a value.
func (l *Layout) Encode(b []byte, d *resource.Document, written time.Time) ([]byte, error) {
	e := l.encoders.Get().(*encoder)
	defer l.encoders.Put(e)
	e.reset(l, b)
	b = e.head(d, written)
	b = append(b, `,"fields":{`...)
	b, err := e.fields(b, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", d.Ref, resource.ErrRejected, err)
	}
	b = append(b, '}')
	for i, name := range [...]string{Leaves, VeiledLeaves} {
		if list := e.leaves.out[i]; len(list) > 0 {
			b = append(append(append(b, `,"`...), name...), `":[`...)
			b = append(append(b, list...), ']')
		}
	}
	return e.system(b, d), nil
}

// encoder holds what one call needs; they are used again.
type encoder struct {
	l      *Layout
	start  []byte
	names  []string
	kept   []byte
	leaves leafScanner
}

func (e *encoder) reset(l *Layout, b []byte) {
	e.l, e.start, e.names, e.kept = l, b, e.names[:0], e.kept[:0]
	e.leaves.reset(l)
}

func (e *encoder) head(d *resource.Document, written time.Time) []byte {
	b := append(e.start, `{"id":`...)
	b = wire.AppendString(b, d.Ref.ID)
	b = wire.AppendString(append(b, `,"type":`...), d.Ref.Type)
	b = append(b, `,"readers":[`...)
	for i, p := range d.Readers {
		b = wire.AppendString(comma(b, i > 0), string(p))
	}
	b = append(b, `],"parents":[`...)
	for i, p := range d.Parents {
		b = wire.AppendString(comma(b, i > 0), p.Key())
	}
	b = strconv.AppendBool(append(b, `],"live":`...), !d.Ghost() && !d.Deleted)
	b = strconv.AppendBool(append(b, `,"deleted":`...), d.Deleted)
	return strconv.AppendInt(append(b, `,"written":`...), written.UnixMilli(), 10)
}

func comma(b []byte, yes bool) []byte {
	if yes {
		return append(b, ',')
	}
	return b
}

// fields writes what stands under Fields, and gathers what is kept beside it. The
// registers of catalog.Other are neighbours, and stand in one object.
func (e *encoder) fields(b []byte, d *resource.Document) ([]byte, error) {
	for name := range d.Fields {
		e.names = append(e.names, name)
	}
	slices.Sort(e.names)
	empty, other := len(b), false
	for _, name := range e.names {
		v := d.Fields[name]
		if !wire.Compact(v) {
			return nil, fmt.Errorf("field %s is no compact JSON", strconv.Quote(name[:min(len(name), 128)]))
		}
		key, inOther := strings.CutPrefix(name, otherPrefix)
		if inOther = inOther && key != ""; inOther != other {
			if other {
				b = append(b, '}')
			} else {
				b = append(comma(b, len(b) > empty), `"other":{`...)
			}
			other = inOther
		}
		if err := e.leavesOf(name, v, inOther); err != nil {
			return nil, err
		}
		if inOther {
			b = wire.AppendString(comma(b, b[len(b)-1] != '{'), key)
			b = append(append(b, ':'), v...)
			continue
		}
		if v, ok := e.fit(name, v); ok {
			b = wire.AppendString(comma(b, len(b) > empty), name)
			b = append(append(b, ':'), v...)
		}
	}
	if other {
		b = append(b, '}')
	}
	return b, nil
}

// leavesOf gathers what a register is searched by, if it is of a flattened field.
func (e *encoder) leavesOf(name string, v json.RawMessage, inOther bool) error {
	root := name
	switch f := e.l.index[name]; {
	case inOther:
		root = catalog.Other
	case f == nil:
		root = e.l.flattened(name)
	case f.Type != catalog.Flattened:
		return nil
	}
	if root == "" {
		return nil
	}
	return e.leaves.field(root, name, v)
}

// fit returns what is indexed of a value; if that is not the value, it keeps it.
func (e *encoder) fit(name string, v json.RawMessage) (indexed json.RawMessage, ok bool) {
	if f := e.l.index[name]; f != nil && name != catalog.Other {
		if f.fits(v) {
			return v, true
		}
		indexed, ok = f.convert(v)
	}
	if !ok || !bytes.Equal(indexed, v) {
		e.kept = wire.AppendString(comma(e.kept, len(e.kept) > 0), name)
		e.kept = append(append(e.kept, ':'), v...)
	}
	return indexed, ok
}

func (e *encoder) system(b []byte, d *resource.Document) []byte {
	b = strconv.AppendInt(append(b, `,"system":{"revision":`...), d.Revision, 10)
	b = strconv.AppendInt(append(b, `,"tenant_revision":`...), d.TenantRevision, 10)
	b = wire.AppendString(append(b, `,"lineage":`...), d.Lineage)
	if d.Owner != "" {
		b = wire.AppendString(append(b, `,"owner":`...), d.Owner)
	}
	b = strconv.AppendInt(append(b, `,"changed":`...), d.Changed.UnixMicro(), 10)
	b = base64.StdEncoding.AppendEncode(append(b, `,"state":"`...), resource.EncodeState(&d.State))
	b = append(b, '"')
	if len(d.Outbox) > 0 {
		b = append(append(b, `,"outbox":`...), resource.EncodeOutbox(d.Outbox)...)
	}
	if len(e.kept) > 0 {
		b = append(append(append(b, `,"kept":{`...), e.kept...), '}')
	}
	return append(b, '}', '}')
}
