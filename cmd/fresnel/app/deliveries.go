package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/searchapi"
)

// subscriptions shows the engine's subscriptions to operators.
type subscriptions struct {
	engine     *publishers.Engine
	standby    func() (string, bool)
	configured map[string]publishers.Subscription // by name
}

func newSubscriptions(s *system) subscriptions {
	byName := map[string]publishers.Subscription{}
	for _, one := range s.Config.Publishers.Subscriptions {
		byName[one.Name] = one
	}
	return subscriptions{s.engine, s.standby, byName}
}

// List implements searchapi.Subscriptions.
func (s subscriptions) List(context.Context) ([]searchapi.Subscription, error) {
	var out []searchapi.Subscription
	who, waits := s.standby()
	for _, st := range s.engine.Status() {
		c := s.configured[st.Name]
		one := searchapi.Subscription{
			Name: st.Name, Publisher: st.Publisher, Destination: withoutCredentials(c.Destination),
			State: "standby", Reason: who, Settings: settings(c),
		}
		if !waits {
			t := st.Tally
			one.State, one.Reason, one.Since, one.NextProbe = st.Condition, reason(st), st.Since, st.NextProbe
			one.Lag, one.LagSeconds, one.Parked, one.Cursors = st.Lag, st.LagSeconds, st.Parked, st.Cursors
			one.Counters = map[string]int64{
				"open": int64(st.Open), "in_flight": int64(st.InFlight), "parked_bytes": st.ParkedBytes, "gaps": st.Gaps,
			}
			one.Settled = map[string]int64{
				"delivered": t.Delivered, "dead": t.Dead, "expired": t.Expired, "superseded": t.Superseded, "dropped": t.Dropped,
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// settings are what operators see of a subscription's configuration: no option and no
// secret, for either may be a credential.
func settings(c publishers.Subscription) map[string]any {
	out := map[string]any{
		"durability": publishers.Kept, "when_behind": publishers.All, "filter": c.Filter, "admin_fields": c.AdminFields,
	}
	if c.Durability != "" {
		out["durability"] = c.Durability
	}
	if c.WhenBehind != "" {
		out["when_behind"] = c.WhenBehind
	}
	if c.MessageTTL > 0 {
		out["message_ttl"] = c.MessageTTL.String()
	}
	return out
}

func reason(st publishers.SubscriptionStatus) string {
	if st.Code != "" {
		return st.Code + ": " + st.Detail
	}
	return st.LastError
}

// withoutCredentials is a destination that may be shown.
func withoutCredentials(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// Pause implements searchapi.Subscriptions.
func (s subscriptions) Pause(ctx context.Context, name string) error {
	return s.act(func() error { return s.engine.Pause(ctx, name) })
}

// Resume implements searchapi.Subscriptions.
func (s subscriptions) Resume(ctx context.Context, name string) error {
	return s.act(func() error { return s.engine.Resume(ctx, name) })
}

// act does what only the process may do that delivers.
func (s subscriptions) act(do func() error) error {
	if who, waits := s.standby(); waits {
		return fmt.Errorf("%w: %s", searchapi.ErrConflict, who)
	}
	return undeliverable(do())
}

// undeliverable is an engine's error as the API knows it.
func undeliverable(err error) error {
	switch {
	case errors.Is(err, publishers.ErrUnknown):
		return fmt.Errorf("%w: %w", searchapi.ErrNotFound, err)
	case errors.Is(err, publishers.ErrImpossible), errors.Is(err, publishers.ErrElsewhere):
		return fmt.Errorf("%w: %w", searchapi.ErrConflict, err)
	}
	return err
}

// deliveries shows the engine's deliveries to operators.
type deliveries struct{ subscriptions }

// List implements searchapi.Deliveries.
func (d deliveries) List(ctx context.Context, q searchapi.DeliveryQuery) (out []searchapi.Delivery, err error) {
	err = d.act(func() error {
		list, err := d.engine.Deliveries(ctx, publishers.DeliveryQuery(q))
		for _, one := range list {
			out = append(out, searchapi.Delivery(one))
		}
		return err
	})
	return out, err
}

// Get implements searchapi.Deliveries.
func (d deliveries) Get(ctx context.Context, subscription, id string) (out searchapi.Delivery, ev *searchapi.Event, err error) {
	err = d.act(func() error {
		one, e, err := d.engine.Delivery(ctx, subscription, id)
		out = searchapi.Delivery(one)
		if e != nil {
			ev = &searchapi.Event{
				ID: e.ID, Type: e.Type, Source: e.Source, Subject: e.Subject, Time: e.Time,
				ContentType: e.ContentType, Attributes: e.Attributes, Data: e.Data,
			}
		}
		return err
	})
	return out, ev, err
}

// Redeliver implements searchapi.Deliveries.
func (d deliveries) Redeliver(ctx context.Context, subscription, id string) error {
	return d.act(func() error { return d.engine.RedeliverNow(ctx, subscription, id) })
}
