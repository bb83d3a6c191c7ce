package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// attempt is the deadline of calls that are to succeed, generous for slow machines.
const attempt = 15 * time.Second

// short is the deadline of calls that are to run into it.
func (k *kit) short() time.Duration {
	const enough = 1500 * time.Millisecond
	return max(k.patient(enough), k.info.GetLimits().GetMinDeadline().AsDuration())
}

// target is a destination and, if it is the kit's own endpoint, the receiver there.
type target struct {
	to *publisherv1.Destination
	at *mark // nil for a real destination
}

// observed returns a destination at the kit's endpoint, which sees what the plugin does.
func (k *kit) observed(answer http.HandlerFunc) (target, error) {
	d := k.config.Fixtures.Destination
	if d == nil && k.serves("http", "https") {
		d = &Destination{URI: "${endpoint}/${mark}"}
	}
	if d == nil {
		return target{}, skip("it needs a destination that leads to the kit's endpoint; " +
			"if the plugin speaks HTTP, give one as destination in the fixtures")
	}
	m := k.endpoint.mark(answer)
	return target{to: k.destination(*d, m.id), at: m}, nil
}

// behaving returns a destination at the kit's endpoint, or the real one that behaves
// as wanted.
func (k *kit) behaving(answer http.HandlerFunc, real string) (target, error) {
	d, ok := k.config.Fixtures.Destinations[real]
	if ok {
		return target{to: k.destination(d, "")}, nil
	}
	t, err := k.observed(answer)
	if err != nil {
		err = skip("it needs a destination: give %q among the destinations of the fixtures, "+
			"or destination if the plugin speaks HTTP", real)
	}
	return t, err
}

func (k *kit) serves(schemes ...string) bool {
	return slices.ContainsFunc(k.info.GetSchemes(), func(s string) bool { return slices.Contains(schemes, s) })
}

// destination fills in a fixture. Each is a destination of its own to the plugin.
func (k *kit) destination(d Destination, mark string) *publisherv1.Destination {
	fill := k.filler(mark)
	serial := k.serial.Add(1)
	to := &publisherv1.Destination{
		Id: fmt.Sprintf("kit-%d", serial), Fingerprint: fmt.Sprintf("kit-%d-1", serial), Uri: fill.Replace(d.URI),
		Options: map[string]string{}, Secrets: map[string][]byte{},
	}
	for name, value := range d.Options {
		to.Options[name] = fill.Replace(value)
	}
	for name, value := range d.Secrets {
		to.Secrets[name] = []byte(fill.Replace(value))
	}
	return to
}

func (k *kit) filler(mark string) *strings.Replacer {
	return strings.NewReplacer("${endpoint}", k.endpoint.srv.URL, "${mark}", mark, "${canary}", k.canary.secret)
}

// settings is the plugin's configuration, with outbound as the host adds it, and what
// a check wants besides.
func (k *kit) settings(allow []string, more map[string]any) ([]byte, error) {
	config := map[string]any{}
	if raw := k.config.Fixtures.Config; len(raw) > 0 {
		if err := json.Unmarshal([]byte(k.filler("").Replace(string(raw))), &config); err != nil {
			return nil, fmt.Errorf("config of the fixtures: %w", err)
		}
	}
	if _, given := config["outbound"]; k.guarded() && !given {
		config["outbound"] = map[string]any{"allow": allow}
	}
	maps.Copy(config, more)
	return json.Marshal(config)
}

// guarded reports whether the plugin's configuration has the member outbound.
func (k *kit) guarded() bool {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(k.info.GetConfigSchema(), &schema); err != nil {
		return false
	}
	_, ok := schema.Properties["outbound"]
	return ok
}

func local() []string { return []string{"127.0.0.0/8", "::1/128"} }

// configure gives a process the plugin's configuration. If none has ever taken it, that
// is for C5 to say.
func (k *kit) configure(ctx context.Context, p *process) error {
	err := k.givesConfig(ctx, p)
	if err != nil && !k.configured && !p.gone() {
		return skip("the plugin does not take its configuration, see C5")
	}
	return err
}

func (k *kit) givesConfig(ctx context.Context, p *process) error {
	config, err := k.settings(local(), nil)
	if err != nil {
		return err
	}
	problems, err := k.tryConfig(ctx, p, &publisherv1.ConfigureRequest{ConfigJson: config})
	switch {
	case err != nil:
		return err
	case len(problems) > 0:
		return fmt.Errorf("it refuses its configuration %s: %s", config, strings.Join(problems, "; "))
	}
	k.configured, p.ready = true, true
	return nil
}

// tryConfig returns what the plugin finds wrong with a configuration.
func (k *kit) tryConfig(ctx context.Context, p *process, req *publisherv1.ConfigureRequest) (problems []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.patient(attempt))
	defer cancel()
	resp, err := p.rpc.Configure(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("call of Configure: %w", err)
	}
	for _, d := range resp.GetDiagnostics() {
		said := fmt.Sprintf("%s: %s %s", d.GetPath(), d.GetSummary(), d.GetDetail())
		k.heard("diagnostic", said)
		if d.GetSeverity() == publisherv1.Diagnostic_SEVERITY_ERROR {
			problems = append(problems, said)
		}
	}
	return problems, nil
}

// heard looks for the canary in what the plugin answers.
func (k *kit) heard(where, said string) {
	k.seen.mu.Lock()
	defer k.seen.mu.Unlock()
	k.seen.canary = k.canary
	k.seen.look(where, said)
}

// deliveries are those of a whole batch, all to the destination with that index.
func (k *kit) deliveries(n int, destination uint32) []*publisherv1.Delivery {
	ds := make([]*publisherv1.Delivery, n)
	for i := range ds {
		serial := k.serial.Add(1)
		id := fmt.Sprintf("kit-delivery-%d", serial)
		ds[i] = &publisherv1.Delivery{
			DeliveryId: id, Destination: destination, Attempt: 1, Event: event(fmt.Sprintf("change-%d", serial)),
		}
	}
	return ds
}

// event is as the host sends it: a change of a server.
func event(id string) *publisherv1.Event {
	now := time.Now().UTC()
	const kind = "OS::Nova::Server"
	data, err := json.Marshal(change.Change{
		ID: id, Action: change.Updated, Revision: 2, Lineage: "1", Time: now,
		Resource: change.Resource{Type: kind, ID: "5d4b5ea1", Href: "/v1/resources/" + kind + "/5d4b5ea1"},
		Project:  "kit", Changed: []string{"status"}, Before: map[string]json.RawMessage{"status": []byte(`"BUILD"`)},
		Document: []byte(`{"id": "5d4b5ea1", "name": "web-1 \u00e9", "status": "ACTIVE"}`),
		Cause:    change.Cause{Kind: change.ByNotification, EventType: "instance.update"},
	})
	quietly(err) // it has no value that JSON lacks
	return &publisherv1.Event{
		Id: id, Type: "org.fresnel.resource.updated", Source: "/fresnel", Subject: kind + "/5d4b5ea1",
		Time: timestamppb.New(now), ContentType: "application/json", Data: data,
		Attributes: map[string]string{"dataschema": change.DataSchema, "project": "kit"},
	}
}

// request is a batch of n deliveries to each target.
func (k *kit) request(n int, to ...target) *publisherv1.PublishRequest {
	req := &publisherv1.PublishRequest{}
	for i, t := range to {
		req.Destinations = append(req.Destinations, t.to)
		req.Deliveries = append(req.Deliveries, k.deliveries(n, uint32(i))...)
	}
	return req
}

// answered is what came of a batch: all results, also those that came twice.
type answered struct {
	results []*publisherv1.DeliveryResult
	err     error
}

// of returns the outcome of a delivery in words.
func (a answered) of(d *publisherv1.Delivery) string {
	for _, r := range a.results {
		if r.GetDeliveryId() == d.GetDeliveryId() {
			return outcome(r)
		}
	}
	if a.err != nil {
		return "no answer: " + a.err.Error()
	}
	return "no answer"
}

func (a answered) result(d *publisherv1.Delivery) *publisherv1.DeliveryResult {
	for _, r := range a.results {
		if r.GetDeliveryId() == d.GetDeliveryId() {
			return r
		}
	}
	return nil
}

const delivered = "delivered"

func outcome(r *publisherv1.DeliveryResult) string {
	if r == nil {
		return "no answer"
	}
	switch o := r.GetOutcome().(type) {
	case *publisherv1.DeliveryResult_Delivered:
		return delivered
	case *publisherv1.DeliveryResult_Retry:
		return fmt.Sprintf("retry %s (%s: %s)", o.Retry.GetScope(), o.Retry.GetCode(), clip(o.Retry.GetMessage()))
	case *publisherv1.DeliveryResult_Rejected:
		return fmt.Sprintf("rejected %s (%s: %s)", o.Rejected.GetScope(), o.Rejected.GetCode(), clip(o.Rejected.GetMessage()))
	}
	return "an answer without an outcome"
}

// publish sends a batch and gathers the answers.
func (k *kit) publish(ctx context.Context, p *process, req *publisherv1.PublishRequest) answered {
	ctx, cancel := context.WithTimeout(ctx, k.patient(attempt))
	defer cancel()
	return k.publishUntil(ctx, p, req, func(*publisherv1.DeliveryResult) {})
}

// publishUntil does the same with a deadline of the caller's, and tells of each answer.
func (k *kit) publishUntil(
	ctx context.Context, p *process, req *publisherv1.PublishRequest, tell func(*publisherv1.DeliveryResult),
) (a answered) {
	stream, err := p.rpc.Publish(ctx, req)
	if err != nil {
		return answered{err: fmt.Errorf("call of Publish: %w", err)}
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return a
		}
		if err != nil {
			k.heard("error", err.Error())
			a.err = fmt.Errorf("call of Publish: %w", err)
			return a
		}
		for _, r := range resp.GetResults() {
			a.results = append(a.results, r)
			k.heard("result", outcome(r)+" "+r.GetRetry().GetMessage()+r.GetRejected().GetMessage()+r.GetDelivered().GetRemoteId())
			tell(r)
		}
	}
}

// one publishes a single delivery to a target of the shared process and returns its
// result.
func (k *kit) one(ctx context.Context, t target) (*publisherv1.DeliveryResult, error) {
	p, err := k.ready(ctx)
	if err != nil {
		return nil, err
	}
	req := k.request(1, t)
	a := k.publish(ctx, p, req)
	r := a.result(req.GetDeliveries()[0])
	if r == nil {
		return nil, fmt.Errorf("no answer for a delivery: %w", orNothing(a.err))
	}
	return r, nil
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("the stream ended well without one")
	}
	return err
}

// deliversTo checks that a delivery to a target arrives.
func (k *kit) deliversTo(ctx context.Context, p *process, t target) error {
	req := k.request(1, t)
	a := k.publish(ctx, p, req)
	if got := a.of(req.GetDeliveries()[0]); got != delivered {
		return fmt.Errorf("a delivery to a receiver that takes everything: %s, want %s", got, delivered)
	}
	if t.at != nil && len(t.at.got()) == 0 {
		return errors.New("a delivery was reported as delivered, but the receiver got no request")
	}
	return nil
}
