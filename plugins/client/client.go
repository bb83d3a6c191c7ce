// Package client is the host's side of the plugin contract: it calls a publisher and
// hands out what it answers. Fresnel's host, conformance checks and tests of plugins
// use it.
//
// It starts no process (publishers/host does) and retries nothing. Its invariant:
// Publish acks a delivery at most once and only if it was asked for, whatever the
// plugin sends.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fresnel-search/fresnel/plugins/internal/wire"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// Handshake returns what a go-plugin host needs to recognise publishers.
func Handshake() plugin.HandshakeConfig { return wire.Handshake() }

// PluginSets returns the protocol versions a host speaks. Dispensing
// publisherv1.PluginName gives a publisherv1.PublisherClient.
func PluginSets() map[int]plugin.PluginSet { return wire.Sets(nil) }

// Publisher calls one running plugin. It is safe for concurrent use.
type Publisher struct {
	rpc publisherv1.PublisherClient
}

// New wraps the generated client.
func New(rpc publisherv1.PublisherClient) *Publisher { return &Publisher{rpc: rpc} }

// Info asks what the plugin is.
func (p *Publisher) Info(ctx context.Context, hostVersion string) (*publisherv1.GetInfoResponse, error) {
	return p.rpc.GetInfo(ctx, &publisherv1.GetInfoRequest{HostVersion: hostVersion})
}

// Configure replaces the configuration of the process; nil stands for {}. The error
// joins the plugin's diagnostics of severity error; others are returned.
func (p *Publisher) Configure(ctx context.Context, config []byte) ([]*publisherv1.Diagnostic, error) {
	resp, err := p.rpc.Configure(ctx, &publisherv1.ConfigureRequest{ConfigJson: config})
	if err != nil {
		return nil, err
	}
	return split(resp.GetDiagnostics())
}

// CheckDestination asks whether deliveries to a destination could work. The answer is
// the destination to store: the plugin's normal form, or what was asked.
func (p *Publisher) CheckDestination(
	ctx context.Context, req *publisherv1.CheckDestinationRequest,
) (*publisherv1.Destination, error) {
	resp, err := p.rpc.CheckDestination(ctx, req)
	if err != nil {
		return nil, err
	}
	if _, err := split(resp.GetDiagnostics()); err != nil {
		return nil, err
	}
	if n := resp.GetNormalized(); n != nil {
		return n, nil
	}
	return req.GetDestination(), nil
}

// Publish sends a batch and calls ack, from this goroutine, for each result as it
// arrives. It returns nil when the plugin ended the stream well; deliveries not acked
// by then, or when an error is returned, have an unknown outcome.
func (p *Publisher) Publish(
	ctx context.Context, req *publisherv1.PublishRequest, ack func(*publisherv1.DeliveryResult),
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.rpc.Publish(ctx, req)
	if err != nil {
		return err
	}
	open := make(map[string]struct{}, len(req.GetDeliveries()))
	for _, d := range req.GetDeliveries() {
		open[d.GetDeliveryId()] = struct{}{}
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range resp.GetResults() {
			if _, asked := open[r.GetDeliveryId()]; asked && r.GetOutcome() != nil {
				delete(open, r.GetDeliveryId())
				ack(r)
			}
		}
	}
}

// Status asks how the plugin's own work goes.
func (p *Publisher) Status(ctx context.Context) (*publisherv1.GetStatusResponse, error) {
	return p.rpc.GetStatus(ctx, &publisherv1.GetStatusRequest{})
}

// Drain asks the plugin to refuse new batches and to finish those it has, within
// grace. It answers how many deliveries it had to abandon.
func (p *Publisher) Drain(ctx context.Context, grace time.Duration) (abandoned int, err error) {
	resp, err := p.rpc.Drain(ctx, &publisherv1.DrainRequest{Grace: durationpb.New(grace)})
	return int(resp.GetAbandoned()), err
}

// split separates errors from warnings.
func split(ds []*publisherv1.Diagnostic) (rest []*publisherv1.Diagnostic, err error) {
	var errs []error
	for _, d := range ds {
		if d.GetSeverity() != publisherv1.Diagnostic_SEVERITY_ERROR {
			rest = append(rest, d)
			continue
		}
		text := d.GetSummary()
		if d.GetDetail() != "" {
			text += " (" + d.GetDetail() + ")"
		}
		errs = append(errs, fmt.Errorf("%s: %s", d.GetPath(), text))
	}
	return rest, errors.Join(errs...)
}
