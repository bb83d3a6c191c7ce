// Package changelog is the change log: the entries of topic fresnel.changes, their
// codec, and the projection of an entry to the one change that an audience may see.
// Publishers, live following, feeds and history all project here and nowhere else.
//
// It reads and writes no topic. Its invariant: what Project returns for an audience
// holds nothing that this audience could not read from the search API at that
// revision, and its revisions are gapless for this audience.
package changelog

import (
	"encoding/json"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// Entry is one transition, or one event, as the change log keeps it: everything
// that any audience may see of it.
type Entry struct {
	ID      string        `json:"id"`
	Ref     resource.Ref  `json:"ref"`
	Action  change.Action `json:"action"` // as operators see it
	Lineage string        `json:"lineage,omitempty"`
	// Revision and TenantRevision are the counts after the transition.
	Revision       int64     `json:"revision,omitempty"`
	TenantRevision int64     `json:"tenant_revision,omitempty"`
	TenantVisible  bool      `json:"tenant_visible,omitempty"`
	Time           time.Time `json:"time"`
	Late           bool      `json:"late,omitempty"`
	Truncated      bool      `json:"truncated,omitempty"`
	WasDeleted     bool      `json:"was_deleted,omitempty"`

	Changed []string                   `json:"changed,omitempty"`
	Before  map[string]json.RawMessage `json:"before,omitempty"`
	// Fields is the document after the transition, or the payload of an event.
	Fields map[string]json.RawMessage `json:"fields,omitempty"`

	Owner         string               `json:"owner,omitempty"`
	OwnerBefore   string               `json:"owner_before,omitempty"`
	Readers       []resource.Principal `json:"readers,omitempty"`
	ReadersBefore []resource.Principal `json:"readers_before,omitempty"`
	Cause         change.Cause         `json:"cause"`
}

// Audience is who looks at the change log.
type Audience struct {
	// All sees every resource; else only what one of Principals may see.
	All        bool
	Principals []resource.Principal
	// Hidden shows fields for operators, and operators' revisions and actions.
	// Only with All.
	Hidden bool
}
