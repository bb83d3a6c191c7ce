// Package delivery holds the nouns of delivering: what is handed to a publisher
// plugin and what it reports back.
//
// It decides nothing: publishers/lane decides, publishers/host talks to plugins. Its
// invariant: a Delivery's bytes are made once, so every attempt sends the same.
package delivery

import (
	"errors"
	"time"
)

// ErrUnavailable says that no attempt was made that counts against a delivery: the
// plugin is starting, restarting or being stopped, or it died with deliveries in hand,
// of which the host will find out which one it dies of.
var ErrUnavailable = errors.New("publisher plugin is not available")

// Destination is where a subscription's deliveries go.
type Destination struct {
	// Subscription is the name of the subscription, for logs and metrics.
	Subscription string
	URI          string
	Options      map[string]string
	// Secrets are never logged or shown.
	Secrets map[string][]byte
}

// Event is what is delivered, encoded once.
type Event struct {
	ID          string // the change's id
	Type        string // such as org.fresnel.resource.updated
	Source      string
	Subject     string
	Time        time.Time
	ContentType string
	Data        []byte
	Attributes  map[string]string
}

// Delivery is one attempt's worth of work.
type Delivery struct {
	// ID is the same at every attempt: the receiver's key to drop repeats.
	ID      string
	Attempt int // 1 is the first
	Expires time.Time
	Event   Event
}

// Kind is the kind of an outcome.
type Kind int

// The kinds of outcome. Unknown is the outcome of an attempt that was never
// answered for: the plugin died or ran out of time. It is retried. Deferred says that
// nothing failed, and that the delivery's time comes after After.
const (
	Unknown Kind = iota
	Delivered
	Retry
	Rejected
	Deferred
)

// Scope is how much an outcome speaks for.
type Scope int

// The scopes of an outcome.
const (
	OfDelivery Scope = iota
	OfDestination
	OfPublisher
)

// Outcome is what came of one attempt.
type Outcome struct {
	ID       string // the Delivery's
	Kind     Kind
	Scope    Scope
	Code     string        // stable, snake_case: a metrics label
	Message  string        // for people; never holds a secret
	After    time.Duration // of Retry and Deferred: no attempt before; 0 leaves it to the schedule
	RemoteID string
	Took     time.Duration
}
