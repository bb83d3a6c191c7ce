package sdk

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// Failure is an attempt that did not deliver. Authors make one with Reject, Gone,
// RetryAfter, NotYet, RetryDestination or FromHTTP; any other error is a retry on the
// host's schedule.
type Failure struct {
	// Code is stable and snake_case: a label of the host's metrics.
	Code string
	// Final says that no further attempt can help.
	Final bool
	// Destination says that this speaks for the destination, not for one delivery:
	// with Final the subscription is suspended, else its other deliveries wait.
	Destination bool
	// After is the least time before the next attempt; zero leaves it to the host.
	After time.Duration
	// NotYet says that nothing failed: the time of the delivery is after After.
	NotYet bool
	// Err says why, for people.
	Err error
}

// Error returns the reason.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the reason.
func (f *Failure) Unwrap() error { return f.Err }

// Reject says that this delivery can never succeed: it becomes a dead letter.
func Reject(err error) error { return &Failure{Code: "rejected", Final: true, Err: err} }

// Gone says that the destination no longer wants anything: its subscription is
// suspended.
func Gone(err error) error {
	return &Failure{Code: "gone", Final: true, Destination: true, Err: err}
}

// RetryAfter asks for another attempt, not before d has passed.
func RetryAfter(d time.Duration, err error) error {
	return &Failure{Code: "retry_later", After: d, Err: err}
}

// NotYet says that nothing failed, but that the delivery is to come again when d has
// passed, as what waits for others to go with. It counts as no attempt, and says nothing
// of the destination.
func NotYet(d time.Duration, err error) error {
	return &Failure{Code: "not_yet", After: d, NotYet: true, Err: err}
}

// RetryDestination asks for another attempt and says that no delivery to this
// destination could succeed now, as when credentials are refused.
func RetryDestination(err error) error {
	return &Failure{Code: "destination", Destination: true, Err: err}
}

// classify makes a Failure of any error.
func classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		if f.Code == "" {
			f = &Failure{Code: "error", Final: f.Final, Destination: f.Destination, After: f.After, NotYet: f.NotYet, Err: f.Err}
		}
		return f
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Failure{Code: "timeout", Err: err}
	case errors.Is(err, context.Canceled):
		return &Failure{Code: "canceled", Err: err}
	}
	return &Failure{Code: "error", Err: err}
}

// result is the answer for one delivery.
func result(deliveryID string, err error, took time.Duration, secrets map[string]Secret) *publisherv1.DeliveryResult {
	r := &publisherv1.DeliveryResult{DeliveryId: deliveryID}
	if err == nil {
		r.Outcome = &publisherv1.DeliveryResult_Delivered{Delivered: &publisherv1.Delivered{Took: durationpb.New(took)}}
		return r
	}
	f := classify(err)
	message := clip(scrub(withoutURL(err), secrets))
	scope := publisherv1.Scope_SCOPE_DELIVERY
	switch {
	case f == errNoRoom:
		scope = publisherv1.Scope_SCOPE_PUBLISHER
	case f.Destination:
		scope = publisherv1.Scope_SCOPE_DESTINATION
	}
	if f.Final {
		r.Outcome = &publisherv1.DeliveryResult_Rejected{Rejected: &publisherv1.Rejected{
			Code: f.Code, Message: message, Scope: scope,
		}}
		return r
	}
	retry := &publisherv1.Retry{Code: f.Code, Message: message, Scope: scope, NotYet: f.NotYet}
	if f.After > 0 {
		retry.After = durationpb.New(f.After)
	}
	r.Outcome = &publisherv1.DeliveryResult_Retry{Retry: retry}
	return r
}

// withoutURL is an error's text without the URL that net/http and net/url put into
// theirs: it may carry credentials.
func withoutURL(err error) string {
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		plain := "not a URL"
		if u.Op != "parse" {
			plain = u.Err.Error()
		}
		text = strings.ReplaceAll(text, u.Error(), plain)
	}
	return text
}

// clip makes a message fit for a record: valid UTF-8 and not long.
func clip(message string) string {
	const longest = 512
	if len(message) > longest {
		message = message[:longest]
	}
	return strings.ToValidUTF8(message, "�")
}
