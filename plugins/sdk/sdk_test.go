package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

type testConfig struct {
	Outbound sdk.Outbound `json:"outbound,omitzero"`
	Room     string       `json:"room" doc:"where to speak"`
	Limits   struct {
		Depth int `json:"depth,omitempty"`
	} `json:"limits,omitzero"`
	Tags  []string          `json:"tags,omitempty"`
	Named map[string]string `json:"named,omitempty"`
	Token sdk.Secret        `json:"token,omitzero"`
}

type testOptions struct {
	Urgent bool   `json:"urgent,omitempty"`
	Colour string `json:"colour,omitempty"`
	Times  int    `json:"times,omitempty"`
}

type publishFunc = func(context.Context, *testConfig, *sdk.Destination[testOptions], *sdk.Event) error

// open serves a publisher in process, configured.
func open(t *testing.T, publish publishFunc) *client.Publisher {
	t.Helper()
	return openWith(t, sdk.Publisher[testConfig, testOptions]{Concurrency: 4, Publish: publish})
}

func openWith(t *testing.T, p sdk.Publisher[testConfig, testOptions]) *client.Publisher {
	t.Helper()
	p.Name, p.Version, p.Schemes = "test", "1.0.0", []string{"test"}
	server, err := p.Server()
	if err != nil {
		t.Fatal(err)
	}
	c, stop, err := client.InProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Configure(t.Context(), []byte(`{"room":"1"}`)); err != nil {
		t.Fatal(err)
	}
	return c
}

func batch(uri string, ids ...string) *publisherv1.PublishRequest {
	req := &publisherv1.PublishRequest{Destinations: []*publisherv1.Destination{{
		Id: "sub", Uri: uri, Secrets: map[string][]byte{"secret": []byte("canary")},
	}}}
	for _, id := range ids {
		req.Deliveries = append(req.Deliveries, &publisherv1.Delivery{
			DeliveryId: id, Attempt: 2, Event: &publisherv1.Event{Id: "e" + id, Data: []byte("{}")},
		})
	}
	return req
}

func publish(ctx context.Context, c *client.Publisher, req *publisherv1.PublishRequest) (map[string]string, error) {
	got := map[string]string{}
	err := c.Publish(ctx, req, func(r *publisherv1.DeliveryResult) { got[r.GetDeliveryId()] = show(r) })
	return got, err
}

func show(r *publisherv1.DeliveryResult) string {
	switch {
	case r.GetDelivered() != nil:
		return "delivered"
	case r.GetRetry() != nil:
		re := r.GetRetry()
		if re.GetNotYet() {
			return fmt.Sprintf("not yet, %s %s", re.GetCode(), re.GetAfter().AsDuration())
		}
		return fmt.Sprintf("retry %s %s %d: %s", re.GetCode(), re.GetAfter().AsDuration(), re.GetScope(), re.GetMessage())
	default:
		re := r.GetRejected()
		return fmt.Sprintf("rejected %s %d: %s", re.GetCode(), re.GetScope(), re.GetMessage())
	}
}

func TestErrorsAreOutcomes(t *testing.T) {
	errs := map[string]error{
		"nil": nil, "reject": sdk.Reject(errors.New("no")), "gone": sdk.Gone(errors.New("no")),
		"later": sdk.RetryAfter(time.Minute, errors.New("no")), "destination": sdk.RetryDestination(errors.New("no")),
		"not yet": sdk.NotYet(time.Minute, errors.New("no")), "own code": &sdk.Failure{NotYet: true, Err: errors.New("no")},
		"other": errors.New("no"), "deadline": context.DeadlineExceeded,
		"wrapped": fmt.Errorf("post: %w", sdk.Reject(errors.New("no"))),
		"secret":  errors.New("401 for key canary here"),
		"long":    errors.New(strings.Repeat("é", 1000)),
		"bad url": sdk.Gone(parse("http://user:canary7@host:canary7/\x00")),
		"url":     fmt.Errorf("post: %w", &url.Error{Op: "Post", URL: "http://user:canary7@host/", Err: errors.New("no")}),
		"coded":   &sdk.Failure{Code: "full", Err: errors.New("no")},
	}
	want := map[string]string{
		"nil": "delivered", "reject": "rejected rejected 0: no", "gone": "rejected gone 1: no",
		"later": "retry retry_later 1m0s 0: no", "destination": "retry destination 0s 1: no",
		"other": "retry error 0s 0: no", "deadline": "retry timeout 0s 0: context deadline exceeded",
		"wrapped": "rejected rejected 0: post: no", "secret": "retry error 0s 0: 401 for key [redacted] here",
		"long": "retry error 0s 0: " + strings.Repeat("é", 256), "coded": "retry full 0s 0: no",
		"not yet": "not yet, not_yet 1m0s", "own code": "not yet, error 0s",
		"bad url": "rejected gone 1: not a URL", "url": "retry error 0s 0: post: no",
	}
	c := open(t, func(_ context.Context, _ *testConfig, _ *sdk.Destination[testOptions], ev *sdk.Event) error {
		return errs[ev.DeliveryID]
	})
	var ids []string
	for id := range errs {
		ids = append(ids, id)
	}
	got, err := publish(t.Context(), c, batch("test:", ids...))
	if err != nil {
		t.Fatal(err)
	}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("%s: %q, want %q", id, got[id], w)
		}
	}
}

func parse(uri string) error {
	_, err := url.Parse(uri)
	return err
}

func TestPanicIsARetryOfThatDeliveryAlone(t *testing.T) {
	c := open(t, func(_ context.Context, _ *testConfig, _ *sdk.Destination[testOptions], ev *sdk.Event) error {
		if ev.DeliveryID == "b" {
			panic("oh")
		}
		return nil
	})
	got, err := publish(t.Context(), c, batch("test:", "a", "b", "c"))
	if err != nil || got["a"] != "delivered" || got["c"] != "delivered" || !strings.HasPrefix(got["b"], "retry panic") {
		t.Errorf("Publish() = %v, %v", got, err)
	}
}

func TestEveryDeliveryIsAnsweredBeforeTheDeadline(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	c := open(t, func(ctx context.Context, _ *testConfig, d *sdk.Destination[testOptions], ev *sdk.Event) error {
		switch {
		case ev.DeliveryID == "quick":
			return nil
		case d.URI == "test:deaf":
			<-block // ignores its context
		}
		<-ctx.Done()
		return ctx.Err()
	})
	for _, uri := range []string{"test:polite", "test:deaf"} {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		got, err := publish(ctx, c, batch(uri, "quick", "a", "b", "c"))
		cancel()
		if err != nil || len(got) != 4 || got["quick"] != "delivered" {
			t.Errorf("%s: %v, %v, want all answered", uri, got, err)
		}
	}
}

// What found no room was not attempted: it must cost its delivery nothing.
func TestDeliveriesWithoutRoomBlameThePublisher(t *testing.T) {
	c := open(t, func(ctx context.Context, _ *testConfig, _ *sdk.Destination[testOptions], _ *sdk.Event) error {
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	got, err := publish(ctx, c, batch("test:", "a", "b", "c", "d", "e", "f"))
	if err != nil {
		t.Fatal(err)
	}
	attempted, busy := 0, 0
	for id, outcome := range got {
		switch {
		case strings.HasPrefix(outcome, fmt.Sprintf("retry timeout 0s %d", publisherv1.Scope_SCOPE_DELIVERY)):
			attempted++
		case strings.HasPrefix(outcome, fmt.Sprintf("retry busy 0s %d", publisherv1.Scope_SCOPE_PUBLISHER)):
			busy++
		default:
			t.Errorf("%s: %s", id, outcome)
		}
	}
	if attempted != 4 || busy != 2 {
		t.Errorf("%d attempts timed out and %d found no room, want 4 and 2: %v", attempted, busy, got)
	}
}

func TestFastDeliveriesAreAckedBeforeSlowOnes(t *testing.T) {
	fastAcked := make(chan struct{})
	c := open(t, func(ctx context.Context, _ *testConfig, _ *sdk.Destination[testOptions], ev *sdk.Event) error {
		if ev.DeliveryID == "slow" {
			select {
			case <-fastAcked:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	var order []string
	err := c.Publish(t.Context(), batch("test:", "slow", "fast"), func(r *publisherv1.DeliveryResult) {
		if order = append(order, r.GetDeliveryId()); r.GetDeliveryId() == "fast" {
			close(fastAcked)
		}
	})
	if err != nil || !slices.Equal(order, []string{"fast", "slow"}) {
		t.Errorf("order of acks %v, %v", order, err)
	}
}

func TestConcurrencyIsBoundedPerDestination(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	full := make(chan struct{})
	c := open(t, func(ctx context.Context, _ *testConfig, _ *sdk.Destination[testOptions], _ *sdk.Event) error {
		mu.Lock()
		running++
		if most = max(most, running); running == 4 && most == 4 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		select {
		case <-full:
		case <-ctx.Done():
		}
		mu.Lock()
		running--
		mu.Unlock()
		return nil
	})
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint(i))
	}
	if _, err := publish(t.Context(), c, batch("test:", ids...)); err != nil {
		t.Fatal(err)
	}
	if most != 4 {
		t.Errorf("%d attempts at once, want 4", most)
	}
}

func TestBatchFunctionGetsOneDestination(t *testing.T) {
	c := openWith(t, sdk.Publisher[testConfig, testOptions]{
		PublishBatch: func(_ context.Context, _ *testConfig, d *sdk.Destination[testOptions], evs []*sdk.Event) []error {
			switch d.Subscription {
			case "short":
				return []error{nil}
			case "sub":
				return nil
			}
			return slices.Repeat([]error{sdk.Gone(errors.New("no"))}, len(evs))
		},
	})
	req := batch("test:", "a", "b", "c", "d", "e")
	req.Destinations = append(req.Destinations, &publisherv1.Destination{Id: "bad"}, &publisherv1.Destination{Id: "short"})
	for i, d := range req.GetDeliveries() {
		d.Destination = []uint32{0, 1, 0, 2, 2}[i]
	}
	req.Deliveries = append(req.Deliveries, &publisherv1.Delivery{DeliveryId: "f", Destination: 9})
	got, err := publish(t.Context(), c, req)
	want := map[string]string{
		"a": "delivered", "b": "rejected gone 1: no", "c": "delivered", "d": "delivered",
		"e": "retry error 0s 0: the plugin did not answer for this delivery",
		"f": "rejected rejected 0: its destination is not in the batch",
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Publish() = %v, %v, want %v", got, err, want)
	}
}

func TestOptionsAreTyped(t *testing.T) {
	c := open(t, func(_ context.Context, _ *testConfig, d *sdk.Destination[testOptions], _ *sdk.Event) error {
		return sdk.Reject(fmt.Errorf("%+v", d.Options))
	})
	req := batch("test:", "a")
	req.Destinations[0].Options = map[string]string{"urgent": "true", "colour": "7", "times": "3"}
	if got, err := publish(t.Context(), c, req); err != nil || !strings.Contains(got["a"], "{Urgent:true Colour:7 Times:3}") {
		t.Errorf("Publish() = %v, %v", got, err)
	}
	req.Destinations[0].Options = map[string]string{"urgant": "true"}
	got, err := publish(t.Context(), c, req)
	if err != nil || !strings.HasPrefix(got["a"], "rejected bad_options 1: options of the destination: urgant is not") {
		t.Errorf("Publish() = %v, %v, want it rejected for the destination", got, err)
	}
}

func TestConfigurationIsCheckedAgainstItsSchema(t *testing.T) {
	c := open(t, func(context.Context, *testConfig, *sdk.Destination[testOptions], *sdk.Event) error { return nil })
	good := `{"room":"x","limits":{"depth":3},"tags":["a"],"named":{"a":"b"},"token":"t","outbound":{"allow":["10.0.0.0/8"]}}`
	if _, err := c.Configure(t.Context(), []byte(good)); err != nil {
		t.Errorf("Configure(%s) = %v", good, err)
	}
	for config, want := range map[string]string{
		`{}`:                                      "/room: is required",
		`{"room":1}`:                              "/room: must be of type string",
		`{"room":null}`:                           "/room: must be of type string",
		`{"room":"x","rom":"y"}`:                  "/rom: is not a known key; known are limits, named, outbound, room, tags, token",
		`{"room":"x","limits":{"a/b":1}}`:         "/limits/a~1b: is not",
		`{"room":"x","limits":{"depth":"deep"}}`:  "/limits/depth: must be of type integer",
		`{"room":"x","tags":["a",2]}`:             "/tags/1: must be of type string",
		`{"room":"x","named":{"a":2}}`:            "/named/a: must be of type string",
		`{"room":"x","outbound":{"allow":["x"]}}`: `"x" is not a network`,
		`[]`: "must be an object", `{`: "must be an object",
	} {
		if _, err := c.Configure(t.Context(), []byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Configure(%s) = %v, want %q", config, err, want)
		}
	}
}

func TestSchemaMarksSecrets(t *testing.T) {
	c := open(t, func(context.Context, *testConfig, *sdk.Destination[testOptions], *sdk.Event) error { return nil })
	info, err := c.Info(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Required   []string
		Properties map[string]struct {
			Type, Description string
			WriteOnly         bool
		}
	}
	if err := json.Unmarshal(info.GetConfigSchema(), &s); err != nil {
		t.Fatal(err)
	}
	if p := s.Properties; !p["token"].WriteOnly || p["room"].Description != "where to speak" || p["tags"].Type != "array" {
		t.Errorf("schema = %s", info.GetConfigSchema())
	}
	if !slices.Equal(s.Required, []string{"room"}) {
		t.Errorf("required = %v", s.Required)
	}
}

func TestPublishBeforeConfigureIsRefused(t *testing.T) {
	server, err := sdk.Publisher[testConfig, testOptions]{
		Name: "x", Version: "1", Schemes: []string{"x"},
		Publish: func(context.Context, *testConfig, *sdk.Destination[testOptions], *sdk.Event) error { return nil },
	}.Server()
	if err != nil {
		t.Fatal(err)
	}
	c, stop, err := client.InProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := publish(t.Context(), c, batch("x:", "a")); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Publish() = %v, want FailedPrecondition", err)
	}
}

func TestDrainFinishesWhatRunsAndRefusesWhatComes(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	c := open(t, func(context.Context, *testConfig, *sdk.Destination[testOptions], *sdk.Event) error {
		close(begun)
		<-finish
		return nil
	})
	answer := make(chan string, 1)
	go func() {
		got, err := publish(t.Context(), c, batch("test:", "a"))
		answer <- fmt.Sprint(got, err)
	}()
	<-begun
	if st, err := c.Status(t.Context()); err != nil || st.GetDeliveriesInFlight() != 1 {
		t.Errorf("Status() = %v, %v, want one in flight", st, err)
	}
	if abandoned, err := c.Drain(t.Context(), 20*time.Millisecond); err != nil || abandoned != 1 {
		t.Errorf("Drain() = %d, %v, want one abandoned", abandoned, err)
	}
	if _, err := publish(t.Context(), c, batch("test:", "b")); status.Code(err) != codes.Unavailable {
		t.Errorf("Publish() while draining = %v, want Unavailable", err)
	}
	close(finish)
	if abandoned, err := c.Drain(t.Context(), time.Minute); err != nil || abandoned != 0 {
		t.Errorf("Drain() = %d, %v, want none abandoned", abandoned, err)
	}
	if got := <-answer; got != "map[a:delivered] <nil>" {
		t.Errorf("what ran = %s", got)
	}
}

func TestDestinationIsCheckedWithoutTheNetwork(t *testing.T) {
	c := open(t, func(context.Context, *testConfig, *sdk.Destination[testOptions], *sdk.Event) error { return nil })
	for uri, want := range map[string]string{"test:x": "", "http://x": "must begin with one of test", "%": "is not a URI"} {
		_, err := c.CheckDestination(t.Context(), &publisherv1.CheckDestinationRequest{
			Destination: &publisherv1.Destination{Uri: uri},
		})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckDestination(%s) = %v, want %q", uri, err, want)
		}
	}
}

func TestSecretNeverShows(t *testing.T) {
	s := sdk.NewSecret([]byte("canary"))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "map", map[string]sdk.Secret{"a": s})
	encoded, err := json.Marshal(struct{ S sdk.Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %x %q %v", s, s, s, s, s, s, []sdk.Secret{s}) + log.String() + string(encoded)
	if strings.Contains(all, "canary") || strings.Contains(all, "63616e617279") || strings.Contains(all, "99 97") {
		t.Errorf("a secret shows: %s", all)
	}
}

func TestWrongDescriptionIsRefused(t *testing.T) {
	_, err := sdk.Publisher[struct{ C chan int }, struct{}]{
		Name: "x", Version: "1", Schemes: []string{"x"},
		Publish: func(context.Context, *struct{ C chan int }, *sdk.Destination[struct{}], *sdk.Event) error { return nil },
	}.Server()
	if err == nil || !strings.Contains(err.Error(), "chan int has no JSON schema") {
		t.Errorf("Server() = %v", err)
	}
	_, err = sdk.Publisher[struct{}, struct{}]{Name: "No"}.Server()
	for _, want := range []string{"name", "version", "scheme", "Publish"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Server() = %v, want %s in it", err, want)
		}
	}
}
