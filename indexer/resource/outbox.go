package resource

import (
	"errors"
	"fmt"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// EncodeOutbox encodes a document's outbox; nil for an empty one. Equal outboxes
// give equal bytes.
func EncodeOutbox(entries []Entry) []byte {
	if len(entries) == 0 {
		return nil
	}
	w := wire.NewWriter(512 * len(entries))
	w.Begin()
	w.Int("v", codecVersion)
	w.List("entries", len(entries), func(i int) { entries[i].write(w) })
	w.End()
	b, err := w.Bytes()
	if err != nil {
		panic(fmt.Sprintf("resource: encode outbox: %v", err))
	}
	return b
}

func (e *Entry) write(w *wire.Writer) {
	w.Begin()
	w.Key("at")
	w.Begin()
	w.String("log", e.At.Log)
	w.Int("partition", int64(e.At.Partition))
	w.Int("offset", e.At.Offset)
	w.End()
	w.Text("action", string(e.Action))
	w.Int("revision", e.Revision)
	w.Int("tenant_revision", e.TenantRevision)
	w.True("tenant_visible", e.TenantVisible)
	w.Time("time", e.Time)
	w.True("late", e.Late)
	wire.Strings(w, "changed", e.Changed)
	if len(e.Before) > 0 {
		w.Values("before", e.Before)
	}
	w.True("was_deleted", e.WasDeleted)
	w.Text("owner_before", e.OwnerBefore)
	wire.Strings(w, "readers_before", e.ReadersBefore)
	WriteCause(w, &e.Cause)
	w.End()
}

// DecodeOutbox is the reverse of EncodeOutbox.
func DecodeOutbox(b []byte) ([]Entry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var entries []Entry
	v, r := int64(0), wire.NewReader(b)
	r.Object(func(name string) bool {
		switch name {
		case "v":
			v = r.Int()
		case "entries":
			r.Array(func() { entries = append(entries, readEntry(r)) })
		default:
			return false
		}
		return true
	})
	err := r.Close()
	if err == nil && v != codecVersion {
		err = fmt.Errorf("version %d, want %d", v, codecVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("%w outbox: %w", ErrMalformed, err)
	}
	return entries, nil
}

func readEntry(r *wire.Reader) (e Entry) {
	r.Object(func(name string) bool {
		switch name {
		case "at":
			e.At = readPosition(r)
		case "action":
			e.Action = change.Action(r.String())
		case "revision":
			e.Revision = r.Int()
		case "tenant_revision":
			e.TenantRevision = r.Int()
		case "tenant_visible":
			e.TenantVisible = r.Bool()
		case "time":
			e.Time = r.Time()
		case "late":
			e.Late = r.Bool()
		case "changed":
			e.Changed = wire.List[string](r)
		case "before":
			e.Before = r.Values()
		case "was_deleted":
			e.WasDeleted = r.Bool()
		case "owner_before":
			e.OwnerBefore = r.String()
		case "readers_before":
			e.ReadersBefore = wire.List[Principal](r)
		case "cause":
			e.Cause = ReadCause(r)
		default:
			return false
		}
		return true
	})
	return e
}

func readPosition(r *wire.Reader) (p Position) {
	r.Object(func(name string) bool {
		switch name {
		case "log":
			p.Log = r.String()
		case "partition":
			p.Partition = int(r.Int())
		case "offset":
			p.Offset = r.Int()
		default:
			return false
		}
		return true
	})
	return p
}

// ReadRef reads a reference.
func ReadRef(r *wire.Reader) (ref Ref) {
	r.Object(func(name string) bool {
		switch name {
		case "type":
			ref.Type = r.String()
		case "id":
			ref.ID = r.String()
		default:
			return false
		}
		return true
	})
	return ref
}

func readStamp(r *wire.Reader) (s Stamp) {
	n := 0
	r.Array(func() {
		switch n++; n {
		case 1:
			s.Time = r.Int()
		case 2:
			s.Version = r.Int()
		case 3:
			s.Message = r.String()
		default:
			r.Fail(errStamp)
		}
	})
	if n != 3 {
		r.Fail(errStamp)
	}
	return s
}

var errStamp = errors.New("a stamp has three parts")

func readHeritage(r *wire.Reader) *Heritage {
	h := new(Heritage)
	r.Object(func(name string) bool {
		switch name {
		case "parent":
			h.Parent = ReadRef(r)
		case "stamp":
			h.Stamp = readStamp(r)
		case "edition":
			h.Edition = r.Int()
		case "owner":
			h.Owner = r.String()
		case "readers":
			h.Readers = wire.List[Principal](r)
		case "deleted":
			h.Deleted = readStamp(r)
		default:
			return false
		}
		return true
	})
	return h
}

func readPage(r *wire.Reader) *CascadePage {
	p := new(CascadePage)
	r.Object(func(name string) bool {
		switch name {
		case "child":
			p.Child = r.String()
		case "after":
			p.After = r.String()
		default:
			return false
		}
		return true
	})
	return p
}

// WriteCause writes the member cause.
func WriteCause(w *wire.Writer, c *change.Cause) {
	w.Key("cause")
	w.Begin()
	w.String("kind", string(c.Kind))
	w.Text("event_type", c.EventType)
	w.Text("priority", c.Priority)
	w.Text("publisher_id", c.PublisherID)
	if !c.Timestamp.IsZero() {
		w.Time("timestamp", c.Timestamp)
	}
	w.Text("message_id", c.MessageID)
	w.Text("request_id", c.RequestID)
	w.Text("initiator_user", c.InitiatorUser)
	w.Text("initiator_project", c.InitiatorProject)
	w.End()
}

// ReadCause reads what WriteCause writes.
func ReadCause(r *wire.Reader) (c change.Cause) {
	r.Object(func(name string) bool {
		switch name {
		case "kind":
			c.Kind = change.CauseKind(r.String())
		case "event_type":
			c.EventType = r.String()
		case "priority":
			c.Priority = r.String()
		case "publisher_id":
			c.PublisherID = r.String()
		case "timestamp":
			c.Timestamp = r.Time()
		case "message_id":
			c.MessageID = r.String()
		case "request_id":
			c.RequestID = r.String()
		case "initiator_user":
			c.InitiatorUser = r.String()
		case "initiator_project":
			c.InitiatorProject = r.String()
		default:
			return false
		}
		return true
	})
	return c
}
