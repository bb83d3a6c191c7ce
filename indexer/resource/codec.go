package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxMutation is the largest encoded mutation that DecodeMutation accepts, in bytes.
const MaxMutation = 1 << 20

// codecVersion is the version that every encoding here begins with.
const codecVersion = 1

// ErrMalformed is wrapped by every error of a decoder in this package.
var ErrMalformed = errors.New("malformed")

type wireMutation struct {
	V int `json:"v"`
	*Mutation
}

// EncodeMutation returns the value of the mutation's record in fresnel.mutations.
// Equal mutations give equal bytes. Values that are no JSON are a programmer error.
func EncodeMutation(m *Mutation) []byte {
	b, err := marshal(wireMutation{codecVersion, m})
	if err != nil {
		panic(fmt.Sprintf("resource: encode mutation of %s: %v", m.Ref, err))
	}
	return b
}

// DecodeMutation is the reverse of EncodeMutation. It takes nothing else: unknown
// members, an unknown version or kind, trailing bytes and missing parts are errors.
func DecodeMutation(b []byte) (*Mutation, error) {
	if len(b) > MaxMutation {
		return nil, fmt.Errorf("%w mutation: %d bytes, limit %d", ErrMalformed, len(b), MaxMutation)
	}
	w := wireMutation{Mutation: new(Mutation)}
	if err := decodeStrict(b, &w); err != nil {
		return nil, fmt.Errorf("%w mutation: %w", ErrMalformed, err)
	}
	if w.V != codecVersion {
		return nil, fmt.Errorf("%w mutation: version %d, want %d", ErrMalformed, w.V, codecVersion)
	}
	if err := w.check(); err != nil {
		return nil, fmt.Errorf("%w mutation: %w", ErrMalformed, err)
	}
	return w.Mutation, nil
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

// decodeStrict decodes exactly one JSON value without unknown members.
func decodeStrict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bytes after the end")
	}
	return nil
}

// MarshalJSON writes a stamp as [time, version, "message"].
func (s Stamp) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, 64), '[')
	b = strconv.AppendInt(b, s.Time, 10)
	b = strconv.AppendInt(append(b, ','), s.Version, 10)
	b = AppendString(append(b, ','), s.Message)
	return append(b, ']'), nil
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

type wireOutbox struct {
	V       int     `json:"v"`
	Entries []Entry `json:"entries"`
}

// EncodeOutbox encodes a document's outbox; nil for an empty one. Equal outboxes
// give equal bytes.
func EncodeOutbox(entries []Entry) []byte {
	if len(entries) == 0 {
		return nil
	}
	b, err := marshal(wireOutbox{codecVersion, entries})
	if err != nil {
		panic(fmt.Sprintf("resource: encode outbox: %v", err))
	}
	return b
}

// DecodeOutbox is the reverse of EncodeOutbox.
func DecodeOutbox(b []byte) ([]Entry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var w wireOutbox
	if err := decodeStrict(b, &w); err != nil {
		return nil, fmt.Errorf("%w outbox: %w", ErrMalformed, err)
	}
	if w.V != codecVersion {
		return nil, fmt.Errorf("%w outbox: version %d, want %d", ErrMalformed, w.V, codecVersion)
	}
	return w.Entries, nil
}
