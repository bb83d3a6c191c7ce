// Package resource holds the nouns of state: what a resource is called, who may
// see it, what a source said about it (Mutation) and what is known of it
// (Document), with the codecs of the topic fresnel.mutations and of what a store
// keeps.
//
// It decides nothing: indexer/fold folds mutations into documents, a store keeps
// them. Its invariant: a document's State holds everything that the fold needs, so
// that the order in which mutations arrive leaves no trace in it but the revisions.
package resource

import (
	"cmp"
	"strings"
	"time"
)

// Ref names a resource: its type, such as OS::Nova::Server, and its id.
type Ref struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Key is the Kafka key of everything that is said about the resource.
func (r Ref) Key() string { return r.Type + "/" + r.ID }

// String is Key.
func (r Ref) String() string { return r.Key() }

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// ParseKey is the reverse of Key; ok is false for anything else.
func ParseKey(key string) (ref Ref, ok bool) {
	t, id, ok := strings.Cut(key, "/")
	return Ref{Type: t, ID: id}, ok && t != "" && id != ""
}

// Principal is somebody who may see a resource: "project:ID", "user:ID",
// "domain:ID", or Everyone.
type Principal string

// Everyone is every authenticated caller.
const Everyone Principal = "*"

// Project is the principal of all members of a project.
func Project(id string) Principal { return Principal("project:" + id) }

// User is the principal of one user.
func User(id string) Principal { return Principal("user:" + id) }

// Domain is the principal of all members of a domain.
func Domain(id string) Principal { return Principal("domain:" + id) }

// Stamp decides which of two statements about one thing is later: by the source's
// clock, then by the source's version, then by the message id. The zero Stamp is
// earlier than any other and means "never".
type Stamp struct {
	Time    int64  // microseconds since 1970, UTC: the notification's timestamp
	Version int64  // the source's own version of the resource; 0 if it has none
	Message string // the message id: breaks the last ties
}

// Compare orders stamps from early to late.
func (s Stamp) Compare(o Stamp) int {
	return cmp.Or(cmp.Compare(s.Time, o.Time), cmp.Compare(s.Version, o.Version), strings.Compare(s.Message, o.Message))
}

// After reports whether s is later than o.
func (s Stamp) After(o Stamp) bool { return s.Compare(o) > 0 }

// IsZero reports whether s is the stamp of something that never happened.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// When is the stamp's time.
func (s Stamp) When() time.Time { return time.UnixMicro(s.Time).UTC() }

// Position is the place of a mutation in a mutation log. Log names the log itself,
// not its topic: a recreated topic is another log.
type Position struct {
	Log       string `json:"log"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}
