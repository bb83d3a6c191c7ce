package changelog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// MaxEntry is the largest encoded entry that should go into the change log, in
// bytes: brokers take 1 MB by default, with all that Kafka adds to it.
const MaxEntry = 900 << 10

// maxDecoded bounds what Decode looks at.
const maxDecoded = 4 << 20

const codecVersion = 1

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed")

// Encode returns the value of the entry's record in fresnel.changes. Equal entries
// give equal bytes. Values that are no JSON are a programmer error.
func Encode(e *Entry) []byte {
	w := wire.NewWriter(2048)
	e.write(w)
	b, err := w.Bytes()
	if err != nil {
		panic(fmt.Sprintf("changelog: encode entry of %s: %v", e.Ref, err))
	}
	return b
}

func (e *Entry) write(w *wire.Writer) {
	w.Begin()
	w.Int("v", codecVersion)
	w.String("id", e.ID)
	resource.WriteRef(w, "ref", e.Ref)
	w.String("action", string(e.Action))
	w.Text("lineage", e.Lineage)
	w.Count("revision", e.Revision)
	w.Count("tenant_revision", e.TenantRevision)
	w.True("tenant_visible", e.TenantVisible)
	w.Time("time", e.Time)
	w.True("late", e.Late)
	w.True("truncated", e.Truncated)
	w.True("was_deleted", e.WasDeleted)
	wire.Strings(w, "changed", e.Changed)
	if len(e.Before) > 0 {
		w.Values("before", e.Before)
	}
	if len(e.Fields) > 0 {
		w.Values("fields", e.Fields)
	}
	w.Text("owner", e.Owner)
	w.Text("owner_before", e.OwnerBefore)
	wire.Strings(w, "readers", e.Readers)
	wire.Strings(w, "readers_before", e.ReadersBefore)
	resource.WriteCause(w, &e.Cause)
	w.End()
}

// Decode is the reverse of Encode and takes nothing else.
func Decode(b []byte) (*Entry, error) {
	if len(b) > maxDecoded {
		return nil, fmt.Errorf("%w entry: %d bytes, limit %d", ErrMalformed, len(b), maxDecoded)
	}
	e, v, r := new(Entry), int64(0), wire.NewReader(b)
	r.Object(func(name string) bool {
		if name == "v" {
			v = r.Int()
			return true
		}
		return e.read(r, name)
	})
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("%w entry: %w", ErrMalformed, err)
	}
	if v != codecVersion {
		return nil, fmt.Errorf("%w entry: version %d, want %d", ErrMalformed, v, codecVersion)
	}
	if e.ID == "" || e.Ref.Type == "" || e.Ref.ID == "" {
		return nil, fmt.Errorf("%w entry: it names no change of a resource", ErrMalformed)
	}
	switch e.Action {
	case change.Created, change.Updated, change.Deleted, change.Event:
		return e, nil
	}
	return nil, fmt.Errorf("%w entry: unknown action", ErrMalformed)
}

func (e *Entry) read(r *wire.Reader, name string) bool {
	switch name {
	case "id":
		e.ID = r.String()
	case "ref":
		e.Ref = resource.ReadRef(r)
	case "action":
		e.Action = change.Action(r.String())
	case "lineage":
		e.Lineage = r.String()
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
	case "truncated":
		e.Truncated = r.Bool()
	case "was_deleted":
		e.WasDeleted = r.Bool()
	case "changed":
		e.Changed = wire.List[string](r)
	case "before":
		e.Before = r.Values()
	case "fields":
		e.Fields = r.Values()
	case "owner":
		e.Owner = r.String()
	case "owner_before":
		e.OwnerBefore = r.String()
	case "readers":
		e.Readers = wire.List[resource.Principal](r)
	case "readers_before":
		e.ReadersBefore = wire.List[resource.Principal](r)
	case "cause":
		e.Cause = resource.ReadCause(r)
	default:
		return false
	}
	return true
}

// ChangeID is the id of the change to a revision: the same whenever, wherever and to
// whomever it is shown.
func ChangeID(lineage string, revision int64) string {
	return digest("change", lineage, strconv.FormatInt(revision, 10))
}

// EventID is the id of what a message said about a resource without changing it.
func EventID(messageID string, ref resource.Ref) string {
	return digest("event", messageID, ref.Key())
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// FromDocument makes the entry of a transition from the document as of right after
// it. The entry shares maps and slices with both.
func FromDocument(d *resource.Document, t *resource.Entry) Entry {
	return Entry{
		ID: ChangeID(d.Lineage, t.Revision), Ref: d.Ref, Action: t.Action, Lineage: d.Lineage,
		Revision: t.Revision, TenantRevision: t.TenantRevision, TenantVisible: t.TenantVisible,
		Time: t.Time, Late: t.Late, WasDeleted: t.WasDeleted,
		Changed: t.Changed, Before: t.Before, Fields: d.Fields,
		Owner: d.Owner, OwnerBefore: t.OwnerBefore, Readers: d.Readers, ReadersBefore: t.ReadersBefore,
		Cause: t.Cause,
	}
}

// FromEvent makes the entry of an event from the document as it was when the event
// came, which decides who may see it.
func FromEvent(m *resource.Mutation, d *resource.Document) Entry {
	return Entry{
		ID: EventID(m.Cause.MessageID, m.Ref), Ref: m.Ref, Action: change.Event, Lineage: d.Lineage,
		Revision: d.Revision, TenantRevision: d.TenantRevision,
		Time: m.Stamp.When(), WasDeleted: d.Deleted, Fields: m.Fields,
		Owner: d.Owner, Readers: d.Readers, Cause: m.Cause,
	}
}

// Truncate returns the entry without its values, for one that the log cannot take.
func Truncate(e *Entry) *Entry {
	short := *e
	short.Truncated, short.Fields, short.Before = true, nil, nil
	return &short
}
