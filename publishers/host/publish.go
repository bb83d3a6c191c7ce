package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// margin is what a call gets on top of the attempt timeout, so that the plugin can
// still answer for an attempt that ran out of time.
const margin = 500 * time.Millisecond

// Publish makes one attempt at each delivery and calls ack, from one goroutine at a
// time, as outcomes become known, at most once each. It returns when all batches have
// ended; what was not acked then has an unknown outcome, and the error says why. If
// the error is delivery.ErrUnavailable, no attempt at what was not acked counts: none
// was made, or the plugin died of something that it had in hand.
func (p *Plugin) Publish(
	ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome),
) error {
	if len(ds) == 0 {
		return nil
	}
	var acking sync.Mutex
	c := &call{p: p, to: message(to), enough: p.cfg.AttemptTimeout / 2, ack: func(o delivery.Outcome) {
		acking.Lock()
		defer acking.Unlock()
		ack(o)
	}}
	if end, ok := ctx.Deadline(); ok {
		c.enough = min(c.enough, time.Until(end)/2)
	}
	free, groups, guilty := p.suspects.sort(to.Subscription, ds)
	for _, d := range guilty {
		p.log.Error("delivery kills the plugin", "event_id", d.Event.ID, "subscription", to.Subscription)
		c.reject(d, "plugin_crash", "the plugin dies whenever it is given this delivery")
	}
	if len(free)+len(groups) == 0 {
		return nil
	}
	inst, err := p.ready(ctx)
	if err != nil {
		return err
	}
	batches := c.split(free, inst.limits)
	errs := make([]error, len(batches))
	var all sync.WaitGroup
	for i, b := range batches[min(1, len(batches)):] {
		all.Go(func() { errs[i+1] = c.publish(ctx, b, false) })
	}
	if len(batches) > 0 {
		errs[0] = c.publish(ctx, batches[0], false)
	}
	all.Wait()
	for _, g := range groups {
		for _, b := range c.split(g, inst.limits) {
			batches = append(batches, b)
			errs = append(errs, c.publish(ctx, b, true))
		}
	}
	return c.settle(batches, errs)
}

// call is one call of Publish.
type call struct {
	p      *Plugin
	to     *publisherv1.Destination
	enough time.Duration // for an attempt; with less a plugin only says so
	ack    func(delivery.Outcome)
}

// batch is what one RPC carries. Those answered for leave it.
type batch []*publisherv1.Delivery

func (c *call) reject(d delivery.Delivery, code, text string) {
	c.ack(delivery.Outcome{ID: d.ID, Kind: delivery.Rejected, Code: code, Message: text})
}

// settle makes one error of those of all batches. Where some count as attempts and
// some do not, it answers for the former.
func (c *call) settle(batches []batch, errs []error) error {
	none := func(err error) bool { return errors.Is(err, delivery.ErrUnavailable) }
	if slices.ContainsFunc(errs, none) {
		for i, err := range errs {
			if err == nil || none(err) {
				continue
			}
			for j, d := range batches[i] {
				if d != nil {
					c.ack(delivery.Outcome{ID: d.GetDeliveryId(), Kind: delivery.Unknown, Code: "no_answer", Message: clip(err.Error())})
				}
				batches[i][j] = nil
			}
		}
	}
	return errors.Join(errs...)
}

// publish sends one batch when there is room for it, or, if it is a trial, when there
// is nothing else.
func (c *call) publish(ctx context.Context, b batch, trial bool) error {
	p, key := c.p, c.to.GetFingerprint()
	inst, err := p.ready(ctx)
	if err != nil {
		return err
	}
	if trial {
		err = p.window.acquireAlone(ctx, key)
	} else {
		err = p.window.acquire(ctx, key, inst.limits.batches)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", delivery.ErrUnavailable, err)
	}
	defer p.window.release(key)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < c.enough {
		return fmt.Errorf("%w: no room in time", delivery.ErrUnavailable)
	}
	if inst, err = p.enter(ctx); err != nil {
		return err
	}
	defer inst.calls.leave()
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.AttemptTimeout+margin, errors.New("attempt_timeout"))
	defer cancel()
	return c.send(ctx, inst, b, trial)
}

// send makes the RPC and says what became of it. A plugin that refuses a batch as a
// whole gets its halves.
func (c *call) send(ctx context.Context, inst *instance, b batch, trial bool) error {
	p := c.p
	left, err := c.stream(ctx, inst, b)
	switch code := status.Code(err); {
	case len(left) == 0: // whatever became of the rest of the stream
		p.window.grow(inst.limits.batches)
		return nil
	case err == nil:
		return fmt.Errorf("publish batch of %d: the plugin did not answer for %d", len(b), len(left))
	case inst.pid != 0 && ctx.Err() == nil && (code == codes.Unavailable || code == codes.Canceled) && inst.died():
		p.suspects.crashed(c.to.GetId(), left, trial)
		return fmt.Errorf("%w: it died with %d deliveries in hand: %w", delivery.ErrUnavailable, len(left), inst.why())
	case len(left) < len(b) && code != codes.InvalidArgument && code != codes.Internal && code != codes.Unknown:
	case code == codes.Unavailable && !inst.gone():
		return fmt.Errorf("%w: %w", delivery.ErrUnavailable, err)
	case code == codes.ResourceExhausted:
		p.window.shrink()
		return fmt.Errorf("%w: %w", delivery.ErrUnavailable, err)
	case code == codes.FailedPrecondition:
		return fmt.Errorf("%w: %w", delivery.ErrUnavailable, errors.Join(err, inst.configure(ctx)))
	case code == codes.InvalidArgument || code == codes.Internal || code == codes.Unknown:
		if len(left) > 1 {
			rest := slices.DeleteFunc(b, func(d *publisherv1.Delivery) bool { return d == nil }) // in place, for whoever has b
			const half = 2
			p.log.Debug("plugin refused a batch; it gets the halves", "err", err, "count", len(rest))
			first, second := rest[:len(rest)/half], rest[len(rest)/half:]
			halves, errs := []batch{first, second}, []error{c.send(ctx, inst, first, trial), c.send(ctx, inst, second, trial)}
			return c.settle(halves, errs)
		}
	}
	return fmt.Errorf("publish batch of %d: %w", len(b), err)
}

// stream makes one RPC and acks what is answered for. It returns the ids of the rest.
func (c *call) stream(ctx context.Context, inst *instance, b batch) (left []string, err error) {
	at := make(map[string]int, len(b))
	for i, d := range b {
		at[d.GetDeliveryId()] = i
	}
	began := time.Now()
	inst.progress.start()
	req := &publisherv1.PublishRequest{
		Destinations: []*publisherv1.Destination{c.to}, Deliveries: slices.Clone(b), // b changes meanwhile
	}
	slow := false
	err = inst.publisher.Publish(ctx, req, func(r *publisherv1.DeliveryResult) {
		now := time.Now()
		inst.progress.answered(now)
		o := outcome(r)
		c.p.metrics.answered(o, now.Sub(began))
		slow = slow || o.Kind == delivery.Retry && o.Scope == delivery.OfPublisher
		b[at[o.ID]] = nil
		c.p.suspects.cleared(c.to.GetId(), o.ID)
		c.ack(o)
	})
	for _, d := range b {
		if d != nil {
			left = append(left, d.GetDeliveryId())
		}
	}
	inst.progress.end(len(left) == 0)
	c.p.metrics.batch.Observe(float64(len(b)))
	if slow {
		c.p.window.shrink()
	}
	return left, err
}

// died waits a moment for a process whose connection broke.
func (i *instance) died() bool {
	const moment = 500 * time.Millisecond
	select {
	case <-i.lost:
		return !i.ended.Load()
	case <-time.After(moment):
		return false
	}
}

// split cuts deliveries into batches that the plugin takes, and rejects what fits into
// none.
func (c *call) split(ds []delivery.Delivery, l batchLimits) (batches []batch) {
	var b batch
	size := 0
	for _, d := range ds {
		m := deliveryMessage(d)
		n := proto.Size(m)
		if n > l.bytes {
			c.reject(d, "too_large", "the event is larger than a plugin takes")
			continue
		}
		if len(b) == l.deliveries || (len(b) > 0 && size+n > l.bytes) {
			batches = append(batches, b)
			b, size = nil, 0
		}
		b = append(b, m)
		size += n
	}
	if len(b) > 0 {
		batches = append(batches, b)
	}
	return batches
}

func message(to delivery.Destination) *publisherv1.Destination {
	var all []byte
	part := func(texts ...string) {
		for _, t := range texts {
			all = append(append(strconv.AppendInt(all, int64(len(t)), 10), ':'), t...)
		}
	}
	part(to.Subscription, to.URI)
	for _, name := range slices.Sorted(maps.Keys(to.Options)) {
		part("option", name, to.Options[name])
	}
	for _, name := range slices.Sorted(maps.Keys(to.Secrets)) {
		part("secret", name, string(to.Secrets[name]))
	}
	const enough = 16
	sum := sha256.Sum256(all)
	return &publisherv1.Destination{
		Id: to.Subscription, Uri: to.URI, Options: to.Options, Secrets: to.Secrets,
		Fingerprint: hex.EncodeToString(sum[:enough]),
	}
}

func deliveryMessage(d delivery.Delivery) *publisherv1.Delivery {
	e := d.Event
	m := &publisherv1.Delivery{
		DeliveryId: d.ID, Attempt: uint32(max(d.Attempt, 1)),
		Event: &publisherv1.Event{
			Id: e.ID, Type: e.Type, Source: e.Source, Subject: e.Subject,
			ContentType: e.ContentType, Data: e.Data, Attributes: e.Attributes,
		},
	}
	if !e.Time.IsZero() {
		m.Event.Time = timestamppb.New(e.Time)
	}
	if !d.Expires.IsZero() {
		m.Expires = timestamppb.New(d.Expires)
	}
	return m
}

func outcome(r *publisherv1.DeliveryResult) delivery.Outcome {
	o := delivery.Outcome{ID: r.GetDeliveryId()}
	switch {
	case r.GetDelivered() != nil:
		o.Kind, o.RemoteID, o.Took = delivery.Delivered, clip(r.GetDelivered().GetRemoteId()), r.GetDelivered().GetTook().AsDuration()
	case r.GetRetry() != nil:
		re := r.GetRetry()
		o.Kind, o.Scope, o.Code, o.Message = delivery.Retry, scope(re.GetScope()), code(re.GetCode()), clip(re.GetMessage())
		o.After = max(re.GetAfter().AsDuration(), 0)
		if re.GetNotYet() {
			o.Kind, o.Scope = delivery.Deferred, delivery.OfDelivery
		}
	case r.GetRejected() != nil:
		re := r.GetRejected()
		o.Kind, o.Scope, o.Code, o.Message = delivery.Rejected, scope(re.GetScope()), code(re.GetCode()), clip(re.GetMessage())
	}
	return o
}

func scope(s publisherv1.Scope) delivery.Scope {
	switch s {
	case publisherv1.Scope_SCOPE_DESTINATION:
		return delivery.OfDestination
	case publisherv1.Scope_SCOPE_PUBLISHER:
		return delivery.OfPublisher
	default:
		return delivery.OfDelivery
	}
}

// code makes a plugin's code fit for a metrics label.
func code(c string) string {
	const longest = 40
	if c == "" || len(c) > longest || strings.Trim(c, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return "other"
	}
	return c
}

// clip makes a plugin's message fit for a record.
func clip(s string) string {
	const longest = 512
	if len(s) > longest {
		s = strings.Clone(s[:longest]) // the rest need not stay in memory
	}
	return strings.ToValidUTF8(s, "�")
}
