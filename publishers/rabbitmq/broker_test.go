package rabbitmq_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/publishertest"
)

// broker is a broker of the few words of AMQP 0-9-1 that a publisher needs. Unless told
// otherwise it confirms every message.
type broker struct {
	addr string

	mu       sync.Mutex
	answer   func(m message) answer // nil confirms
	messages []message
	declared []string // names of exchanges and queues
}

// message is what was published.
type message struct {
	exchange, key string
	properties    string // as they came, for looking into
	body          string
}

// answer is what a broker does with a message.
type answer int

// smallest is the max_message_size of a broker that answers tooLarge.
const smallest = 600

const (
	confirmed answer = iota
	refused          // basic.nack
	returned         // no queue wants it
	unanswered
	dropped   // the connection ends
	forbidden // the channel ends, with words of the broker
	tooLarge  // the channel ends, as RabbitMQ ends it for its max_message_size
)

func newBroker(t *testing.T, does func(message) answer) *broker {
	b := &broker{answer: does}
	b.addr = publishertest.Serve(t, b.serve)
	return b
}

func (b *broker) got() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.messages
}

// The kinds of frames, and methods as class and number.
const (
	method, header, body, heartbeat = 1, 2, 3, 8

	connectionStart, connectionStartOK, connectionTune = 10<<16 | 10, 10<<16 | 11, 10<<16 | 30
	connectionOpen, connectionOpenOK, connectionClose  = 10<<16 | 40, 10<<16 | 41, 10<<16 | 50
	channelOpen, channelOpenOK, channelClose           = 20<<16 | 10, 20<<16 | 11, 20<<16 | 40
	exchangeDeclare, queueDeclare, queueBind           = 40<<16 | 10, 50<<16 | 10, 50<<16 | 20
	basicPublish, basicReturn, basicAck, basicNack     = 60<<16 | 40, 60<<16 | 50, 60<<16 | 80, 60<<16 | 120
	confirmSelect, channelCloseOK, connectionTuneOK    = 85<<16 | 10, 20<<16 | 41, 10<<16 | 31
)

// link is one connection.
type link struct {
	net.Conn
	b    *broker
	tags map[uint16]uint64 // how many messages a channel has published
	half map[uint16]*message
	left map[uint16]uint64 // bytes of its body that are to come
	head map[uint16][]byte
}

func (b *broker) serve(c net.Conn) {
	l := &link{c, b, map[uint16]uint64{}, map[uint16]*message{}, map[uint16]uint64{}, map[uint16][]byte{}}
	r := bufio.NewReader(c)
	if _, err := io.ReadFull(r, make([]byte, len("AMQP0091"))); err != nil {
		return
	}
	l.say(0, connectionStart, []byte{0, 9}, make([]byte, 4), long("PLAIN"), long("en_US"))
	for {
		kind, channel, payload, err := frame(r)
		if err != nil || !l.hear(kind, channel, payload) {
			return
		}
	}
}

func frame(r io.Reader) (kind byte, channel uint16, payload []byte, err error) {
	head := make([]byte, 7)
	if _, err = io.ReadFull(r, head); err == nil {
		payload = make([]byte, binary.BigEndian.Uint32(head[3:])+1) // and its end
		_, err = io.ReadFull(r, payload)
	}
	return head[0], binary.BigEndian.Uint16(head[1:]), payload[:max(len(payload), 1)-1], err
}

// write writes a frame; a client that has gone is no concern.
func (l *link) write(kind byte, channel uint16, payload []byte) {
	f := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	f = binary.BigEndian.AppendUint32(f, uint32(len(payload)))
	_, _ = l.Write(append(append(f, payload...), 0xCE))
}

func (l *link) say(channel uint16, what uint32, arguments ...[]byte) {
	payload := binary.BigEndian.AppendUint32(nil, what)
	for _, a := range arguments {
		payload = append(payload, a...)
	}
	l.write(method, channel, payload)
}

func short(s string) []byte { return append([]byte{byte(len(s))}, s...) }
func long(s string) []byte  { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

// name is the short string at the beginning of arguments, and what follows it.
func name(b []byte) (string, []byte) { return string(b[1 : 1+b[0]]), b[1+b[0]:] }

// hear takes a frame; false ends the connection.
func (l *link) hear(kind byte, channel uint16, payload []byte) bool {
	switch kind {
	case header:
		l.head[channel], l.left[channel] = payload, binary.BigEndian.Uint64(payload[4:])
		l.half[channel].properties = string(payload[12:])
		return l.left[channel] > 0 || l.published(channel)
	case body:
		l.half[channel].body += string(payload)
		l.left[channel] -= uint64(len(payload))
		return l.left[channel] > 0 || l.published(channel)
	case heartbeat:
		return true
	}
	what, arguments := binary.BigEndian.Uint32(payload), payload[4:]
	switch what {
	case connectionStartOK:
		l.say(0, connectionTune, []byte{0, 0}, []byte{0, 2, 0, 0}, []byte{0, 0})
	case connectionTuneOK, channelCloseOK:
	case connectionOpen:
		l.say(0, connectionOpenOK, short(""))
	case channelOpen:
		l.say(channel, channelOpenOK, long(""))
	case exchangeDeclare, queueDeclare:
		declared, _ := name(arguments[2:])
		l.b.mu.Lock()
		l.b.declared = append(l.b.declared, declared)
		l.b.mu.Unlock()
		if what == exchangeDeclare {
			l.say(channel, what+1)
		} else {
			l.say(channel, what+1, short(declared), make([]byte, 8))
		}
	case basicPublish:
		m := &message{}
		m.exchange, arguments = name(arguments[2:])
		m.key, _ = name(arguments)
		l.half[channel] = m
	case confirmSelect, queueBind, channelClose, connectionClose:
		l.say(channel, what+1)
		return what != connectionClose
	}
	return true
}

// published answers for a message that is complete.
func (l *link) published(channel uint16) bool {
	m := *l.half[channel]
	l.tags[channel]++
	tag := binary.BigEndian.AppendUint64(nil, l.tags[channel])
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	does := confirmed
	if l.b.answer != nil {
		does = l.b.answer(m)
	}
	switch does {
	case confirmed:
		l.b.messages = append(l.b.messages, m)
		l.say(channel, basicAck, tag, []byte{0})
	case refused:
		l.say(channel, basicNack, tag, []byte{0})
	case returned:
		l.say(channel, basicReturn, []byte{1, 56}, short("NO_ROUTE"), short(m.exchange), short(m.key))
		l.write(header, channel, l.head[channel])
		for rest := m.body; rest != ""; {
			n := min(len(rest), 1<<16)
			l.write(body, channel, []byte(rest[:n]))
			rest = rest[n:]
		}
		l.say(channel, basicAck, tag, []byte{0})
	case tooLarge:
		text := fmt.Sprintf("PRECONDITION_FAILED - message size %d is larger than configured max size %d", len(m.body), smallest)
		l.say(channel, channelClose, []byte{1, 150}, short(text), make([]byte, 4))
	case forbidden:
		l.say(channel, channelClose, []byte{1, 147}, short("ACCESS_REFUSED - canary"), make([]byte, 4))
	case unanswered:
	case dropped:
		return false
	}
	return true
}
