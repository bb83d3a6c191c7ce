package sdk

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// How long a pool keeps a connection that nobody uses, and how it backs off from a
// destination to which none can be opened.
const (
	poolIdle       = 2 * time.Minute
	poolBackoffMin = 100 * time.Millisecond
	poolBackoffMax = 15 * time.Second
)

// Connection is what a Pool keeps: a pointer, usually.
type Connection interface {
	comparable
	io.Closer
}

// Pool keeps one open connection for each destination, for publishers of protocols
// where connecting is dear. One that nobody has used for a while is closed. While a
// destination refuses connections, only now and then one is tried; who comes in
// between gets the last error. Its zero value is ready.
type Pool[T Connection] struct {
	mu sync.Mutex
	by map[string]*pooled[T]
}

type pooled[T Connection] struct {
	turn  chan struct{} // held by who opens
	users int           // with mu of the pool
	open  bool          // the rest with turn
	conn  T
	fails int
	err   error
	until time.Time // no attempt before
	idle  *time.Timer
}

// Acquire returns the connection of a destination; open makes it if there is none.
// The destination's Key tells it from others. Whoever acquires must Release.
func (p *Pool[T]) Acquire(ctx context.Context, key string, open func(context.Context) (T, error)) (T, error) {
	var none T
	e := p.enter(key)
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		p.leave(key, e)
		return none, context.Cause(ctx)
	}
	err := e.ensure(ctx, open)
	conn := e.conn
	<-e.turn
	if err != nil {
		p.leave(key, e)
		return none, err
	}
	return conn, nil
}

// ensure opens a connection unless one is open, or the last attempt was just now. An
// attempt that was given up by the caller says nothing about the destination.
func (e *pooled[T]) ensure(ctx context.Context, open func(context.Context) (T, error)) error {
	now := time.Now()
	switch {
	case e.open:
		return nil
	case now.Before(e.until):
		return e.err
	}
	conn, err := open(ctx)
	if err == nil {
		e.conn, e.open, e.fails = conn, true, 0
		return nil
	}
	if ctx.Err() == nil {
		wait := min(poolBackoffMin<<min(e.fails, 10), poolBackoffMax)
		e.fails, e.err, e.until = e.fails+1, err, now.Add(wait/2+rand.N(wait/2+1))
	}
	return err
}

// Release ends a use. A broken connection is closed, and the next Acquire opens
// another one.
func (p *Pool[T]) Release(key string, conn T, broken bool) {
	p.mu.Lock()
	e := p.by[key]
	p.mu.Unlock()
	if e == nil {
		return // not acquired
	}
	if broken {
		e.turn <- struct{}{}
		if e.open && e.conn == conn {
			e.end()
		}
		<-e.turn
	}
	p.leave(key, e)
}

func (e *pooled[T]) end() {
	var none T
	closeQuietly(e.conn)
	e.conn, e.open = none, false
}

func (p *Pool[T]) enter(key string) *pooled[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.by[key]
	if e == nil {
		e = &pooled[T]{turn: make(chan struct{}, 1)}
		if p.by == nil {
			p.by = map[string]*pooled[T]{}
		}
		p.by[key] = e
	}
	e.users++
	if e.idle != nil {
		e.idle.Stop()
	}
	return e
}

// leave closes the connection after a while, if nobody comes until then.
func (p *Pool[T]) leave(key string, e *pooled[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.users--; e.users > 0 {
		return
	}
	e.idle = time.AfterFunc(poolIdle, func() {
		p.mu.Lock()
		unused := e.users == 0 && p.by[key] == e
		if unused {
			delete(p.by, key)
		}
		p.mu.Unlock()
		if unused && e.open { // nobody can reach it any more
			e.end()
		}
	})
}

// Key is equal for equal destinations only: a key for a Pool.
func (d *Destination[O]) Key() string { return d.Fingerprint + " " + d.Subscription + " " + d.URI }
