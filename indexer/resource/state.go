package resource

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// EncodeState encodes a state compactly: every distinct stamp stands once, in a
// table, and most documents have one. Values of elements that are present are left
// out, since Document.Fields holds them. Equal states give equal bytes.
func EncodeState(s *State) []byte {
	w := stateWriter{index: make(map[Stamp]uint64, 4), body: make([]byte, 0, 512)}
	w.stamp(s.Deleted)
	w.stamp(s.Revived)
	w.stamp(s.Horizon)
	w.stamp(s.Latest)
	w.stamp(s.Shown)
	w.varint(s.Edition)
	w.bool(s.Named)
	w.uvarint(uint64(len(s.Deletions)))
	for _, d := range s.Deletions {
		w.stamp(d)
	}
	w.uvarint(uint64(len(s.Fields)))
	for _, name := range wire.Keys(s.Fields) {
		w.string(name)
		w.stamp(s.Fields[name])
	}
	w.uvarint(uint64(len(s.Sets)))
	for _, name := range wire.Keys(s.Sets) {
		w.set(name, s.Sets[name])
	}
	w.uvarint(uint64(len(s.Heritage)))
	for _, key := range wire.Keys(s.Heritage) {
		w.heritage(key, s.Heritage[key])
	}
	return w.bytes()
}

// stateWriter writes the body and gathers the table of stamps that goes before it.
type stateWriter struct {
	table []Stamp
	index map[Stamp]uint64 // from 1; the zero stamp is 0
	last  Stamp            // the one written before, which mostly comes again
	lastI uint64
	body  []byte
}

func (w *stateWriter) uvarint(n uint64) { w.body = binary.AppendUvarint(w.body, n) }
func (w *stateWriter) varint(n int64)   { w.body = binary.AppendVarint(w.body, n) }

func (w *stateWriter) bool(v bool) {
	if v {
		w.body = append(w.body, 1)
	} else {
		w.body = append(w.body, 0)
	}
}

func (w *stateWriter) string(s string) {
	w.uvarint(uint64(len(s)))
	w.body = append(w.body, s...)
}

func (w *stateWriter) stamp(s Stamp) {
	if s.IsZero() {
		w.uvarint(0)
		return
	}
	if s == w.last {
		w.uvarint(w.lastI)
		return
	}
	i, ok := w.index[s]
	if !ok {
		w.table = append(w.table, s)
		i = uint64(len(w.table))
		w.index[s] = i
	}
	w.last, w.lastI = s, i
	w.uvarint(i)
}

func (w *stateWriter) set(name string, s Set) {
	w.string(name)
	w.stamp(s.Cleared)
	w.uvarint(uint64(len(s.Elements)))
	for _, key := range wire.Keys(s.Elements) {
		e := s.Elements[key]
		w.string(key)
		w.stamp(e.Put)
		w.stamp(e.Drop)
	}
}

func (w *stateWriter) heritage(key string, h Heritage) {
	w.string(key)
	w.string(h.Parent.Type)
	w.string(h.Parent.ID)
	w.stamp(h.Stamp)
	w.varint(h.Edition)
	w.string(h.Owner)
	w.stamp(h.Deleted)
	w.uvarint(uint64(len(h.Readers)))
	for _, p := range h.Readers {
		w.string(string(p))
	}
}

func (w *stateWriter) bytes() []byte {
	head := stateWriter{body: make([]byte, 0, 64*len(w.table)+len(w.body)+16)}
	head.body = append(head.body, codecVersion)
	head.uvarint(uint64(len(w.table)))
	for _, s := range w.table {
		head.varint(s.Time)
		head.varint(s.Version)
		head.string(s.Message)
	}
	return append(head.body, w.body...)
}

// DecodeState is the reverse of EncodeState. It takes the values of elements from
// fields, the document's Fields as they were when the state was encoded.
func DecodeState(b []byte, fields map[string]json.RawMessage) (State, error) {
	if len(b) == 0 {
		return State{}, nil
	}
	r := stateReader{b: b}
	s := r.state()
	if r.err == nil && len(r.b) > 0 {
		r.err = errors.New("bytes after the end")
	}
	if r.err == nil {
		r.err = s.restore(fields)
	}
	if r.err != nil {
		return State{}, fmt.Errorf("%w state: %w", ErrMalformed, r.err)
	}
	return s, nil
}

// restore puts the values of present elements back from the arrays in fields.
func (s *State) restore(fields map[string]json.RawMessage) error {
	for name, set := range s.Sets {
		var values []json.RawMessage
		if v := fields[name]; v != nil {
			if err := json.Unmarshal(v, &values); err != nil {
				return fmt.Errorf("set %q is no array", name)
			}
		}
		for _, key := range wire.Keys(set.Elements) {
			e := set.Elements[key]
			if !e.Present(set.Cleared) {
				continue
			}
			if len(values) == 0 {
				return fmt.Errorf("set %q has too few values", name)
			}
			e.Value, values = values[0], values[1:]
			set.Elements[key] = e
		}
		if len(values) > 0 {
			return fmt.Errorf("set %q has too many values", name)
		}
	}
	return nil
}

// stateReader reads until the first error; then it gives zero values.
type stateReader struct {
	b     []byte
	table []Stamp
	err   error
}

var errShort = errors.New("unexpected end")

func (r *stateReader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *stateReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *stateReader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads a number of things that take at least one byte each.
func (r *stateReader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) || n > math.MaxInt32 {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

func (r *stateReader) string() string {
	n := r.count()
	if r.err != nil {
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *stateReader) stamp() Stamp {
	i := r.uvarint()
	if i == 0 {
		return Stamp{}
	}
	if i > uint64(len(r.table)) {
		r.fail(errors.New("no such stamp"))
		return Stamp{}
	}
	return r.table[i-1]
}

func (r *stateReader) state() (s State) {
	if v := r.b[0]; v != codecVersion {
		r.fail(fmt.Errorf("version %d, want %d", v, codecVersion))
		return State{}
	}
	r.b = r.b[1:]
	r.table = make([]Stamp, 0, min(r.peek(), 1024))
	for range r.count() {
		r.table = append(r.table, Stamp{Time: r.varint(), Version: r.varint(), Message: r.string()})
	}
	s.Deleted, s.Revived, s.Horizon, s.Latest, s.Shown = r.stamp(), r.stamp(), r.stamp(), r.stamp(), r.stamp()
	s.Edition = r.varint()
	s.Named = r.uvarint() != 0
	for range r.count() {
		s.Deletions = append(s.Deletions, r.stamp())
	}
	if n := r.count(); n > 0 {
		s.Fields = make(map[string]Stamp, n)
		for range n {
			s.Fields[r.string()] = r.stamp()
		}
	}
	if n := r.count(); n > 0 {
		s.Sets = make(map[string]Set, n)
		for range n {
			s.Sets[r.string()] = r.set()
		}
	}
	if n := r.count(); n > 0 {
		s.Heritage = make(map[string]Heritage, n)
		for range n {
			s.Heritage[r.string()] = r.heritage()
		}
	}
	return s
}

// peek reads the next number without taking it.
func (r *stateReader) peek() uint64 {
	n, _ := binary.Uvarint(r.b)
	return n
}

func (r *stateReader) set() Set {
	s := Set{Cleared: r.stamp()}
	if n := r.count(); n > 0 {
		s.Elements = make(map[string]Element, n)
		for range n {
			s.Elements[r.string()] = Element{Put: r.stamp(), Drop: r.stamp()}
		}
	}
	return s
}

func (r *stateReader) heritage() Heritage {
	h := Heritage{Parent: Ref{Type: r.string(), ID: r.string()}, Stamp: r.stamp(), Edition: r.varint(), Owner: r.string(), Deleted: r.stamp()}
	for range r.count() {
		h.Readers = append(h.Readers, Principal(r.string()))
	}
	return h
}
