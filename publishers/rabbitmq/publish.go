package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/fresnel-search/fresnel/plugins/oslo"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

var (
	errBlocked = &sdk.Failure{
		Code: "blocked", Destination: true, Err: errors.New("the broker takes no messages now: it is short of memory or disk"),
	}
	errNacked      = &sdk.Failure{Code: "nacked", Err: errors.New("the broker has not accepted the message")}
	errUnconfirmed = &sdk.Failure{Code: "timeout", Err: errors.New("the broker has not confirmed the message in time")}
	errLost        = &sdk.Failure{Code: "connection_lost", Err: errors.New("the connection ended before the broker has confirmed the message")}
)

// publish sends the notifications that have no error yet and sets errors for those
// that were not delivered. It answers false if the connection is of no more use.
func (c *connection) publish(ctx context.Context, o *Options, ns []*oslo.Notification, errs []error) (healthy bool) {
	if c.blocked.Load() {
		fail(errs, errBlocked)
		return true
	}
	// A broker that does not read makes writes hang, which know no context.
	stop := context.AfterFunc(ctx, func() { closeQuietly(c) })
	defer stop()
	err := c.declare(o)
	var ch *channel
	if err == nil {
		ch, err = c.take()
	}
	if err != nil {
		if err = outcome(err); ctx.Err() != nil {
			err = errUnconfirmed
		}
		fail(errs, err)
		return !c.IsClosed() && ctx.Err() == nil
	}
	sent := make([]attempt, len(ns))
	for i, n := range ns {
		if errs[i] != nil {
			continue
		}
		at, err := ch.PublishWithDeferredConfirm(o.exchange(), o.topic()+"."+n.Priority, true, false, amqp.Publishing{
			ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent,
			MessageId: n.MessageID, AppId: "fresnel", Body: n.Body,
		})
		sent[i] = attempt{size: len(n.Body), confirmation: at, failed: err != nil}
	}
	whole := c.confirmed(ctx, ch, sent, errs)
	routed := true
	for i, n := range ch.unrouted(ns) {
		if n && errs[i] == nil {
			errs[i], routed = unroutable(o, ns[i].Priority), false
		}
	}
	if whole {
		c.give(ch)
	}
	if !whole || !routed {
		c.forget(o)
	}
	return whole || !c.IsClosed() && ctx.Err() == nil
}

// attempt is what became of a message so far; nothing of one that was not to be sent.
type attempt struct {
	size         int // of the body
	confirmation *amqp.DeferredConfirmation
	failed       bool // it was not sent
}

// confirmed waits for the confirmations of what was sent. It answers false if the
// channel is of no more use.
func (c *connection) confirmed(ctx context.Context, ch *channel, sent []attempt, errs []error) bool {
	whole := true
	var closed *amqp.Error
	for i, s := range sent {
		if s.confirmation == nil && !s.failed {
			continue
		}
		acked, late := false, false
		if !s.failed {
			var err error
			acked, err = s.confirmation.WaitContext(ctx)
			late = err != nil
		}
		switch {
		case acked:
			continue
		case late && c.blocked.Load():
			errs[i], whole = errBlocked, false
		case late:
			errs[i], whole = errUnconfirmed, false
		case s.failed || ch.IsClosed():
			if closed == nil {
				closed = ch.reason()
			}
			errs[i], whole = lost(closed, s.size), false
		default:
			errs[i] = errNacked
		}
	}
	return whole
}

// reason is why the channel was closed; nil if that is not known.
func (ch *channel) reason() *amqp.Error {
	select {
	case e := <-ch.closed:
		return e
	default:
		return nil
	}
}

// lost is what became of a message that was not confirmed before its channel ended. A
// mistake such as an exchange that is not there concerns the whole destination; but the
// broker ends the channel of all for one message above its max_message_size, too.
func lost(reason *amqp.Error, size int) error {
	if reason == nil {
		return errLost
	}
	limit := regexp.MustCompile(`message size \d+ is larger than (?:configured )?max size (\d+)`).FindStringSubmatch(reason.Reason)
	if reason.Code != amqp.PreconditionFailed || limit == nil {
		return outcome(reason)
	}
	if most, err := strconv.Atoi(limit[1]); err != nil || size <= most {
		return errLost
	}
	return &sdk.Failure{Code: "too_large", Final: true, Err: errors.New("the message is larger than the broker's max_message_size")}
}

// unrouted tells which of the notifications came back, as no queue wanted them.
func (ch *channel) unrouted(ns []*oslo.Notification) []bool {
	back := map[string]bool{}
	for {
		select {
		case r, ok := <-ch.returned:
			if ok {
				back[r.MessageId] = true
				continue
			}
		default:
		}
		break
	}
	which := make([]bool, len(ns))
	for i, n := range ns {
		which[i] = n != nil && back[n.MessageID]
	}
	return which
}

// outcome makes an outcome of an error of the library, or of the network. The broker's
// words are left out: whoever it is, they are not for our logs.
func outcome(err error) error {
	if _, ok := errors.AsType[*sdk.Failure](err); ok {
		return err
	}
	e, ok := errors.AsType[*amqp.Error](err)
	if !ok {
		return sdk.FromNetwork(err)
	}
	f := &sdk.Failure{Code: "connection_lost"}
	why := "the connection, or its channel, has ended"
	switch e.Code {
	case amqp.AccessRefused, amqp.NotAllowed:
		f.Code, f.Destination, why = "access_refused", true, "the broker refuses user, password, virtual host or exchange"
	case amqp.NotFound:
		f.Code, f.Destination, why = "not_found", true, "the broker has no such exchange or virtual host"
	case amqp.PreconditionFailed:
		f.Code, f.Destination, why = "precondition_failed", true, "the broker refuses what was asked for"
	}
	f.Err = fmt.Errorf("%s: AMQP status %d", why, e.Code)
	return f
}

// refused is why there is no connection, which speaks for the destination.
func refused(err error) error {
	err = outcome(err)
	f, ok := errors.AsType[*sdk.Failure](err)
	if !ok || f.Destination {
		return err
	}
	return &sdk.Failure{Code: "no_connection", Destination: true, Err: f.Err}
}

func closeQuietly(c *connection) {
	if err := c.Close(); err != nil {
		return // it was closed already
	}
}
