package plugintest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	rpc "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// unknownFields sends what a later host may send.
func unknownFields(ctx context.Context, k *kit) (string, error) {
	t, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	req := k.request(1, t)
	const field = 2047
	later := protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), "of a later version")
	for _, m := range []proto.Message{req, req.GetDestinations()[0], req.GetDeliveries()[0], req.GetDeliveries()[0].GetEvent()} {
		m.ProtoReflect().SetUnknown(later)
	}
	a := k.publish(ctx, p, req)
	if got := a.of(req.GetDeliveries()[0]); got != delivered {
		return "", fmt.Errorf("a batch with fields that version 1 does not have: %s, want %s", got, delivered)
	}
	return "a batch with four unknown fields was delivered", nil
}

// deadline has a receiver hang until the host gives up.
func deadline(ctx context.Context, k *kit) (string, error) {
	moment := k.patient(time.Second)
	t, err := k.behaving(k.endpoint.hang(), "hang")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	short, cancel := context.WithTimeout(ctx, k.short())
	defer cancel()
	req := k.request(2, t)
	a := k.publishUntil(short, p, req, func(*publisherv1.DeliveryResult) {})
	for _, d := range req.GetDeliveries() {
		if r := a.result(d); r.GetRetry() == nil {
			return "", fmt.Errorf("a receiver that does not answer, a deadline of %s: %s, want a retry before the deadline",
				k.short(), a.of(d))
		}
	}
	if t.at == nil {
		return "a retry before the deadline", nil
	}
	if len(t.at.got()) == 0 {
		return "", errors.New("the receiver that does not answer got no request")
	}
	for _, r := range t.at.got() {
		if !r.left(moment) {
			return "", fmt.Errorf("%s after the deadline it still waits for the receiver", moment)
		}
	}
	return fmt.Sprintf("a retry for each of 2 deliveries; %d requests given up", len(t.at.got())), nil
}

// largeBody sends what only a plugin that passes data on can spoil.
func largeBody(ctx context.Context, k *kit) (string, error) {
	const small, envelope = 1000, 4 << 10
	large := 1<<20 - envelope
	if most := int(k.info.GetLimits().GetMaxBatchBytes()); most > 2*envelope {
		large = min(large, most-envelope)
	}
	for _, size := range []int{small, large} {
		t, err := k.observed(nil)
		if err != nil {
			return "", err
		}
		p, err := k.ready(ctx)
		if err != nil {
			return "", err
		}
		req := k.request(1, t)
		ev := req.GetDeliveries()[0].GetEvent()
		ev.ContentType, ev.Data = "application/octet-stream", binary(size)
		a := k.publish(ctx, p, req)
		if r := a.result(req.GetDeliveries()[0]); r.GetRejected() != nil {
			return "", skip("it takes no binary data of %d bytes: %s", size, outcome(r))
		}
		if got := a.of(req.GetDeliveries()[0]); got != delivered || len(t.at.got()) == 0 {
			return "", fmt.Errorf("binary data of %d bytes: %s, %d requests", size, got, len(t.at.got()))
		}
		intact := carries(t.at.got()[0].body, ev.GetData())
		switch {
		case !intact && size == small:
			return "", skip("it sends no copy of the data, so there is nothing to compare")
		case !intact:
			return "", fmt.Errorf("data of %d bytes arrives, data of %d bytes does not arrive intact", small, size)
		}
	}
	return fmt.Sprintf("%d bytes arrived intact", large), nil
}

// binary is data with every byte in it.
func binary(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// carries reports whether a body holds the data, as it is or in base64.
func carries(body, data []byte) bool {
	return bytes.Contains(body, data) || bytes.Contains(body, []byte(base64.StdEncoding.EncodeToString(data)))
}

func hungDestination(ctx context.Context, k *kit) (string, error) {
	patience := k.patient(5 * time.Second)
	hung, err := k.behaving(k.endpoint.hang(), "hang")
	if err != nil {
		return "", err
	}
	good, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	waiting, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		k.publish(waiting, p, k.request(4, hung))
	}()
	defer func() { cancel(); <-over }()
	if hung.at != nil && !hung.at.await(ctx, 1) {
		return "", errors.New("the receiver that hangs got no request")
	}
	quick, stop := context.WithTimeout(ctx, patience)
	defer stop()
	req := k.request(1, good)
	a := k.publishUntil(quick, p, req, func(*publisherv1.DeliveryResult) {})
	if got := a.of(req.GetDeliveries()[0]); got != delivered {
		return "", fmt.Errorf("while another destination hangs: %s, want %s within %s", got, delivered, patience)
	}
	return "a batch was delivered while another one hung", nil
}

// movedDestination keeps the id of a destination and changes where it leads.
func movedDestination(ctx context.Context, k *kit) (string, error) {
	before, err := k.observed(nil)
	if err != nil {
		return "", err
	}
	after, err := k.observed(nil)
	if err != nil {
		return "", err
	}
	after.to.Id = before.to.GetId()
	for _, t := range []target{before, after} {
		if r, err := k.one(ctx, t); err != nil || r.GetDelivered() == nil {
			return "", errors.Join(err, fmt.Errorf("outcome %s, want %s", outcome(r), delivered))
		}
	}
	if old, moved := len(before.at.got()), len(after.at.got()); old != 1 || moved != 1 {
		return "", fmt.Errorf("a destination of the same id with a new URI and fingerprint: %d requests to the old one, %d to the new one, "+
			"want one each: Destination.id is no key for a cache, fingerprint is", old, moved)
	}
	return "the second delivery went to the new place", nil
}

func redelivery(ctx context.Context, k *kit) (string, error) {
	t, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	req := k.request(1, t)
	for n := range 2 {
		req.GetDeliveries()[0].Attempt = uint32(n + 1)
		a := k.publish(ctx, p, req)
		if got := a.of(req.GetDeliveries()[0]); got != delivered {
			return "", fmt.Errorf("attempt %d of a delivery: %s, want %s", n+1, got, delivered)
		}
		if t.at != nil && len(t.at.got()) <= n {
			return "", fmt.Errorf("attempt %d of a delivery made no request: the host has its reasons to repeat one", n+1)
		}
	}
	return "two attempts at one delivery", nil
}

// passesID looks for what lets receivers drop repeats.
func passesID(ctx context.Context, k *kit) (string, error) {
	t, err := k.observed(nil)
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	req := k.request(1, t)
	if a := k.publish(ctx, p, req); a.err != nil {
		return "", a.err
	}
	id := req.GetDeliveries()[0].GetDeliveryId()
	for _, r := range t.at.got() {
		for name, values := range r.header {
			if strings.Contains(strings.Join(values, " "), id) {
				return "it is in the header " + name, nil
			}
		}
		if bytes.Contains(r.body, []byte(id)) {
			return "it is in the body", nil
		}
	}
	return "", fmt.Errorf("the delivery id is nowhere in %d requests: receivers cannot drop repeats", len(t.at.got()))
}

func overLimit(ctx context.Context, k *kit) (string, error) {
	const usual, times = 100, 5
	most := int(k.info.GetLimits().GetMaxBatchDeliveries())
	if most == 0 {
		most = usual
	}
	t, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	req := k.request(times*most, t)
	a := k.publish(ctx, p, req)
	switch code := rpc.Code(a.err); {
	case code == codes.InvalidArgument || code == codes.ResourceExhausted:
		return fmt.Sprintf("%d deliveries, %d times its limit: %s", times*most, times, code), nil
	case a.err != nil:
		return "", fmt.Errorf("a batch of %d deliveries, %d times its limit: %w; want INVALID_ARGUMENT, RESOURCE_EXHAUSTED or answers", times*most, times, a.err)
	}
	if err := exactlyOnce(req, a); err != nil {
		return "", fmt.Errorf("a batch of %d deliveries, %d times its limit, was neither refused nor answered: %w", times*most, times, err)
	}
	return fmt.Sprintf("%d deliveries, %d times its limit, were all answered", times*most, times), nil
}

func earlyAnswers(ctx context.Context, k *kit) (string, error) {
	patience := k.patient(3 * time.Second)
	done := make(chan struct{})
	slow, err := k.observed(k.endpoint.holds(done))
	if err != nil {
		return "", err
	}
	fast, err := k.observed(nil)
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	var once sync.Once
	end := func() { once.Do(func() { close(done) }) }
	late := time.AfterFunc(patience, end)
	defer late.Stop()
	req := k.request(1, slow, fast)
	limited, cancel := context.WithTimeout(ctx, k.patient(attempt))
	defer cancel()
	early := false
	a := k.publishUntil(limited, p, req, func(r *publisherv1.DeliveryResult) {
		if r.GetDeliveryId() == req.GetDeliveries()[1].GetDeliveryId() {
			early = late.Stop()
			end()
		}
	})
	if a.err != nil {
		return "", a.err
	}
	if !early {
		return "", errors.New("the answer for a fast delivery came only after the slow one of its batch: " +
			"had the plugin died in between, the host would repeat both; send answers as they come")
	}
	return "the fast one was answered while the slow one ran", nil
}

// cancellation gives a batch up long before its deadline.
func cancellation(ctx context.Context, k *kit) (string, error) {
	moment := k.patient(time.Second)
	t, err := k.observed(k.endpoint.hang())
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	called, cancel := context.WithTimeout(ctx, k.patient(attempt))
	over := make(chan struct{})
	go func() {
		defer close(over)
		k.publishUntil(called, p, k.request(1, t), func(*publisherv1.DeliveryResult) {})
	}()
	came := t.at.await(called, 1)
	cancel()
	<-over
	if !came {
		return "", errors.New("no request came")
	}
	if !t.at.got()[0].left(moment) {
		return "", fmt.Errorf("%s after the host cancelled the call the plugin still waits for the receiver", moment)
	}
	return "the request ended with the call", nil
}

// parallel has each batch wait for all others.
func parallel(ctx context.Context, k *kit) (string, error) {
	const usual, enough = 4, 8
	patience := k.patient(5 * time.Second)
	n := int(k.info.GetLimits().GetMaxBatchesInFlight())
	if n == 0 {
		n = usual
	}
	n = min(n, enough)
	all := make(chan struct{})
	var mu sync.Mutex
	came := 0
	together := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if came++; came == n {
			close(all)
		}
		mu.Unlock()
		k.endpoint.holds(all)(w, r)
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	reqs := make([]*publisherv1.PublishRequest, n)
	for i := range reqs {
		t, err := k.observed(together)
		if err != nil {
			return "", err
		}
		reqs[i] = k.request(1, t)
	}
	called, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var running sync.WaitGroup
	for _, req := range reqs {
		running.Go(func() { k.publishUntil(called, p, req, func(*publisherv1.DeliveryResult) {}) })
	}
	running.Wait()
	mu.Lock()
	defer mu.Unlock()
	if came < n {
		return "", fmt.Errorf("of %d batches at once only %d ran: lower max_batches_in_flight, or run them at once", n, came)
	}
	return fmt.Sprintf("%d batches at once", n), nil
}
