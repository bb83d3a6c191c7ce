package publishers

import (
	"maps"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/filter"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// audience is through whose eyes a subscription looks at the change log.
type audience struct {
	changelog.Audience
	key     string // equal for equal audiences
	project string // the only one whose eyes they are; empty if there are several
}

func newAudience(f filter.Filter, adminFields bool) audience {
	who, all := f.Principals()
	a := audience{Audience: changelog.Audience{All: all, Principals: who, Hidden: adminFields}}
	switch {
	case adminFields:
		a.key = "operators"
	case all:
		a.key = "all"
	default:
		var b strings.Builder
		for _, p := range who {
			b.WriteString(string(p))
			b.WriteByte('\n')
		}
		a.key = b.String()
		if len(f.Projects) == 1 {
			a.project = f.Projects[0]
		}
	}
	return a
}

// logged is one record of the change log, decoded once for all subscriptions, with
// what each audience sees of it. It is used by one goroutine at a time.
type logged struct {
	partition int
	offset    int64
	time      time.Time // when it was put into the log
	id        string    // the change's; empty if the record cannot be read
	lane      string
	entry     *changelog.Entry
	repeat    bool // it was handed round before
	views     map[string]view
}

// view is what one audience sees of a change: nothing, if event is nil.
type view struct {
	change *change.Change
	event  *delivery.Event
}

// view projects the change for an audience and encodes it, once for each audience.
func (l *logged) view(project Project, a audience) (view, error) {
	if v, ok := l.views[a.key]; ok {
		return v, nil
	}
	var v view
	c, ok := project(l.entry, a.Audience)
	if ok {
		e, err := encode(&c, a.project)
		if err != nil {
			return view{}, err
		}
		v = view{change: &c, event: e}
	}
	if l.views == nil {
		l.views = map[string]view{}
	}
	l.views[a.key] = v
	return v, nil
}

// The CloudEvents attributes that are the same for all events.
const (
	source      = "/fresnel"
	typePrefix  = "org.fresnel.resource."
	contentType = "application/json"
	dataSchema  = "dataschema"
	// audienceOf names the project for whose eyes alone the event was made.
	audienceOf = "audience"
)

// encode makes the event of a change, for the eyes of one project if one is given.
// Equal changes have equal bytes.
func encode(c *change.Change, project string) (*delivery.Event, error) {
	data, err := changelog.EncodeChange(c)
	if err != nil {
		return nil, err
	}
	attributes := map[string]string{dataSchema: change.DataSchema}
	if project != "" {
		attributes[audienceOf] = project
	}
	return &delivery.Event{
		ID:          c.ID,
		Type:        typePrefix + string(c.Action),
		Source:      source,
		Subject:     c.Resource.Type + "/" + c.Resource.ID,
		Time:        c.Time,
		ContentType: contentType,
		Data:        data,
		Attributes:  attributes,
	}, nil
}

// naming is the event of a delivery that names those that were given up on before it.
// The data stays as it is.
func naming(e delivery.Event, d lane.Send) delivery.Event {
	if len(d.Missed) == 0 && !d.More {
		return e
	}
	m := change.Missed{More: d.More}
	for _, miss := range d.Missed {
		m.Add(miss.Lineage, miss.Revision, miss.ID)
	}
	e.Attributes = maps.Clone(e.Attributes)
	if e.Attributes == nil {
		e.Attributes = map[string]string{}
	}
	e.Attributes[change.MissedAttribute] = m.String()
	return e
}

// recent remembers what was lately seen of each resource, so that a change that the
// indexer put into the log again after a crash is not taken for a new one. It keeps
// two generations and forgets the older one when the younger is full.
type recent struct {
	young, old map[string]shown
}

// shown is the latest revision seen of a resource.
type shown struct {
	lineage  string
	revision int64
}

// generation is how many resources and events a generation of recent keeps.
const generation = 4096

func newRecent() *recent { return &recent{young: map[string]shown{}} }

// repeats reports whether the entry, or a later one of the same resource, was seen.
// First occurrences are in the order of revisions, so an older one is a repeat.
func (r *recent) repeats(e *changelog.Entry) bool {
	key, now := keyOf(e)
	was, ok := r.young[key]
	if !ok {
		was, ok = r.old[key]
	}
	return ok && was.lineage == now.lineage && now.revision <= was.revision
}

func (r *recent) add(e *changelog.Entry) {
	key, now := keyOf(e)
	if len(r.young) >= generation {
		r.old, r.young = r.young, map[string]shown{}
	}
	r.young[key] = now
}

// keyOf tells a transition by its resource and revision, an event by its id.
func keyOf(e *changelog.Entry) (string, shown) {
	if e.Action == change.Event {
		return "event " + e.ID, shown{}
	}
	return e.Ref.Key(), shown{lineage: e.Lineage, revision: e.Revision}
}
