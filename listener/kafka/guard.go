package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

var errSilent = errors.New("broker accepted a connection and then said nothing")

// guard dials brokers so that one that hangs (stopped, or behind a network that
// drops packets) is noticed: kafka-go reads without a deadline in some places, and
// asks the same address again and again.
type guard struct {
	timeout time.Duration
	refuse  time.Duration
	dialer  net.Dialer

	mu     sync.Mutex
	silent map[string]time.Time // address: refused until
}

func newGuard(timeout, refuse time.Duration) *guard {
	return &guard{timeout: timeout, refuse: refuse, silent: map[string]time.Time{}, dialer: net.Dialer{Timeout: timeout}}
}

// dial refuses an address that was silent of late, so that kafka-go tries the next.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.mu.Lock()
	until, found := g.silent[address]
	if found && time.Now().After(until) {
		delete(g.silent, address)
		found = false
	}
	g.mu.Unlock()
	if found {
		return nil, fmt.Errorf("dial %s: %w", address, errSilent)
	}
	c, err := g.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &guardedConn{Conn: c, guard: g, address: address, born: time.Now()}, nil
}

func (g *guard) report(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent[address] = time.Now().Add(g.refuse)
}

// guardedConn gives reads a deadline where the caller has set none, and a near one
// where the broker has not said a word yet: kafka-go begins with a question that any
// broker answers at once.
type guardedConn struct {
	net.Conn
	guard   *guard
	address string
	born    time.Time
	spoke   atomic.Bool // a byte came

	mu    sync.Mutex
	until time.Time // the caller's deadline for reads
}

// SetDeadline implements net.Conn.
func (c *guardedConn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *guardedConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.Conn.SetReadDeadline(c.limit())
}

// limit is when a read has to be over.
func (c *guardedConn) limit() time.Time {
	near := time.Now().Add(c.guard.timeout)
	if c.until.IsZero() || !c.spoke.Load() && near.Before(c.until) {
		return near
	}
	return c.until
}

// Read implements net.Conn.
func (c *guardedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	err := c.Conn.SetReadDeadline(c.limit())
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.spoke.Store(true)
	}
	patient := time.Since(c.born) >= c.guard.timeout // else the caller gave up early
	if errors.Is(err, os.ErrDeadlineExceeded) && !c.spoke.Load() && patient {
		c.guard.report(c.address)
	}
	return n, err
}
