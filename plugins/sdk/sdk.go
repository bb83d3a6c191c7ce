// Package sdk is for authors of publisher plugins: a plugin is one function that makes
// one attempt at delivering one event, and a main that hands it to Main.
//
// The host owns subscriptions, secrets, queues, order, retries and dead letters; a
// plugin owns one attempt. So the SDK keeps nothing between batches and never retries.
// Its invariant: every delivery it was handed is answered for exactly once before the
// host gives up waiting, also if the author's function panics or hangs.
//
// It depends on the standard library, go-plugin, hclog, grpc and protobuf only.
package sdk

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// Publisher describes a plugin. C is the configuration of the process and O the
// options of a destination; both are structs whose json tags name the keys, whose doc
// tags describe them, and whose fields without omitempty are required. If *C or *O
// has a method Validate() error, it is asked too.
type Publisher[C, O any] struct {
	// Name is a lower-case word, such as webhook.
	Name string
	// Version is a semantic version.
	Version string
	// Schemes are those of the destination URIs that the plugin serves.
	Schemes []string
	// Concurrency is how many attempts run at once to one destination; 64 if zero.
	// The process makes at most eight times as many.
	Concurrency int

	// Publish makes one attempt at one event. Nil means delivered; see Reject, Gone,
	// RetryAfter and FromHTTP for the rest. Any other error means try again. It must
	// return when ctx is done. One of Publish and PublishBatch must be set, or both
	// with Together.
	Publish func(ctx context.Context, c *C, d *Destination[O], ev *Event) error
	// PublishBatch makes one attempt at several events of one destination and returns
	// one error for each, in order; nil alone means that all were delivered.
	PublishBatch func(ctx context.Context, c *C, d *Destination[O], evs []*Event) []error
	// Together says which destinations PublishBatch is for, where both are set.
	Together func(d *Destination[O]) bool
}

// together reports whether a destination gets its events in batches.
func (p *Publisher[C, O]) together(d *Destination[O]) bool {
	return p.PublishBatch != nil && (p.Together == nil || p.Together(d))
}

// Destination is where events go.
type Destination[O any] struct {
	// Subscription names the subscription, for logs; it is no key for a cache, as the
	// same name may point elsewhere tomorrow. Fingerprint changes with any field.
	Subscription string
	Fingerprint  string
	URI          string
	Options      O
	Secrets      map[string]Secret
}

// Event is what happened, with the delivery that carries it.
type Event struct {
	ID          string
	Type        string
	Source      string
	Subject     string
	Time        time.Time
	ContentType string
	// Data is encoded once by the host: the same bytes at every attempt.
	Data       []byte
	Attributes map[string]string

	// DeliveryID is the same at every attempt: pass it on, so that the receiver can
	// drop repeats.
	DeliveryID string
	// Attempt is 1 at first.
	Attempt int
	// Expires is when the host gives the delivery up; zero if it never does. A
	// receiver that keeps messages for a time need not keep this one for longer.
	Expires time.Time
}

// Main serves the publisher to the host that started this process and returns when
// the host is done with it. If the process was not started by a host it does what
// Serve says; it panics if the description is wrong, which is a mistake of the author.
func Main[C, O any](p Publisher[C, O]) {
	server, err := p.Server()
	if err != nil {
		panic(err)
	}
	Serve(server)
}

// Server returns the publisher as the contract's service, for tests in process (see
// client.InProcess).
func (p Publisher[C, O]) Server() (publisherv1.PublisherServer, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("publisher %q: %w", p.Name, err)
	}
	return newServer(p)
}

func (p Publisher[C, O]) check() error {
	var errs []error
	if !regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`).MatchString(p.Name) {
		errs = append(errs, errors.New("its name is not a lower-case word"))
	}
	if p.Version == "" {
		errs = append(errs, errors.New("it has no version"))
	}
	if len(p.Schemes) == 0 {
		errs = append(errs, errors.New("it serves no scheme"))
	}
	both, none := p.Publish != nil && p.PublishBatch != nil, p.Publish == nil && p.PublishBatch == nil
	if none || both != (p.Together != nil) {
		errs = append(errs, errors.New("it needs either Publish or PublishBatch, or both and Together"))
	}
	return errors.Join(errs...)
}
