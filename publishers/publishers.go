// Package publishers delivers changes: for each subscription it reads the change
// log, projects and filters, and hands what matches to a publisher plugin, in order
// per resource, until each is delivered or a dead letter.
//
// It speaks no protocol of any destination (plugins do), starts no process
// (publishers/host does), and decides nothing about retries (publishers/lane does).
// Its invariant: a subscription's low-water mark passes a change only when that
// change was delivered, did not match, is parked in the store, or is a dead letter.
package publishers

import (
	"context"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// Plugin is a running publisher. It is safe for concurrent use.
type Plugin interface {
	// Publish makes one attempt at each delivery, all to one destination, and calls
	// ack, from one goroutine at a time, as outcomes become known: at most once
	// each. It returns when all are answered for or the deadline of ctx has passed;
	// what was not answered for has an unknown outcome. The error says why the call
	// as a whole broke. It is ErrUnavailable if no attempt at what was not answered for
	// counts: none was made, or the plugin died of something that it had in hand.
	Publish(ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome)) error
}

// Plugins finds the plugin that serves a publisher's name.
type Plugins interface {
	// Plugin returns the plugin of that name, started or still starting; nil if
	// none is configured or built in.
	Plugin(name string) Plugin
}
