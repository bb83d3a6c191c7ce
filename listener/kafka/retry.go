package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// retriable reports whether the trouble may pass: the network's always may, a
// broker's if it says so.
func retriable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return code.Temporary() || code.Timeout()
	}
	return true
}

// classify says in our nouns what a broker refused.
func classify(err error) error {
	switch {
	case errors.Is(err, kafka.PolicyViolation):
		return fmt.Errorf("%w: %w", stream.ErrFull, err)
	case errors.Is(err, kafka.MessageSizeTooLarge):
		return fmt.Errorf("%w: %w", stream.ErrTooLarge, err)
	}
	return err
}

// backoff doubles its pauses up to a limit, each shortened by chance up to a half.
type backoff struct{ next, limit time.Duration }

func newBackoff(first, limit time.Duration) *backoff {
	return &backoff{next: first, limit: limit}
}

// sleep pauses and reports whether ctx is still alive.
func (b *backoff) sleep(ctx context.Context) bool {
	d := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, b.limit)
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// persist tries f until it succeeds, fails for good, or ctx is done.
func persist(ctx context.Context, f func() error) error {
	for wait := newBackoff(50*time.Millisecond, 2*time.Second); ; {
		err := f()
		if err == nil || !retriable(err) {
			return err
		}
		if !wait.sleep(ctx) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}
