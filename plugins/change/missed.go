package change

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MissedAttribute is the CloudEvents extension attribute by which a delivery names
// the changes of its resource that were given up on before it: those that are dead
// letters of the subscription, or expired. Its value is that of Missed.String. A
// delivery without it follows the one before it, or one that said so already.
const MissedAttribute = "missed"

// maxNamed bounds what one delivery names, in ranges and in events.
const maxNamed = 32

// Missed names changes that will not come by themselves. It is what a receiver needs
// to tell a gap that was told from one that is a loss.
type Missed struct {
	Revisions []Revisions
	Events    []string // ids of changes with action event
	// More says that there were more than are named: the oldest are left out.
	More bool
}

// Revisions are consecutive revisions of one lineage.
type Revisions struct {
	Lineage     string
	First, Last int64
}

// Add names one more change: a revision, or an event by its id.
func (m *Missed) Add(lineage string, revision int64, event string) {
	if revision == 0 {
		m.Events = append(m.Events, event)
		return
	}
	for i, r := range m.Revisions {
		switch {
		case r.Lineage != lineage:
		case revision >= r.First && revision <= r.Last:
			return
		case revision == r.Last+1:
			m.Revisions[i].Last = revision
			return
		}
	}
	m.Revisions = append(m.Revisions, Revisions{lineage, revision, revision})
}

// Names reports whether a revision is named.
func (m Missed) Names(lineage string, revision int64) bool {
	return slices.ContainsFunc(m.Revisions, func(r Revisions) bool {
		return r.Lineage == lineage && revision >= r.First && revision <= r.Last
	})
}

// String is the attribute's value: entries with commas between them. An entry is
// "lineage:revision", "lineage:first-last", "event:id", or "more".
func (m Missed) String() string {
	var entries []string
	more := m.More || len(m.Revisions) > maxNamed || len(m.Events) > maxNamed
	for _, r := range newest(m.Revisions) {
		e := r.Lineage + ":" + strconv.FormatInt(r.First, 10)
		if r.Last != r.First {
			e += "-" + strconv.FormatInt(r.Last, 10)
		}
		entries = append(entries, e)
	}
	for _, id := range newest(m.Events) {
		entries = append(entries, "event:"+id)
	}
	if more {
		entries = append(entries, "more")
	}
	return strings.Join(entries, ",")
}

func newest[T any](all []T) []T { return all[max(0, len(all)-maxNamed):] }

// ParseMissed is the reverse of Missed.String. No value names nothing.
func ParseMissed(value string) (m Missed, err error) {
	if value == "" {
		return m, nil
	}
	for entry := range strings.SplitSeq(value, ",") {
		if entry == "more" {
			m.More = true
			continue
		}
		of, what, ok := strings.Cut(entry, ":")
		switch {
		case !ok || what == "":
			return Missed{}, fmt.Errorf("missed: %q is no entry", entry)
		case of == "event":
			m.Events = append(m.Events, what)
			continue
		}
		first, last, isRange := strings.Cut(what, "-")
		if !isRange {
			last = first
		}
		r := Revisions{Lineage: of}
		if r.First, err = strconv.ParseInt(first, 10, 64); err == nil {
			r.Last, err = strconv.ParseInt(last, 10, 64)
		}
		if err != nil || r.First < 1 || r.Last < r.First {
			return Missed{}, fmt.Errorf("missed: %q names no revisions", entry)
		}
		m.Revisions = append(m.Revisions, r)
	}
	return m, nil
}
