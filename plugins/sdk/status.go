package sdk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longestRetryAfter caps what a receiver may ask for.
const longestRetryAfter = 24 * time.Hour

// FromHTTP turns the answer of an http.Client into an outcome and closes its body.
//
//	2xx                            delivered
//	404 408 409 425 429 5xx        retry, not before Retry-After
//	401 403                        retry, and the destination's other deliveries wait
//	410                            the destination is gone
//	3xx                            rejected: redirects are never followed
//	400 413 and every other 4xx    rejected
//	time-outs, broken connections  retry
//
// No part of the body becomes part of the outcome: what an inner network answers is
// nobody's business.
func FromHTTP(resp *http.Response, err error) error {
	if err != nil {
		return fromTransport(err)
	}
	discard(resp.Body)
	return fromStatus(resp.StatusCode, resp.Header)
}

func fromStatus(status int, header http.Header) error {
	if status >= 200 && status <= 299 {
		return nil
	}
	f := &Failure{Code: statusCode(status), Err: fmt.Errorf("HTTP status %d %s", status, http.StatusText(status))}
	switch {
	case status == http.StatusGone:
		f.Final, f.Destination = true, true
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Destination = true
	case slices.Contains([]int{
		http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict,
		http.StatusTooEarly, http.StatusTooManyRequests,
	}, status), status >= 500:
		f.After = retryAfter(header.Get("Retry-After"), time.Now())
	case status >= 300 && status <= 399:
		f.Final = true
		f.Err = fmt.Errorf("HTTP status %d: redirects are not followed; set the final URL as destination", status)
	default:
		f.Final = true
	}
	return f
}

// statusCode keeps the set of codes closed: only statuses that HTTP defines.
func statusCode(status int) string {
	if http.StatusText(status) == "" {
		return "http_other"
	}
	return "http_" + strconv.Itoa(status)
}

// retryAfter reads seconds or a date; anything else is zero.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	after := time.Duration(0)
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		after = longestRetryAfter
		if seconds < uint64(longestRetryAfter/time.Second) {
			after = time.Duration(seconds) * time.Second
		}
	} else if date, err := http.ParseTime(value); err == nil {
		after = date.Sub(now)
	}
	return min(max(after, 0), longestRetryAfter)
}

// fromTransport classifies an attempt that got no answer. The URL is left out of
// the message: it may carry credentials.
func fromTransport(err error) error {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	f := &Failure{Code: "transport", Err: err}
	refused, isRefused := errors.AsType[*RefusedError](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	var timeout interface{ Timeout() bool }
	switch {
	case isRefused:
		f.Code, f.Destination, f.Err = "address_refused", true, refused
	case isDNS:
		f.Code, f.Err = "dns", fmt.Errorf("look up %s: %s", dns.Name, dns.Err)
	case isTLS(err):
		f.Code = "tls"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.Code, f.Err = "timeout", errors.New("no answer in time")
	case errors.Is(err, context.Canceled):
		f.Code = "canceled"
	case errors.Is(err, errUnsendable):
		f.Code, f.Final, f.Destination = "bad_destination", true, true
	case !isBroken(err):
		f.Err = errors.New("no answer in HTTP") // what net/http says of it may quote the receiver
	}
	return f
}

// isBroken reports whether a connection could not be opened or broke off.
func isBroken(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.HostnameError](err)
	return ok
}

// discard reads what a well-behaved receiver may say, so that the connection can be
// used again, and hangs up on more or slower than that. The body may be compressed;
// it is never unpacked.
func discard(body io.ReadCloser) {
	const most, longest = 16 << 10, time.Second
	if body == http.NoBody {
		return
	}
	hangUp := time.AfterFunc(longest, func() { closeQuietly(body) })
	defer hangUp.Stop()
	if _, err := io.CopyN(io.Discard, body, most); err != nil {
		// The end of the body, or a receiver that broke off after its status.
		closeQuietly(body)
		return
	}
	closeQuietly(body)
}

// closeQuietly closes a body of which nothing more is wanted.
func closeQuietly(body io.Closer) {
	if err := body.Close(); err != nil {
		return // the status is known; how the rest ends changes nothing
	}
}
