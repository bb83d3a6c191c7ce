package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// MaxMutation is the largest encoded mutation that DecodeMutation accepts, in bytes.
const MaxMutation = 1 << 20

// codecVersion is the version that every encoding here begins with.
const codecVersion = 1

// ErrMalformed is wrapped by every error of a decoder in this package.
var ErrMalformed = errors.New("malformed")

// EncodeMutation returns the value of the mutation's record in fresnel.mutations.
// Equal mutations give equal bytes. Values that are no JSON are a programmer error.
func EncodeMutation(m *Mutation) []byte {
	w := wire.NewWriter(2048)
	m.write(w)
	b, err := w.Bytes()
	if err != nil {
		panic(fmt.Sprintf("resource: encode mutation of %s: %v", m.Ref, err))
	}
	return b
}

func (m *Mutation) write(w *wire.Writer) {
	w.Begin()
	w.Int("v", codecVersion)
	WriteRef(w, "ref", m.Ref)
	w.String("kind", string(m.Kind))
	w.Append("stamp", m.Stamp.append)
	if len(m.Fields) > 0 {
		w.Values("fields", m.Fields)
	}
	if len(m.Sets) > 0 {
		w.Sets("sets", m.Sets)
	}
	if len(m.Elements) > 0 {
		w.Sets("elements", m.Elements)
	}
	w.True("revives", m.Revives)
	if m.Inherit != nil {
		m.Inherit.write(w)
	}
	if c := m.Cascade; c != nil {
		w.Key("cascade")
		w.Begin()
		w.Text("child", c.Child)
		w.Text("after", c.After)
		w.End()
	}
	WriteCause(w, &m.Cause)
	w.End()
}

// WriteRef writes a reference as a member.
func WriteRef(w *wire.Writer, key string, r Ref) {
	w.Key(key)
	w.Begin()
	w.String("type", r.Type)
	w.String("id", r.ID)
	w.End()
}

func (h *Heritage) write(w *wire.Writer) {
	w.Key("inherit")
	w.Begin()
	WriteRef(w, "parent", h.Parent)
	w.Append("stamp", h.Stamp.append)
	w.Int("edition", h.Edition)
	w.Text("owner", h.Owner)
	wire.Strings(w, "readers", h.Readers)
	if !h.Deleted.IsZero() {
		w.Append("deleted", h.Deleted.append)
	}
	w.End()
}

// DecodeMutation is the reverse of EncodeMutation. It takes nothing else: unknown
// members, an unknown version or kind, trailing bytes and missing parts are errors.
func DecodeMutation(b []byte) (*Mutation, error) {
	if len(b) > MaxMutation {
		return nil, fmt.Errorf("%w mutation: %d bytes, limit %d", ErrMalformed, len(b), MaxMutation)
	}
	m, v, r := new(Mutation), int64(0), wire.NewReader(b)
	m.read(r, &v)
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("%w mutation: %w", ErrMalformed, err)
	}
	if v != codecVersion {
		return nil, fmt.Errorf("%w mutation: version %d, want %d", ErrMalformed, v, codecVersion)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w mutation: %w", ErrMalformed, err)
	}
	return m, nil
}

func (m *Mutation) read(r *wire.Reader, v *int64) {
	r.Object(func(name string) bool {
		switch name {
		case "v":
			*v = r.Int()
		case "ref":
			m.Ref = ReadRef(r)
		case "kind":
			m.Kind = Kind(r.String())
		case "stamp":
			m.Stamp = readStamp(r)
		case "fields":
			m.Fields = r.Values()
		case "sets":
			m.Sets = r.Sets()
		case "elements":
			m.Elements = r.Sets()
		case "revives":
			m.Revives = r.Bool()
		case "inherit":
			m.Inherit = readHeritage(r)
		case "cascade":
			m.Cascade = readPage(r)
		case "cause":
			m.Cause = ReadCause(r)
		default:
			return false
		}
		return true
	})
}

// check reports what makes a mutation one that cannot be folded.
func (m *Mutation) check() error {
	switch {
	case m.Ref.Type == "" || m.Ref.ID == "" || strings.Contains(m.Ref.Type, "/"):
		return errors.New("ref names no resource")
	case (m.Kind == Inherit) != (m.Inherit != nil):
		return errors.New("kind inherit and member inherit go together")
	case (m.Kind == Cascade) != (m.Cascade != nil):
		return errors.New("kind cascade and member cascade go together")
	case m.Inherit != nil && m.Inherit.Parent.IsZero():
		return errors.New("heritage names no parent")
	}
	switch m.Kind {
	case Full, Partial, Delete, Put, Drop, Inherit, Event:
		if m.Stamp.IsZero() {
			return errors.New("stamp is zero")
		}
	case Cascade:
	default:
		return errors.New("unknown kind")
	}
	return nil
}

// MarshalJSON writes a stamp as [time, version, "message"].
func (s Stamp) MarshalJSON() ([]byte, error) {
	return s.append(make([]byte, 0, 64)), nil
}

func (s Stamp) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, '['), s.Time, 10)
	b = strconv.AppendInt(append(b, ','), s.Version, 10)
	b = wire.AppendString(append(b, ','), s.Message)
	return append(b, ']')
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Stamp) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) != 3 {
		return errors.New("a stamp has three parts")
	}
	return errors.Join(json.Unmarshal(parts[0], &s.Time), json.Unmarshal(parts[1], &s.Version), json.Unmarshal(parts[2], &s.Message))
}
