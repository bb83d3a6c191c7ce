package resource

import "encoding/json"

// Strip returns a field's value without the members that are hidden, at any depth:
// a member of an object, or of an object in an array, is asked for by its dotted
// path. What has nothing to hide is returned as it is, without a copy. ok is false
// if the field itself is hidden, or if v is no compact JSON.
func Strip(field string, v json.RawMessage, hidden func(field string) bool) (_ json.RawMessage, ok bool) {
	if hidden == nil {
		return v, true
	}
	if hidden(field) {
		return nil, false
	}
	if len(v) < 5 || v[0] != '{' && v[0] != '[' {
		return v, true // nothing in it has a name
	}
	s := stripper{in: v, hidden: hidden}
	s.value(field)
	if s.bad || s.pos != len(v) {
		return nil, false
	}
	if !s.cut {
		return v, true
	}
	return append(s.out, v[s.copied:]...), true
}

// stripper walks over compact JSON and copies what stays, in as few pieces as
// there are cuts.
type stripper struct {
	in     []byte
	pos    int
	out    []byte
	copied int // up to here, in is in out or cut
	cut    bool
	bad    bool
	hidden func(string) bool
}

func (s *stripper) peek() byte {
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	s.bad = true
	return 0
}

func (s *stripper) value(path string) {
	switch s.peek() {
	case '{':
		s.object(path)
	case '[':
		s.array(path)
	case '"':
		s.string()
	default:
		start := s.pos
		for s.pos < len(s.in) && s.in[s.pos] != ',' && s.in[s.pos] != ']' && s.in[s.pos] != '}' {
			s.pos++
		}
		s.bad = s.bad || s.pos == start
	}
}

func (s *stripper) string() {
	for s.pos++; s.pos < len(s.in); s.pos++ {
		switch s.in[s.pos] {
		case '\\':
			s.pos++
		case '"':
			s.pos++
			return
		}
	}
	s.bad = true
}

func (s *stripper) array(path string) {
	s.pos++
	if s.peek() == ']' {
		s.pos++
		return
	}
	for !s.bad {
		s.value(path)
		c := s.peek()
		s.pos++
		if c == ']' {
			return
		}
		s.bad = s.bad || c != ','
	}
}

func (s *stripper) object(path string) {
	s.pos++
	if s.peek() == '}' {
		s.pos++
		return
	}
	kept := false
	for !s.bad {
		start := s.pos
		if s.peek() != '"' {
			s.bad = true
			return
		}
		s.string()
		name := s.in[start:s.pos]
		if s.peek() != ':' {
			s.bad = true
			return
		}
		s.pos++
		hide := s.member(path, name)
		c := s.peek()
		switch {
		case hide && c == ',': // with the comma after it
			s.skip(start, s.pos+1)
		case hide && kept: // the last one, with the comma before it
			s.skip(start-1, s.pos)
		case hide:
			s.skip(start, s.pos)
		}
		kept = kept || !hide
		s.pos++
		if c == '}' {
			return
		}
		s.bad = s.bad || c != ','
	}
}

// member walks over a member's value and reports whether it is hidden.
func (s *stripper) member(path string, quoted []byte) bool {
	var name string
	if json.Unmarshal(quoted, &name) != nil {
		s.bad = true
		return true
	}
	path += "." + name
	if !s.hidden(path) {
		s.value(path)
		return false
	}
	hidden := s.hidden
	s.hidden = func(string) bool { return false } // no cuts within a cut
	s.value(path)
	s.hidden = hidden
	return true
}

// skip copies up to from and leaves out what is up to to.
func (s *stripper) skip(from, to int) {
	s.cut = true
	if from < s.copied {
		s.out = s.out[:len(s.out)-(s.copied-from)]
	} else {
		s.out = append(s.out, s.in[s.copied:from]...)
	}
	s.copied = to
}
