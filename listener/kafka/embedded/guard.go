package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame is the largest request taken; kfake would trust any length.
const maxFrame = 64 << 20

var errFrame = errors.New("not a Kafka request")

// guarded wraps what a listener accepts. kfake dies of a request with an unknown
// API key and allocates whatever length a frame claims.
type guarded struct{ net.Listener }

// Accept implements net.Listener.
func (g guarded) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guardConn{Conn: c}, nil
}

// guardConn checks the head of each frame before kfake reads it. An unfit frame
// ends the connection. kfake reads from one goroutine at a time.
type guardConn struct {
	net.Conn
	head bytes.Buffer // checked, not yet read by kfake
	left int          // of the frame, still on the wire
}

// Read implements net.Conn.
func (g *guardConn) Read(p []byte) (int, error) {
	if g.head.Len() == 0 && g.left == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if g.head.Len() > 0 {
		return g.head.Read(p)
	}
	n, err := g.Conn.Read(p[:min(len(p), g.left)])
	g.left -= n
	return n, err
}

func (g *guardConn) next() error {
	var h [8]byte // length, API key, API version
	if _, err := io.ReadFull(g.Conn, h[:]); err != nil {
		return err
	}
	n, key := int32(binary.BigEndian.Uint32(h[:4])), int16(binary.BigEndian.Uint16(h[4:6]))
	if n < 8 || n > maxFrame || kmsg.RequestForKey(key) == nil {
		return errFrame
	}
	g.left = int(n) - 4
	_, err := g.head.Write(h[:])
	return err
}
