// Package notification decodes what services announce on Kafka into one shape,
// whatever envelope it came in: oslo.messaging 2.0, the bare oslo message, the form
// of Nova's first notification design, CloudEvents, structured or binary.
//
// It does not know what an event means; indexer/catalog does. Its invariant: no
// input makes it panic, run long or use memory out of proportion to its size, and
// what it keeps of a context is an allow-list that holds no secret.
package notification

import (
	"time"
)

// Notification is one announcement of a service.
type Notification struct {
	// MessageID identifies it for good; derived from the bytes if the sender gave none.
	MessageID   string
	PublisherID string
	EventType   string // as sent; of a CloudEvent without the prefix org.openstack.
	Priority    string // upper case: INFO, ERROR...
	// Timestamp is the sender's clock, UTC, to the microsecond; Kafka's if Undated.
	Timestamp time.Time
	// Undated says that the sender gave no time that can be read.
	Undated bool
	// Payload is the JSON payload with versioned objects (nova_object,
	// ironic_object) unwrapped at any depth. Usually an object, but any JSON value
	// may be there. Numbers are json.Number.
	Payload any
	// Versioned says that the payload was a versioned object.
	Versioned bool
	Context   Context
}

// Context is what may be kept of the request that caused a notification.
type Context struct {
	RequestID       string
	GlobalRequestID string
	UserID          string
	ProjectID       string
	DomainID        string
	Roles           []string
	IsAdmin         bool
}

// Error says why a record cannot be decoded: it is poison and goes to the dead letters.
type Error struct {
	Reason string // stable, snake_case: a metrics label
	Detail string // for people; holds nothing of the payload but names
}

// Error gives both.
func (e *Error) Error() string { return e.Reason + ": " + e.Detail }

// The reasons of an Error.
const (
	Empty           = "empty"               // no value at all
	TooLarge        = "too_large"           // more bytes than Limits.Bytes
	TooDeep         = "too_deep"            // nested deeper than Limits.Depth
	TooManyKeys     = "too_many_keys"       // more members than Limits.Keys
	BadJSON         = "bad_json"            // not JSON
	TrailingData    = "trailing_data"       // something after the JSON value
	BadUTF8         = "bad_utf8"            // bytes or escapes that are no Unicode text
	NULCharacter    = "nul_character"       // U+0000 in a string
	NotANumber      = "not_a_number"        // NaN or Infinity, which are not JSON
	NumberRange     = "number_out_of_range" // beyond 64-bit integers or doubles
	DuplicateKey    = "duplicate_key"       // a member twice in one object
	NotAnObject     = "not_an_object"       // JSON, but no object
	BadEnvelope     = "bad_envelope"        // an envelope without its parts
	BadVersion      = "unsupported_version" // an envelope of another major version
	MissingType     = "missing_event_type"
	BadField        = "bad_field"     // a member of the wrong kind
	BadTimestamp    = "bad_timestamp" // none that can be read, and none from Kafka
	MissingResource = "missing_id"    // the catalogue: the payload does not name its resource
	BadResource     = "bad_id"        // the catalogue: it names it in a way that no id is
	BadPayload      = "bad_payload"   // the catalogue: not the shape that the event type has
)

// Reasons lists all reasons, for metrics that must know their labels.
func Reasons() []string {
	return []string{
		Empty, TooLarge, TooDeep, TooManyKeys, BadJSON, TrailingData, BadUTF8, NULCharacter, NotANumber, NumberRange,
		DuplicateKey, NotAnObject, BadEnvelope, BadVersion, MissingType, BadField, BadTimestamp, MissingResource, BadResource,
		BadPayload,
	}
}

// Limits bounds what Decode accepts.
type Limits struct {
	Bytes int // of a record's value
	Depth int // of nesting
	Keys  int // of object members in all
}

// DefaultLimits are far above what services send and far below what hurts.
func DefaultLimits() Limits { return Limits{Bytes: 1 << 20, Depth: 64, Keys: 5000} }
