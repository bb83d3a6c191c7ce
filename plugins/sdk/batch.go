package sdk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// errNoRoom says that the plugin was too busy to make the attempt. That speaks for the
// plugin, so that the host sends less at a time and counts no attempt.
var errNoRoom = &Failure{Code: "busy", Err: errors.New("no room for an attempt in time")}

// batch runs one Publish call.
type batch[C, O any] struct {
	server *server[C, O]
	config *C
	done   chan *publisherv1.DeliveryResult // has room for all, so that nobody waits
}

// job is what one call of the author's function works on: one delivery, or with
// PublishBatch all deliveries to one destination.
type job[O any] struct {
	to     *Destination[O]
	events []*Event
	slots  *slots
	key    string
}

// run starts the attempts and sends their results, many to a message if they come
// together. What has not ended when the time is over is answered with a retry, and
// its goroutine left to the author's conscience.
func (b *batch[C, O]) run(req *publisherv1.PublishRequest, stream publisherv1.Publisher_PublishServer) error {
	attempt, giveUp, cancel := deadlines(stream.Context())
	defer cancel()
	open := make(map[string]struct{}, len(req.GetDeliveries()))
	for _, d := range req.GetDeliveries() {
		open[d.GetDeliveryId()] = struct{}{}
	}
	for _, j := range b.jobs(req) {
		go b.attempt(attempt, j)
	}
	waiting := len(req.GetDeliveries())
	defer func() { b.server.work.end(waiting) }()
	for late := false; waiting > 0 && !late; {
		results := b.collect(giveUp)
		if late = results == nil; late {
			results = unanswered(open)
		}
		for _, r := range results {
			delete(open, r.GetDeliveryId())
		}
		if err := stream.Send(&publisherv1.PublishResponse{Results: results}); err != nil {
			return err
		}
		if !late {
			waiting -= len(results)
			b.server.work.end(len(results))
		}
	}
	return nil
}

// deadlines derives from the deadline of the call when attempts end and when they are
// given up: early enough for the answers to reach the host.
func deadlines(ctx context.Context) (attempt, giveUp context.Context, cancel context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		attempt, cancel = context.WithCancel(ctx)
		return attempt, ctx, cancel
	}
	const most, share = 500 * time.Millisecond, 4
	margin := min(most, time.Until(end)/share)
	attempt, cancelAttempt := context.WithDeadline(ctx, end.Add(-margin))
	giveUp, cancelGiveUp := context.WithDeadline(ctx, end.Add(-margin/2))
	return attempt, giveUp, func() { cancelAttempt(); cancelGiveUp() }
}

// collect waits for a result and takes those that came with it; nil when time is up
// and there is none.
func (b *batch[C, O]) collect(giveUp context.Context) []*publisherv1.DeliveryResult {
	var results []*publisherv1.DeliveryResult
	select {
	case r := <-b.done:
		results = append(results, r)
	case <-giveUp.Done():
	}
	for {
		select {
		case r := <-b.done:
			results = append(results, r)
		default:
			return results
		}
	}
}

func unanswered(open map[string]struct{}) []*publisherv1.DeliveryResult {
	results := make([]*publisherv1.DeliveryResult, 0, len(open))
	for id := range open {
		results = append(results, result(id, fmt.Errorf("attempt: %w", context.DeadlineExceeded), 0, nil))
	}
	return results
}

// jobs sorts the deliveries by destination and answers at once for those whose
// destination makes no sense.
func (b *batch[C, O]) jobs(req *publisherv1.PublishRequest) []job[O] {
	places := req.GetDestinations()
	to := make([]*Destination[O], len(places))
	bad := make([]error, len(places))
	grouped := make(map[uint32]int)
	for i, d := range places {
		to[i], bad[i] = b.destination(d)
	}
	var jobs []job[O]
	for _, d := range req.GetDeliveries() {
		i := d.GetDestination()
		switch {
		case int(i) >= len(to):
			b.answer(d.GetDeliveryId(), Reject(errors.New("its destination is not in the batch")), 0, nil)
			continue
		case bad[i] != nil:
			b.answer(d.GetDeliveryId(), bad[i], 0, nil)
			continue
		}
		ev := event(d)
		if at, ok := grouped[i]; ok && b.server.p.together(to[i]) {
			jobs[at].events = append(jobs[at].events, ev)
			continue
		}
		grouped[i] = len(jobs)
		key := to[i].Subscription + " " + to[i].Fingerprint
		jobs = append(jobs, job[O]{to: to[i], events: []*Event{ev}, key: key, slots: b.server.limiter.open(key)})
	}
	return jobs
}

func (b *batch[C, O]) destination(d *publisherv1.Destination) (*Destination[O], error) {
	options, err := decodeOptions[O](b.server.options, d.GetOptions())
	if err != nil {
		return nil, &Failure{
			Code: "bad_options", Final: true, Destination: true, Err: fmt.Errorf("options of the destination: %w", err),
		}
	}
	secrets := make(map[string]Secret, len(d.GetSecrets()))
	for name, value := range d.GetSecrets() {
		secrets[name] = Secret{value: value}
	}
	return &Destination[O]{
		Subscription: d.GetId(), Fingerprint: d.GetFingerprint(), URI: d.GetUri(), Options: options, Secrets: secrets,
	}, nil
}

func event(d *publisherv1.Delivery) *Event {
	e := d.GetEvent()
	ev := &Event{
		ID: e.GetId(), Type: e.GetType(), Source: e.GetSource(), Subject: e.GetSubject(),
		ContentType: e.GetContentType(), Data: e.GetData(), Attributes: e.GetAttributes(),
		DeliveryID: d.GetDeliveryId(), Attempt: int(d.GetAttempt()),
	}
	if t := e.GetTime(); t != nil {
		ev.Time = t.AsTime()
	}
	if t := d.GetExpires(); t != nil {
		ev.Expires = t.AsTime()
	}
	return ev
}

// attempt waits for room, calls the author's function and answers.
func (b *batch[C, O]) attempt(ctx context.Context, j job[O]) {
	l := b.server.limiter
	defer l.close(j.key)
	start := time.Now()
	var errs []error
	if l.acquire(ctx, j.slots) {
		start = time.Now()
		errs = b.call(ctx, j)
		l.release(j.slots)
	} else {
		errs = repeat(errNoRoom, len(j.events))
	}
	took := time.Since(start)
	for i, ev := range j.events {
		var err error
		if i < len(errs) {
			err = errs[i]
		} else if errs != nil {
			err = errors.New("the plugin did not answer for this delivery")
		}
		b.answer(ev.DeliveryID, err, took, j.to.Secrets)
	}
}

// call guards the process against a panic of the author's function.
func (b *batch[C, O]) call(ctx context.Context, j job[O]) (errs []error) {
	defer func() {
		if r := recover(); r != nil {
			b.server.log.Error("publish panicked", "subscription", j.to.Subscription,
				"panic", scrub(fmt.Sprint(r), j.to.Secrets), "stack", string(debug.Stack()))
			errs = repeat(&Failure{Code: "panic", Err: errors.New("the plugin panicked")}, len(j.events))
		}
	}()
	if b.server.p.together(j.to) {
		return b.server.p.PublishBatch(ctx, b.config, j.to, j.events)
	}
	return []error{b.server.p.Publish(ctx, b.config, j.to, j.events[0])}
}

func (b *batch[C, O]) answer(id string, err error, took time.Duration, secrets map[string]Secret) {
	b.done <- result(id, err, took, secrets)
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
