package changelog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/fresnel-search/fresnel/indexer/resource"
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

type wireEntry struct {
	V int `json:"v"`
	*Entry
}

// Encode returns the value of the entry's record in fresnel.changes. Equal entries
// give equal bytes. Values that are no JSON are a programmer error.
func Encode(e *Entry) []byte {
	b, err := resource.Canonical(wireEntry{codecVersion, e})
	if err != nil {
		panic(fmt.Sprintf("changelog: encode entry of %s: %v", e.Ref, err))
	}
	return b
}

// Decode is the reverse of Encode and takes nothing else.
func Decode(b []byte) (*Entry, error) {
	if len(b) > maxDecoded {
		return nil, fmt.Errorf("%w entry: %d bytes, limit %d", ErrMalformed, len(b), maxDecoded)
	}
	w := wireEntry{Entry: new(Entry)}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w entry: %w", ErrMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w entry: bytes after the end", ErrMalformed)
	}
	if w.V != codecVersion {
		return nil, fmt.Errorf("%w entry: version %d, want %d", ErrMalformed, w.V, codecVersion)
	}
	if w.ID == "" || w.Ref.Type == "" || w.Ref.ID == "" {
		return nil, fmt.Errorf("%w entry: it names no change of a resource", ErrMalformed)
	}
	switch w.Action {
	case change.Created, change.Updated, change.Deleted, change.Event:
		return w.Entry, nil
	}
	return nil, fmt.Errorf("%w entry: unknown action", ErrMalformed)
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
