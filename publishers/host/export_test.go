package host

import (
	"context"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// InFlight asks the plugin how many deliveries it has.
func InFlight(p *Plugin) int {
	proc, err := p.ready(context.Background())
	if err != nil {
		return -1
	}
	st, err := proc.publisher.Status(context.Background())
	if err != nil {
		return -1
	}
	return int(st.GetDeliveriesInFlight())
}

// Bare makes one RPC with all deliveries, and does nothing else that the host does.
func Bare(ctx context.Context, p *Plugin, to delivery.Destination, ds []delivery.Delivery, ack func(*publisherv1.DeliveryResult)) error {
	inst, err := p.ready(ctx)
	if err != nil {
		return err
	}
	req := &publisherv1.PublishRequest{Destinations: []*publisherv1.Destination{message(to)}}
	for _, d := range ds {
		req.Deliveries = append(req.Deliveries, deliveryMessage(d))
	}
	return inst.publisher.Publish(ctx, req, ack)
}

// CopyProgram is what makes the copies that are run.
var CopyProgram = copyProgram

// Message is a destination as plugins get it.
var Message = message

// RaceDetector says that memory is not limited.
const RaceDetector = raceDetector
