package email

import (
	"net"
	"sync"
)

// wire is the connection under a session, to be closed from outside.
type wire struct {
	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

func (w *wire) set(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = c
	if w.closed {
		closeQuietly(c)
	}
}

func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil && !w.closed {
		closeQuietly(w.conn)
	}
	w.closed = true
}

func closeQuietly(c net.Conn) {
	if err := c.Close(); err != nil {
		return // it was closed by the library
	}
}
