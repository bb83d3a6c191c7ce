package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// answers counts answers for batches of all sizes.
func answers(ctx context.Context, k *kit) (string, error) {
	const usual = 100
	most := int(k.info.GetLimits().GetMaxBatchDeliveries())
	if most == 0 {
		most = usual
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	t, err := k.behaving(nil, "ok")
	if errors.Is(err, errSkip) {
		return "", errors.New("nothing can be delivered, so little is verified: " + strings.TrimPrefix(err.Error(), errSkip.Error()+": "))
	}
	for _, n := range []int{0, 1, most} {
		req := k.request(n, t)
		a := k.publish(ctx, p, req)
		if a.err != nil {
			return "", fmt.Errorf("a batch of %d deliveries: %w", n, a.err)
		}
		if err := exactlyOnce(req, a); err != nil {
			return "", fmt.Errorf("a batch of %d deliveries: %w", n, err)
		}
	}
	evidence := fmt.Sprintf("%d answers for batches of 0, 1 and %d", 1+most, most)
	if t.at != nil {
		if len(t.at.got()) == 0 {
			return "", errors.New("all were reported as delivered, but the receiver got no request")
		}
		evidence += fmt.Sprintf("; %d requests", len(t.at.got()))
	}
	return evidence, nil
}

// exactlyOnce compares the deliveries of a batch with the answers.
func exactlyOnce(req *publisherv1.PublishRequest, a answered) error {
	count := map[string]int{}
	for _, r := range a.results {
		count[r.GetDeliveryId()]++
	}
	for _, d := range req.GetDeliveries() {
		switch n := count[d.GetDeliveryId()]; {
		case n != 1:
			return fmt.Errorf("%d answers for delivery %s, want 1", n, d.GetDeliveryId())
		case a.of(d) != delivered:
			return fmt.Errorf("outcome %s, want %s", a.of(d), delivered)
		}
		delete(count, d.GetDeliveryId())
	}
	for id := range count {
		return fmt.Errorf("an answer for %q, which was not asked for", clip(id))
	}
	return nil
}

// wanted says in words what outcomes are expected; the message names the first other.
func wanted(results map[int]*publisherv1.DeliveryResult, want string, is func(*publisherv1.DeliveryResult) bool) (string, error) {
	for code, r := range results {
		if !is(r) {
			return "", fmt.Errorf("status %d: outcome %s, want %s", code, outcome(r), want)
		}
	}
	return fmt.Sprintf("%s for each of %d statuses", want, len(results)), nil
}

func serverErrors(ctx context.Context, k *kit) (string, error) {
	again := func(r *publisherv1.DeliveryResult) bool { return r.GetRetry() != nil }
	if t, ok, err := k.fixed(ctx, "transient"); ok {
		return "a retry", orElse(err, again(t), "outcome %s of the destination transient, want retry", outcome(t))
	}
	results, err := k.statuses(ctx, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout)
	if err != nil {
		return "", err
	}
	return wanted(results, "retry", again)
}

func refused(ctx context.Context, k *kit) (string, error) {
	no := func(r *publisherv1.DeliveryResult) bool {
		return r.GetRejected() != nil && r.GetRejected().GetScope() == publisherv1.Scope_SCOPE_DELIVERY
	}
	if t, ok, err := k.fixed(ctx, "permanent"); ok {
		return "rejected", orElse(err, no(t), "outcome %s of the destination permanent, want rejected SCOPE_DELIVERY", outcome(t))
	}
	results, err := k.statuses(ctx, http.StatusBadRequest, http.StatusRequestEntityTooLarge)
	if err != nil {
		return "", err
	}
	return wanted(results, "rejected SCOPE_DELIVERY", no)
}

// fixed delivers to a real destination of the fixtures, if there is one.
func (k *kit) fixed(ctx context.Context, name string) (r *publisherv1.DeliveryResult, ok bool, err error) {
	if _, ok := k.config.Fixtures.Destinations[name]; !ok {
		return nil, false, nil
	}
	t, err := k.behaving(nil, name)
	if err == nil {
		r, err = k.one(ctx, t)
	}
	return r, true, err
}

func orElse(err error, good bool, format string, args ...any) error {
	if err == nil && !good {
		err = fmt.Errorf(format, args...)
	}
	return err
}

func oneAttempt(ctx context.Context, k *kit) (string, error) {
	const moment = 300 * time.Millisecond
	t, err := k.observed(status(http.StatusServiceUnavailable))
	if err != nil {
		return "", err
	}
	broken, err := k.observed(reset)
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	a := k.publish(ctx, p, k.request(1, t, broken))
	if a.err != nil {
		return "", a.err
	}
	later, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	if t.at.await(later, 2) || len(broken.at.got()) > 1 {
		return "", fmt.Errorf("%d requests for one attempt to a receiver that answers 503 and %d to one that breaks off; the host retries",
			len(t.at.got()), len(broken.at.got()))
	}
	if len(t.at.got()) == 0 {
		return "", errors.New("the receiver got no request")
	}
	return "one request to a receiver that answers 503", nil
}

func retryAfter(ctx context.Context, k *kit) (string, error) {
	const seconds = 7
	t, err := k.observed(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if err != nil {
		return "", err
	}
	r, err := k.one(ctx, t)
	if err != nil {
		return "", err
	}
	if r.GetRetry() == nil {
		return "", fmt.Errorf("status 429: outcome %s, want retry", outcome(r))
	}
	after := r.GetRetry().GetAfter().AsDuration()
	if after < (seconds-1)*time.Second || after > (seconds+1)*time.Second {
		return "", fmt.Errorf("status 429 with Retry-After: %d: the answer says after %s", seconds, after)
	}
	return fmt.Sprintf("Retry-After: %d became %s", seconds, after), nil
}

func gone(ctx context.Context, k *kit) (string, error) {
	results, err := k.statuses(ctx, http.StatusGone)
	if err != nil {
		return "", err
	}
	return wanted(results, "rejected SCOPE_DESTINATION", func(r *publisherv1.DeliveryResult) bool {
		return r.GetRejected() != nil && r.GetRejected().GetScope() == publisherv1.Scope_SCOPE_DESTINATION
	})
}

func forbidden(ctx context.Context, k *kit) (string, error) {
	results, err := k.statuses(ctx, http.StatusUnauthorized, http.StatusForbidden)
	if err != nil {
		return "", err
	}
	return wanted(results, "an answer with SCOPE_DESTINATION", func(r *publisherv1.DeliveryResult) bool {
		return r.GetRetry().GetScope() == publisherv1.Scope_SCOPE_DESTINATION ||
			r.GetRejected().GetScope() == publisherv1.Scope_SCOPE_DESTINATION
	})
}

// mixed puts a bad delivery into the middle of a batch.
func mixed(ctx context.Context, k *kit) (string, error) {
	good, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	bad, err := k.behaving(status(http.StatusBadRequest), "permanent")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	req := k.request(1, good, bad, good)
	a := k.publish(ctx, p, req)
	for _, i := range []int{0, 2} {
		if got := a.of(req.GetDeliveries()[i]); got != delivered {
			return "", fmt.Errorf("beside a delivery that is refused, a good one: %s, want %s", got, delivered)
		}
	}
	if got := a.of(req.GetDeliveries()[1]); got == delivered {
		return "", errors.New("the delivery that was refused is reported as delivered")
	}
	return "two good deliveries arrived, the bad one: " + a.of(req.GetDeliveries()[1]), nil
}

func outOfRange(ctx context.Context, k *kit) (string, error) {
	const nowhere = 7
	good, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	req := k.request(1, good)
	req.Deliveries = append(req.Deliveries, k.deliveries(1, nowhere)...)
	a := k.publish(ctx, p, req)
	if r := a.result(req.GetDeliveries()[1]); r.GetRejected() == nil {
		return "", fmt.Errorf("a delivery whose destination is not in the batch: %s, want rejected", a.of(req.GetDeliveries()[1]))
	}
	if got := a.of(req.GetDeliveries()[0]); got != delivered {
		return "", fmt.Errorf("beside a delivery without a destination, a good one: %s, want %s", got, delivered)
	}
	return "it was rejected, its neighbour delivered", nil
}

func redirect(ctx context.Context, k *kit) (string, error) {
	elsewhere, err := k.observed(nil)
	if err != nil {
		return "", err
	}
	results := map[int]*publisherv1.DeliveryResult{}
	for _, code := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		t, err := k.observed(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", k.endpoint.srv.URL+"/"+elsewhere.at.id)
			w.WriteHeader(code)
		})
		if err != nil {
			return "", err
		}
		if results[code], err = k.one(ctx, t); err != nil {
			return "", err
		}
		if len(t.at.got()) == 0 {
			return "", errors.New("the receiver that redirects got no request")
		}
	}
	if n := len(elsewhere.at.got()); n > 0 {
		return "", fmt.Errorf("it followed %d of 3 redirects, which may lead anywhere", n)
	}
	return wanted(results, "another outcome than delivered", func(r *publisherv1.DeliveryResult) bool { return r.GetDelivered() == nil })
}
