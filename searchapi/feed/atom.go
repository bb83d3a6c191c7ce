package feed

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// AtomType is the media type of a feed.
const AtomType = "application/atom+xml"

// Document is a feed to be written.
type Document struct {
	Project string
	Self    string   // the feed's own URL
	Hubs    []string // that it links to
	Base    string   // of the search API, for links to resources
	// Thin leaves the content of changes out.
	Thin    bool
	Entries []Entry // the newest first
}

// The elements of RFC 4287 that a feed has, in their order.
type (
	atomFeed struct {
		XMLName   xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
		ID        string      `xml:"id"`
		Title     string      `xml:"title"`
		Updated   string      `xml:"updated"`
		Author    atomAuthor  `xml:"author"`
		Generator string      `xml:"generator"`
		Links     []atomLink  `xml:"link"`
		Entries   []atomEntry `xml:"entry"`
	}
	atomAuthor struct {
		Name string `xml:"name"`
	}
	atomLink struct {
		Rel  string `xml:"rel,attr"`
		Type string `xml:"type,attr,omitempty"`
		Href string `xml:"href,attr"`
	}
	atomEntry struct {
		ID         string         `xml:"id"`
		Title      string         `xml:"title"`
		Updated    string         `xml:"updated"`
		Published  string         `xml:"published"`
		Links      []atomLink     `xml:"link"`
		Categories []atomCategory `xml:"category"`
		Summary    string         `xml:"summary"`
		Content    *atomContent   `xml:"content"`
	}
	atomCategory struct {
		Scheme string `xml:"scheme,attr,omitempty"`
		Term   string `xml:"term,attr"`
	}
	atomContent struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	}
)

// The schemes of an entry's categories.
const (
	byResourceType = "urn:fresnel:resource-type"
	byAction       = "urn:fresnel:action"
	byEventType    = "urn:fresnel:event-type"
	byPriority     = "urn:fresnel:priority"
)

// Atom writes a feed as Atom 1.0. Equal documents give equal bytes.
func (d Document) Atom() ([]byte, error) {
	out := atomFeed{
		ID: "urn:fresnel:tenant:" + url.PathEscape(d.Project) + ":events", Title: "Events of project " + d.Project,
		Updated: stamp(time.Unix(0, 0)), Author: atomAuthor{"Fresnel"}, Generator: "Fresnel",
		Links: []atomLink{{"self", AtomType, d.Self}},
	}
	for _, hub := range d.Hubs {
		out.Links = append(out.Links, atomLink{Rel: "hub", Href: hub})
	}
	if len(d.Entries) > 0 {
		out.Updated = stamp(d.Entries[0].Shown)
	}
	for i := range d.Entries {
		e, err := d.entry(&d.Entries[i])
		if err != nil {
			return nil, err
		}
		out.Entries = append(out.Entries, e)
	}
	b, err := xml.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write feed: %w", err)
	}
	return append([]byte(xml.Header), append(b, '\n')...), nil
}

func (d Document) entry(e *Entry) (atomEntry, error) {
	c := &e.Change
	what := c.Resource.Type + " " + string(c.Action)
	out := atomEntry{
		ID: "urn:fresnel:change:" + c.ID, Title: what, Updated: stamp(e.Shown), Published: stamp(c.Time), Summary: what,
		Links: []atomLink{{"alternate", "application/json", strings.TrimSuffix(d.Base, "/") + c.Resource.Href}},
	}
	for _, category := range []atomCategory{
		{byResourceType, c.Resource.Type},
		{byAction, string(c.Action)},
		{byEventType, c.Cause.EventType},
		{byPriority, strings.ToUpper(c.Cause.Priority)},
	} {
		if category.Term != "" {
			out.Categories = append(out.Categories, category)
		}
	}
	if d.Thin {
		return out, nil
	}
	body, err := changelog.EncodeChange(c)
	if err != nil {
		return out, err
	}
	out.Summary = summary(c)
	// RFC 4287 wants whatever is neither text nor XML in base64.
	out.Content = &atomContent{Type: "application/json", Text: base64.StdEncoding.EncodeToString(body)}
	return out, nil
}

// summary is one line for people.
func summary(c *change.Change) string {
	s := fmt.Sprintf("%s %s was %s", c.Resource.Type, c.Resource.ID, c.Action)
	if c.Action == change.Event {
		s = fmt.Sprintf("%s %s: %s", c.Resource.Type, c.Resource.ID, c.Cause.EventType)
	}
	if len(c.Changed) > 0 {
		s += ": " + strings.Join(c.Changed, ", ")
	}
	return s
}

// stamp writes a time as RFC 3339 has it for Atom.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
