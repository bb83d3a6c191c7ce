package kafka

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

var errCut = errors.New("an attempt over the same connections was given up")

// wires are the open connections of a producer, whose library knows no way to give up
// what was begun.
type wires struct {
	mu   sync.Mutex
	open map[*wire]bool // nil once they are cut
}

// wire is one of them.
type wire struct {
	net.Conn
	of *wires
}

// dialer opens connections until they are cut.
func (w *wires) dialer(out *sdk.Outbound) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := out.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.open == nil {
			return nil, errors.Join(errCut, conn.Close())
		}
		c := &wire{conn, w}
		w.open[c] = true
		return c, nil
	}
}

// Close closes the connection.
func (c *wire) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// cut closes all connections and lets none be opened any more.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		if err := c.Conn.Close(); err != nil {
			continue // it was closed already
		}
	}
	w.open = nil
}
