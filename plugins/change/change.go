// Package change holds the public form of a change: what a webhook receives, what
// a feed shows and what a plugin author decodes. It is the wire contract of Fresnel
// and imports nothing but the standard library, so that anybody can use it.
//
// It does not decide who may see what: a Change is already the projection for one
// audience. Its invariant: members are only ever added, never renamed, removed or
// given another meaning; schema.json says the same to machines, and a test keeps
// both in step.
package change

import (
	_ "embed"
	"encoding/json"
	"time"
)

// DataSchema is the URI that deliveries name as their CloudEvents dataschema.
const DataSchema = "https://fresnel-search.example/schemas/change-1.json"

// Schema is the JSON Schema (2020-12) of a Change.
//
//go:embed schema.json
var Schema []byte

// Action is what happened to a resource, as one audience saw it.
type Action string

// The actions. An Event changes no state: a service said something about a
// resource that is worth forwarding, such as a usage audit.
const (
	Created Action = "created"
	Updated Action = "updated"
	Deleted Action = "deleted"
	Event   Action = "event"
)

// Change says that a resource went from one revision to the next, or, with action
// event, that its service said something about it.
type Change struct {
	// ID is the same at every delivery of this change, to every audience.
	ID       string   `json:"id"`
	Action   Action   `json:"action"`
	Resource Resource `json:"resource"`
	// Revision counts the changes of this resource that the audience may see:
	// 1, 2, 3... within a lineage, without gaps. An event carries none: its bytes do
	// not depend on how far the resource has come.
	Revision int64 `json:"revision,omitempty"`
	// Lineage names one life of the resource in the index; revisions are counted
	// within it.
	Lineage string `json:"lineage,omitempty"`
	// Time is when it happened, by the clock of the service that said so.
	Time time.Time `json:"time"`
	// Project is the id of the project that owns the resource; absent if none does.
	Project string `json:"project,omitempty"`
	// Changed lists the fields that differ from the revision before, sorted.
	Changed []string `json:"changed,omitempty"`
	// Before holds the changed fields as the revision before showed them; a field
	// that was absent is absent here.
	Before map[string]json.RawMessage `json:"before,omitempty"`
	// Document is the whole resource as of this revision; for an event, the payload.
	// Absent if the audience only lost sight of the resource.
	Document json.RawMessage `json:"document,omitempty"`
	// Late says that by its time this change belongs before one already shown.
	Late bool `json:"late,omitempty"`
	// Truncated says that Document and Before were left out for their size.
	Truncated bool  `json:"truncated,omitempty"`
	Cause     Cause `json:"cause"`
}

// Resource names a resource.
type Resource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	// Href is the path of the resource in the search API.
	Href string `json:"href"`
}

// CauseKind tells what made Fresnel show a change.
type CauseKind string

// The kinds of cause.
const (
	ByNotification CauseKind = "notification"
	BySync         CauseKind = "sync"
	ByCascade      CauseKind = "cascade"
	ByReread       CauseKind = "reread"
	ByTimer        CauseKind = "timer"
)

// Cause is where a change came from. Every member but Kind may be absent.
type Cause struct {
	Kind             CauseKind `json:"kind"`
	EventType        string    `json:"event_type,omitempty"`
	Priority         string    `json:"priority,omitempty"`
	PublisherID      string    `json:"publisher_id,omitempty"`
	Timestamp        time.Time `json:"timestamp,omitzero"`
	MessageID        string    `json:"message_id,omitempty"`
	RequestID        string    `json:"request_id,omitempty"`
	InitiatorUser    string    `json:"initiator_user,omitempty"`
	InitiatorProject string    `json:"initiator_project,omitempty"`
}
