package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
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
// ended; what was not acked then has an unknown outcome, and the error says why. The
// error is delivery.ErrUnavailable if no attempt was made.
func (p *Plugin) Publish(
	ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome),
) error {
	if len(ds) == 0 {
		return nil
	}
	proc, err := p.ready(ctx)
	if err != nil {
		return err
	}
	var acking sync.Mutex
	ackOne := func(o delivery.Outcome) {
		acking.Lock()
		defer acking.Unlock()
		ack(o)
	}
	destination := message(to)
	batches, oversize := split(ds, proc.limits)
	for _, d := range oversize {
		ackOne(delivery.Outcome{
			ID: d.ID, Kind: delivery.Rejected, Code: "too_large", Message: "the event is larger than a plugin takes",
		})
	}
	if len(batches) == 1 {
		return p.publishBatch(ctx, proc, request(destination, batches[0]), ackOne)
	}
	errs := make([]error, len(batches))
	var all sync.WaitGroup
	for i, b := range batches {
		all.Go(func() { errs[i] = p.publishBatch(ctx, proc, request(destination, b), ackOne) })
	}
	all.Wait()
	return joined(errs)
}

// joined is ErrUnavailable only if no batch was attempted.
func joined(errs []error) error {
	attempted := slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, delivery.ErrUnavailable) })
	if !attempted {
		return errors.Join(errs...)
	}
	for i, err := range errs {
		if errors.Is(err, delivery.ErrUnavailable) {
			errs[i] = errors.New("part of the deliveries: " + err.Error())
		}
	}
	return errors.Join(errs...)
}

// publishBatch sends one batch when there is room for it.
func (p *Plugin) publishBatch(
	ctx context.Context, proc *process, req *publisherv1.PublishRequest, ack func(delivery.Outcome),
) error {
	key := req.GetDestinations()[0].GetFingerprint()
	if err := p.window.acquire(ctx, key, proc.limits.batches); err != nil {
		return fmt.Errorf("%w: %w", delivery.ErrUnavailable, err)
	}
	defer p.window.release(key)
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.AttemptTimeout+margin, errors.New("attempt_timeout"))
	defer cancel()
	answered := 0
	proc.progress.start()
	err := proc.publisher.Publish(ctx, req, func(r *publisherv1.DeliveryResult) {
		answered++
		proc.progress.answered(time.Now())
		ack(outcome(r))
	})
	proc.progress.end(answered == len(req.GetDeliveries()))
	switch {
	case err != nil && answered == 0 && notAttempted(proc, err):
		return fmt.Errorf("%w: %w", delivery.ErrUnavailable, err)
	case err != nil:
		return fmt.Errorf("publish batch of %d: %w", len(req.GetDeliveries()), err)
	case answered < len(req.GetDeliveries()):
		return fmt.Errorf("publish batch of %d: the plugin answered for %d", len(req.GetDeliveries()), answered)
	}
	return nil
}

// notAttempted tells a batch that was refused from one that was lost.
func notAttempted(proc *process, err error) bool {
	switch status.Code(err) {
	case codes.FailedPrecondition:
		return true
	case codes.Unavailable:
		return proc.draining.Load()
	default:
		return false
	}
}

// split cuts deliveries into batches that the plugin takes; what fits into none is
// returned apart.
func split(ds []delivery.Delivery, l limits) (batches [][]*publisherv1.Delivery, oversize []delivery.Delivery) {
	var batch []*publisherv1.Delivery
	size := 0
	for _, d := range ds {
		m := deliveryMessage(d)
		n := proto.Size(m)
		if n > l.bytes {
			oversize = append(oversize, d)
			continue
		}
		if len(batch) == l.deliveries || (len(batch) > 0 && size+n > l.bytes) {
			batches = append(batches, batch)
			batch, size = nil, 0
		}
		batch = append(batch, m)
		size += n
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches, oversize
}

func request(d *publisherv1.Destination, batch []*publisherv1.Delivery) *publisherv1.PublishRequest {
	return &publisherv1.PublishRequest{Destinations: []*publisherv1.Destination{d}, Deliveries: batch}
}

func message(to delivery.Destination) *publisherv1.Destination {
	h := sha256.New()
	part := func(texts ...string) {
		for _, t := range texts {
			h.Write(fmt.Appendf(nil, "%d:%s", len(t), t))
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
	return &publisherv1.Destination{
		Id: to.Subscription, Uri: to.URI, Options: to.Options, Secrets: to.Secrets,
		Fingerprint: hex.EncodeToString(h.Sum(nil)[:enough]),
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
	return strings.ToValidUTF8(s[:min(len(s), longest)], "�")
}
