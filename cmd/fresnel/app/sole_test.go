package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

func TestEmbeddedStoreHasItsConsumerGroupAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &system{Options: Options{Log: discard}}
		began := time.Now()
		killed := func(context.Context) ([]string, error) { // goes with its session
			if time.Since(began) < 29*time.Second {
				return []string{"fresnel-a-1 at /10.0.0.1"}, nil
			}
			return nil, nil
		}
		if err := s.awaitAlone(t.Context(), killed, 35*time.Second); err != nil {
			t.Errorf("after a process that was killed: %v", err)
		}
		lives := func(context.Context) ([]string, error) { return []string{"fresnel-a-1 at /10.0.0.1"}, nil }
		err := s.awaitAlone(t.Context(), lives, 35*time.Second)
		if err == nil || !strings.Contains(err.Error(), "fresnel-a-1 at /10.0.0.1 reads the same consumer group") {
			t.Errorf("beside a process that lives: %v", err)
		}
		silent := func(context.Context) ([]string, error) { return nil, errors.New("no answer") }
		if err := s.awaitAlone(t.Context(), silent, 35*time.Second); err != nil {
			t.Errorf("a Kafka that does not tell: %v", err)
		}
	})
}

func TestOneEmbeddedKafkaFeedsAStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewSloppy(nil, storetest.Faults{})
		first := record.NewLease(store, "embedded_kafka", "machine-1")
		if err := claimed(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- claim(ctx, first) }()
		second := record.NewLease(store, "embedded_kafka", "machine-2")
		if err := claimed(t.Context(), second); err == nil || !strings.Contains(err.Error(), "machine-1 feeds the same store") {
			t.Errorf("a second one: %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the first ends by %v", err)
		}
		if err := claimed(t.Context(), second); err != nil {
			t.Errorf("once the first has gone: %v", err)
		}
		if err := claim(t.Context(), first); err == nil || !strings.Contains(err.Error(), "machine-2 feeds") {
			t.Errorf("one that slept and finds another: %v", err)
		}
	})
}
