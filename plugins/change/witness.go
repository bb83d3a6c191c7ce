package change

import (
	"fmt"
	"slices"
)

// Witness watches the deliveries of one subscription and tells what is missing among
// them. It works where the subscription filters by resource type and project only:
// there the revisions that it sees of a resource have no gaps but those that a
// delivery names. It cannot miss what nothing follows: for the newest change of a
// resource a receiver compares Last with what the search API shows.
//
// The zero value is ready. It is not safe for concurrent use.
type Witness struct {
	// FromStart says that the subscription is older than the resources that it sees:
	// the first that comes of each must then be its creation, or name all before it
	// from revision 1 on.
	FromStart bool

	sights map[Resource]*sight
}

// sight is what is known of one resource.
type sight struct {
	lineage string
	last    int64 // 0: it is out of sight
	ended   bool  // the last change deleted it
	recent  []string
}

// remembered is how many deliveries of a resource are known by their ids. A repeat of
// an older one is known by its revision.
const remembered = 16

// See takes one delivery, with what its missed attribute named, in the order in which
// deliveries arrived, and returns a sentence for each loss that it shows. Repeats
// show none.
func (w *Witness) See(c Change, missed Missed) (lost []string) {
	if c.Action == Event {
		return nil
	}
	if w.sights == nil {
		w.sights = map[Resource]*sight{}
	}
	s := w.sights[c.Resource]
	if s == nil {
		s = &sight{}
		w.sights[c.Resource] = s
	}
	if slices.Contains(s.recent, c.ID) {
		return nil
	}
	if s.recent = append(s.recent, c.ID); len(s.recent) > remembered {
		s.recent = s.recent[1:]
	}
	say := func(format string, args ...any) {
		lost = append(lost, fmt.Sprintf("%s/%s: ", c.Resource.Type, c.Resource.ID)+fmt.Sprintf(format, args...))
	}
	outOfSight := c.Action == Deleted && c.Document == nil && !c.Truncated
	next := s.last + 1
	switch {
	case s.last == 0 || s.lineage != c.Lineage:
		first := c.Revision // told of, without a gap up to this one
		if outOfSight {
			first++
		}
		for first > 1 && missed.Names(c.Lineage, first-1) {
			first--
		}
		if w.FromStart && c.Action != Created && first > 1 {
			say("it begins with %s at revision %d of lineage %s", c.Action, c.Revision, c.Lineage)
		}
	case c.Revision < s.last, c.Revision == s.last && c.Action != Created && !outOfSight:
		return nil // an older one, delivered again
	case outOfSight:
		next = s.last + 1
		for ; next <= c.Revision; next++ {
			if !missed.Names(c.Lineage, next) {
				say("revision %d of lineage %s has not come before it went out of sight", next, c.Lineage)
			}
		}
	default:
		unended := c.Action == Created && !s.ended
		for ; next < c.Revision; next++ {
			if unended = false; !missed.Names(c.Lineage, next) {
				say("revision %d of lineage %s has not come before %d", next, c.Lineage, c.Revision)
			}
		}
		if unended && !missed.Names(c.Lineage, s.last) {
			say("revision %d of lineage %s is created although nothing has deleted it", c.Revision, c.Lineage)
		}
	}
	s.lineage, s.last, s.ended = c.Lineage, c.Revision, c.Action == Deleted
	if outOfSight {
		s.last = 0
	}
	return lost
}

// Last is the newest revision seen of a resource; 0 if it is out of sight, or was
// never seen.
func (w *Witness) Last(r Resource) (lineage string, revision int64) {
	if s := w.sights[r]; s != nil {
		return s.lineage, s.last
	}
	return "", 0
}
