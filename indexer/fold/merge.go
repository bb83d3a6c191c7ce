package fold

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// merge joins the mutation with the state. Each part of the state only ever rises
// in its own order, so nothing here may depend on what else has come before.
func (f *folding) merge() {
	m, s := f.m, &f.d.State
	switch m.Kind {
	case resource.Full, resource.Partial:
		f.name()
		if m.Revives {
			f.revive(m.Stamp)
		}
	case resource.Delete:
		f.name()
		f.delete(m.Stamp)
	case resource.Put, resource.Drop:
	case resource.Inherit:
		if !f.inherit(*m.Inherit) {
			return
		}
	default:
		panic("fold: mutations of kind " + string(m.Kind) + " are not folded")
	}
	if m.Stamp.After(s.Latest) {
		s.Latest = m.Stamp
		f.moved = true
	}
	for name, v := range m.Fields {
		f.register(name, v)
	}
	for name, elements := range m.Sets {
		f.whole(name, elements)
	}
	for name, elements := range m.Elements {
		f.elements(name, elements)
	}
}

func (f *folding) name() {
	if !f.d.State.Named {
		f.d.State.Named = true
		f.moved = true
	}
}

// register is last-writer-wins. Stamps tie only in repeats; should they tie in
// anything else, the greater value wins, so that order never does.
func (f *folding) register(name string, v json.RawMessage) {
	s, stamp := &f.d.State, f.m.Stamp
	if !stamp.After(s.Horizon) {
		return
	}
	if old, ok := s.Fields[name]; ok {
		switch c := stamp.Compare(old); {
		case c < 0, c == 0 && compare(v, f.d.Fields[name]) <= 0:
			return
		}
	}
	if s.Fields == nil {
		s.Fields = make(map[string]resource.Stamp, len(f.m.Fields))
	}
	s.Fields[name] = stamp
	f.moved = true
	f.set(name, v)
}

// compare orders values by their bytes; none comes first.
func compare(a, b json.RawMessage) int {
	if resource.IsNull(a) {
		a = nil
	}
	return bytes.Compare(a, b)
}

// whole takes a set as the source showed it: what was put earlier is gone.
func (f *folding) whole(name string, elements map[string]json.RawMessage) {
	s, stamp := &f.d.State, f.m.Stamp
	if !stamp.After(s.Horizon) {
		return
	}
	set, dirty := s.Sets[name], false
	if stamp.After(set.Cleared) {
		set.Cleared = stamp
		dirty = true
		maps.DeleteFunc(set.Elements, func(_ string, e resource.Element) bool { return settled(e, stamp) })
	}
	for key, v := range elements {
		if !resource.IsNull(v) {
			dirty = put(&set, key, resource.Element{Put: stamp, Value: v}) || dirty
		}
	}
	if dirty {
		f.store(name, set)
	}
}

// elements puts and drops single elements of a set.
func (f *folding) elements(name string, elements map[string]json.RawMessage) {
	s, stamp := &f.d.State, f.m.Stamp
	if !stamp.After(s.Horizon) {
		return
	}
	set, dirty := s.Sets[name], false
	for key, v := range elements {
		e := resource.Element{Put: stamp, Value: v}
		if f.m.Kind == resource.Drop || resource.IsNull(v) {
			e = resource.Element{Drop: stamp}
		}
		dirty = put(&set, key, e) || dirty
	}
	if dirty {
		f.store(name, set)
	}
}

// settled reports whether an element says no more than that the set was cleared.
func settled(e resource.Element, cleared resource.Stamp) bool {
	return cleared.After(e.Put) && cleared.After(e.Drop)
}

// put joins an element with what is known of it: the later of put and drop stays,
// the drop if they tie. It reports whether that was news.
func put(set *resource.Set, key string, e resource.Element) bool {
	if settled(e, set.Cleared) {
		return false
	}
	if old, ok := set.Elements[key]; ok {
		c := later(e.Put, e.Drop).Compare(later(old.Put, old.Drop))
		if c == 0 {
			c = tie(e, old)
		}
		if c <= 0 {
			return false
		}
	}
	if set.Elements == nil {
		set.Elements = make(map[string]resource.Element)
	}
	set.Elements[key] = e
	return true
}

// later is the later of two stamps.
func later(a, b resource.Stamp) resource.Stamp {
	if a.After(b) {
		return a
	}
	return b
}

// tie orders elements of one stamp: a drop beats a put, a greater value a smaller.
func tie(a, b resource.Element) int {
	switch {
	case a.Drop == b.Drop:
		return compare(a.Value, b.Value)
	case a.Put.IsZero():
		return 1
	}
	return -1
}

// store keeps a set that has changed, in its least form, and its array in the
// document. A set of which only single drops are known has no array: nothing says
// that it is empty.
func (f *folding) store(name string, set resource.Set) {
	f.moved = true
	f.keep(name, set)
	f.set(name, array(set))
}

func (f *folding) keep(name string, set resource.Set) {
	s := &f.d.State
	if set.Cleared.IsZero() && len(set.Elements) == 0 {
		delete(s.Sets, name)
		return
	}
	if s.Sets == nil {
		s.Sets = make(map[string]resource.Set)
	}
	s.Sets[name] = set
}

// array is the set as a field: its present elements in the order of their keys.
func array(set resource.Set) json.RawMessage {
	keys := make([]string, 0, len(set.Elements))
	size := 2
	for key, e := range set.Elements {
		if !e.Put.IsZero() {
			keys = append(keys, key)
			size += len(e.Value) + 1
		}
	}
	if len(keys) == 0 && set.Cleared.IsZero() {
		return nil
	}
	slices.Sort(keys)
	b := append(make([]byte, 0, size), '[')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, set.Elements[key].Value...)
	}
	return append(b, ']')
}

// delete notes a deletion, own or inherited.
func (f *folding) delete(stamp resource.Stamp) {
	s := &f.d.State
	if stamp.After(s.Deleted) {
		s.Deleted = stamp
		f.moved = true
	}
	if !f.r.Reusable {
		return
	}
	if s.Revived.After(stamp) {
		f.raise(stamp)
		return
	}
	if i, found := slices.BinarySearchFunc(s.Deletions, stamp, resource.Stamp.Compare); !found {
		s.Deletions = slices.Insert(s.Deletions, i, stamp)
		f.moved = true
	}
}

// revive notes that the source showed the resource again.
func (f *folding) revive(stamp resource.Stamp) {
	s := &f.d.State
	if !stamp.After(s.Revived) {
		return
	}
	s.Revived = stamp
	f.moved = true
	i, _ := slices.BinarySearchFunc(s.Deletions, stamp, resource.Stamp.Compare)
	if i == 0 {
		return
	}
	horizon := s.Deletions[i-1]
	s.Deletions = slices.Clone(s.Deletions[i:])
	f.raise(horizon)
}

// raise moves the horizon and forgets what lies behind it: an earlier life of the
// id, whose deletion is followed by a revival.
func (f *folding) raise(horizon resource.Stamp) {
	s := &f.d.State
	if !horizon.After(s.Horizon) {
		return
	}
	s.Horizon = horizon
	f.moved = true
	if f.fields == nil {
		f.fields = maps.Clone(f.d.Fields)
		if f.fields == nil {
			f.fields = map[string]json.RawMessage{}
		}
	}
	for name, stamp := range s.Fields {
		if !stamp.After(horizon) {
			delete(s.Fields, name)
			delete(f.d.Fields, name)
		}
	}
	for name, set := range s.Sets {
		if !set.Cleared.After(horizon) {
			set.Cleared = resource.Stamp{}
		}
		maps.DeleteFunc(set.Elements, func(_ string, e resource.Element) bool {
			return !e.Put.After(horizon) && !e.Drop.After(horizon)
		})
		f.keep(name, set)
		f.set(name, array(set))
	}
}

// inherit takes a parent's word; false if no rule asks for it.
func (f *folding) inherit(h resource.Heritage) bool {
	i := slices.IndexFunc(f.r.Parents, func(p Parent) bool { return p.Type == h.Parent.Type })
	if i < 0 {
		return false
	}
	s, key := &f.d.State, h.Parent.Key()
	if old, ok := s.Heritage[key]; !ok || h.Newer(old) {
		if s.Heritage == nil {
			s.Heritage = make(map[string]resource.Heritage, 1)
		}
		s.Heritage[key] = h
		f.moved = true
		f.relink = true
	}
	if f.r.Parents[i].Deletion && !h.Deleted.IsZero() {
		f.delete(h.Deleted)
	}
	return true
}
