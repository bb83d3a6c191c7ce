package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka"
)

func TestOtherMembersOfAGroupAreKnown(t *testing.T) {
	t.Parallel()
	b := startBroker(t, t.TempDir())
	first := newClient(t, b.Addr(), func(c *kafka.Config) { c.ClientID = "first" })
	second := newClient(t, b.Addr(), func(c *kafka.Config) { c.ClientID = "second" })
	ensure(t, first, "a", 2)
	if others, err := second.Others(t.Context(), "g"); err != nil || len(others) > 0 {
		t.Errorf("of a group that never was: %v, %v", others, err)
	}
	stop := consume(t, first, named("g", "a"), (&seen{}).handler())
	sees := func(c *kafka.Client, n int) func() bool {
		return func() bool {
			others, err := c.Others(t.Context(), "g")
			return err == nil && len(others) == n && (n == 0 || strings.HasPrefix(others[0], "first at "))
		}
	}
	eventually(t, 10*time.Second, "the other member is seen", sees(second, 1))
	if !sees(first, 0)() {
		t.Error("a client takes itself for another")
	}
	stop()
	eventually(t, 10*time.Second, "it has gone", sees(second, 0))
}
