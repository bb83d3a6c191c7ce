package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	rpc "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

func identity(_ context.Context, k *kit) (string, error) {
	m, err := manifest.FromInfo(&publisherv1.GetInfoResponse{
		Name: k.info.GetName(), Version: k.info.GetVersion(), Schemes: k.info.GetSchemes(),
	})
	if err != nil {
		return "", fmt.Errorf("GetInfo: %w", err)
	}
	return fmt.Sprintf("%s %s serves %s", m.Name, m.Version, strings.Join(m.Schemes, ", ")), nil
}

func schemas(_ context.Context, k *kit) (string, error) {
	var errs []error
	var given []string
	for name, text := range map[string][]byte{
		"config_schema": k.info.GetConfigSchema(), "destination_schema": k.info.GetDestinationSchema(),
	} {
		s, err := manifest.NewSchema(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		case !s.Empty():
			given = append(given, name)
			errs = append(errs, defaultsFit(name, text))
		}
	}
	if len(given) == 0 {
		given = []string{"no schema is given, so nothing is wrong with it"}
	}
	return strings.Join(given, ", "), errors.Join(errs...)
}

// defaultsFit checks each default of a schema against the schema that it stands in.
func defaultsFit(at string, text json.RawMessage) error {
	var node struct {
		Default    json.RawMessage            `json:"default"`
		Properties map[string]json.RawMessage `json:"properties"`
		Items      json.RawMessage            `json:"items"`
	}
	if err := json.Unmarshal(text, &node); err != nil {
		return nil //nolint:nilerr // true and false are schemas too, and have no defaults
	}
	var errs []error
	if len(node.Default) > 0 {
		s, err := manifest.NewSchema(text)
		var value any
		if err = errors.Join(err, json.Unmarshal(node.Default, &value)); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		for _, problem := range s.Check(value) {
			errs = append(errs, fmt.Errorf("%s: its default %s does not fit: %w", at, node.Default, problem))
		}
	}
	for name, p := range node.Properties {
		errs = append(errs, defaultsFit(at+"."+name, p))
	}
	if len(node.Items) > 0 {
		errs = append(errs, defaultsFit(at+".items", node.Items))
	}
	return errors.Join(errs...)
}

// refuses returns an error unless a batch is refused as by a plugin that is not
// configured. No answer may be given for any delivery.
func (k *kit) refuses(ctx context.Context, p *process) error {
	t, err := k.behaving(nil, "ok")
	if err != nil {
		// Whatever the destination, nothing must come of it.
		t = target{to: &publisherv1.Destination{Id: "kit", Uri: "kit:nowhere"}}
		if s := k.info.GetSchemes(); len(s) > 0 {
			t.to.Uri = s[0] + ":nowhere"
		}
	}
	a := k.publish(ctx, p, k.request(1, t))
	switch {
	case len(a.results) > 0:
		return fmt.Errorf("a delivery was answered with %s, want no answer and status FAILED_PRECONDITION", outcome(a.results[0]))
	case rpc.Code(a.err) != codes.FailedPrecondition:
		return fmt.Errorf("a call of Publish ends with status %s, want FAILED_PRECONDITION", rpc.Code(a.err))
	case t.at != nil && len(t.at.got()) > 0:
		return errors.New("a request was made all the same")
	}
	return nil
}

func unconfigured(ctx context.Context, k *kit) (string, error) {
	k.drop() // one that is certainly not configured
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	if err := k.refuses(ctx, p); err != nil {
		return "", fmt.Errorf("before Configure: %w", err)
	}
	k.refusals = true
	return "Publish ended with FAILED_PRECONDITION", nil
}

func validateOnly(ctx context.Context, k *kit) (string, error) {
	if !k.refusals {
		return "", skip("it can only be seen in a plugin that publishes nothing before it is configured, see C3")
	}
	k.drop()
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	config, err := k.settings(local(), nil)
	if err != nil {
		return "", err
	}
	problems, err := k.tryConfig(ctx, p, &publisherv1.ConfigureRequest{ConfigJson: config, ValidateOnly: true})
	if err != nil {
		return "", err
	}
	if len(problems) > 0 {
		return "", skip("the configuration has problems already, see C5")
	}
	if err := k.refuses(ctx, p); err != nil {
		return "", fmt.Errorf("after Configure with validate_only, which is not to configure: %w", err)
	}
	return "still not configured after validate_only", nil
}

const strangeKey = "no_such_key_of_the_kit"

func unknownKey(ctx context.Context, k *kit) (string, error) {
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	config, err := k.settings(local(), map[string]any{strangeKey: 1})
	if err != nil {
		return "", err
	}
	problems, err := k.tryConfig(ctx, p, &publisherv1.ConfigureRequest{ConfigJson: config})
	switch {
	case err != nil:
		return "", fmt.Errorf("problems of a configuration are diagnostics, not errors of the call: %w", err)
	case len(problems) == 0:
		return "", fmt.Errorf("the key %q is taken without a word: an operator's typing error would go unnoticed", strangeKey)
	}
	return strings.Join(problems, "; "), nil
}

func takesConfig(ctx context.Context, k *kit) (string, error) {
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	if err := k.givesConfig(ctx, p); err != nil {
		if len(k.config.Fixtures.Config) == 0 {
			err = fmt.Errorf("%w; if it needs one, give it as config in the fixtures", err)
		}
		return "", err
	}
	if err := k.refuses(ctx, p); err == nil {
		return "", errors.New("in its configuration nothing was wrong, but Publish says that it is not configured")
	}
	return "taken without an error", nil
}

// reconfigured changes nothing, at the worst moment: the host does so at every reload.
func reconfigured(ctx context.Context, k *kit) (string, error) {
	done := make(chan struct{})
	t, err := k.observed(k.endpoint.holds(done))
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	req := k.request(1, t)
	answer := make(chan answered, 1)
	go func() { answer <- k.publish(ctx, p, req) }()
	if !t.at.await(ctx, 1) {
		return "", errors.New("no request came")
	}
	err = k.configure(ctx, p)
	close(done)
	a := <-answer
	if err != nil {
		return "", fmt.Errorf("while a delivery is under way: %w", err)
	}
	if got := a.of(req.GetDeliveries()[0]); got != delivered {
		return "", fmt.Errorf("the delivery that was under way: %s, want %s", got, delivered)
	}
	return "the delivery under way ended well", nil
}

func sameInfo(ctx context.Context, k *kit) (string, error) {
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	again, err := k.ask(ctx, p)
	if err != nil {
		return "", err
	}
	if !proto.Equal(k.info, again) {
		return "", fmt.Errorf("two calls of GetInfo answer differently: %v and %v", k.info, again)
	}
	if k.config.Manifest == nil {
		return "the same twice; there is no manifest to compare with", nil
	}
	if err := k.config.Manifest.Agrees(again); err != nil {
		return "", err
	}
	return "the same twice, and as in the manifest", nil
}

// statuses are batches of which each delivery goes to a receiver with another status.
func (k *kit) statuses(ctx context.Context, codes ...int) (map[int]*publisherv1.DeliveryResult, error) {
	targets := make([]target, len(codes))
	for i, c := range codes {
		var err error
		if targets[i], err = k.observed(status(c)); err != nil {
			return nil, err
		}
	}
	p, err := k.ready(ctx)
	if err != nil {
		return nil, err
	}
	req := k.request(1, targets...)
	a := k.publish(ctx, p, req)
	results := map[int]*publisherv1.DeliveryResult{}
	for i, c := range codes {
		if len(targets[i].at.got()) == 0 {
			return nil, fmt.Errorf("the receiver that answers %d got no request; outcome: %s", c, a.of(req.GetDeliveries()[i]))
		}
		results[c] = a.result(req.GetDeliveries()[i])
		if results[c] == nil {
			return nil, fmt.Errorf("no answer for a delivery after status %d %s: %w", c, http.StatusText(c), orNothing(a.err))
		}
	}
	return results, nil
}
