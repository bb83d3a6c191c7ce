package layout

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// Stored is a document as it stands in an index, with the time of its last write.
// Its Document has no version: that stands beside the _source.
type Stored struct {
	Document resource.Document
	Written  time.Time
}

// Decode is the reverse of Encode, whatever layout wrote the _source. An unknown
// member is an error: a later edition wrote it.
func Decode(b []byte) (Stored, error) {
	r := wire.NewReader(b)
	s, err := Read(r)
	return s, errors.Join(err, r.Close())
}

// Read is Decode of the value that a reader is at. The error of what is no JSON of a
// document is the reader's, and Close tells it.
func Read(r *wire.Reader) (Stored, error) {
	s := Stored{Document: resource.Document{Fields: map[string]json.RawMessage{}}}
	d := &s.Document
	var sys system
	r.Object(func(name string) bool {
		switch name {
		case ID:
			d.Ref.ID = r.String()
		case Type:
			d.Ref.Type = r.String()
		case Readers:
			d.Readers = wire.List[resource.Principal](r)
		case Parents:
			r.Array(func() {
				ref, ok := resource.ParseKey(r.String())
				if !ok {
					r.Fail(errors.New("a parent names no resource"))
				}
				d.Parents = append(d.Parents, ref)
			})
		case Live:
			r.Bool()
		case Deleted:
			d.Deleted = r.Bool()
		case Written:
			s.Written = time.UnixMilli(r.Int()).UTC()
		case Fields:
			readFields(r, d.Fields)
		case Leaves, VeiledLeaves:
			r.Array(func() { r.Skip() })
		case System:
			sys.read(r, d)
		default:
			return false
		}
		return true
	})
	return s, sys.finish(d)
}

// readFields reads a section: its member other holds registers, the others are fields.
func readFields(r *wire.Reader, fields map[string]json.RawMessage) {
	r.Object(func(name string) bool {
		if name != catalog.Other {
			fields[name] = r.Raw()
			return true
		}
		r.Object(func(key string) bool {
			fields[otherPrefix+key] = r.Raw()
			return true
		})
		return true
	})
}

// system is what of System can only be used when all is read.
type system struct {
	state  string
	outbox json.RawMessage
	kept   map[string]json.RawMessage
}

func (s *system) read(r *wire.Reader, d *resource.Document) {
	r.Object(func(name string) bool {
		switch name {
		case sysRevision:
			d.Revision = r.Int()
		case sysTenant:
			d.TenantRevision = r.Int()
		case sysLineage:
			d.Lineage = r.String()
		case sysOwner:
			d.Owner = r.String()
		case sysChanged:
			d.Changed = time.UnixMicro(r.Int()).UTC()
		case sysState:
			s.state = r.String()
		case sysOutbox:
			s.outbox = r.Raw()
		case sysKept:
			s.kept = r.Values()
		default:
			return false
		}
		return true
	})
}

// finish puts the kept values over what was indexed of them, and decodes the state.
func (s *system) finish(d *resource.Document) error {
	maps.Copy(d.Fields, s.kept)
	state, err := base64.StdEncoding.DecodeString(s.state)
	if err == nil {
		d.State, err = resource.DecodeState(state, d.Fields)
	}
	if err == nil {
		d.Outbox, err = resource.DecodeOutbox(s.outbox)
	}
	if err != nil {
		return fmt.Errorf("document %s: %w", d.Ref, err)
	}
	return nil
}
