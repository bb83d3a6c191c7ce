package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// wrapper breaks the service of the SDK.
type wrapper struct {
	pb.PublisherServer
	mode string

	asked      atomic.Int32 // calls of GetInfo
	configured atomic.Bool
	published  atomic.Bool
	running    atomic.Int32
	lane       chan struct{} // one call at a time
	drain      chan struct{} // closed by Drain
	once       sync.Once
	busy       sync.RWMutex
}

func wrap(mode string, server pb.PublisherServer) *wrapper {
	return &wrapper{PublisherServer: server, mode: mode, lane: make(chan struct{}, 1), drain: make(chan struct{})}
}

func (w *wrapper) GetInfo(ctx context.Context, req *pb.GetInfoRequest) (*pb.GetInfoResponse, error) {
	info, err := w.PublisherServer.GetInfo(ctx, req)
	if err != nil {
		return nil, err
	}
	info = &pb.GetInfoResponse{
		Name: info.GetName(), Version: info.GetVersion(), Schemes: info.GetSchemes(),
		ConfigSchema: info.GetConfigSchema(), DestinationSchema: info.GetDestinationSchema(), Limits: info.GetLimits(),
	}
	switch w.mode {
	case "C1":
		info.Version = "latest"
	case "C2":
		info.ConfigSchema = []byte(`{"type": "object", "properties": {"outbound": {"type": "objekt"}}}`)
	case "C2-default":
		info.ConfigSchema = []byte(`{"type": "object", "properties": {"outbound": {}, "size": {"type": "integer", "default": "large"}}}`)
	case "C8":
		info.Version = fmt.Sprintf("1.0.%d", w.asked.Add(1))
	}
	return info, nil
}

func (w *wrapper) Configure(ctx context.Context, req *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	w.configured.Store(true)
	switch w.mode {
	case "C4":
		var all map[string]json.RawMessage
		if err := json.Unmarshal(req.GetConfigJson(), &all); err != nil {
			return nil, err
		}
		known, err := json.Marshal(map[string]json.RawMessage{"outbound": all["outbound"]})
		if err != nil {
			return nil, err
		}
		req = &pb.ConfigureRequest{ConfigJson: known, ValidateOnly: req.GetValidateOnly()}
	case "C5":
		return &pb.ConfigureResponse{Diagnostics: []*pb.Diagnostic{{
			Severity: pb.Diagnostic_SEVERITY_ERROR, Summary: "it is not Tuesday",
		}}}, nil
	case "C6":
		req = &pb.ConfigureRequest{ConfigJson: req.GetConfigJson()}
	case "C7":
		if w.running.Load() > 0 {
			return nil, status.Error(codes.FailedPrecondition, "busy")
		}
	}
	return w.PublisherServer.Configure(ctx, req)
}

func (w *wrapper) GetStatus(ctx context.Context, req *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	if w.mode == "H1" {
		w.busy.Lock()
		defer w.busy.Unlock()
	}
	resp, err := w.PublisherServer.GetStatus(ctx, req)
	if w.mode == "H1b" && err == nil {
		resp.DeliveriesInFlight = 0
	}
	return resp, err
}

func (w *wrapper) Drain(ctx context.Context, req *pb.DrainRequest) (*pb.DrainResponse, error) {
	if w.mode == "X1" {
		return &pb.DrainResponse{}, nil
	}
	w.once.Do(func() { close(w.drain) })
	return w.PublisherServer.Drain(ctx, req)
}

func (w *wrapper) Publish(req *pb.PublishRequest, stream pb.Publisher_PublishServer) error {
	w.running.Add(1)
	defer w.running.Add(-1)
	w.published.Store(true)
	n := len(req.GetDeliveries())
	switch {
	case w.mode == "S2":
		fmt.Fprintln(os.Stdout, "delivering", n)
	case w.mode == "C3" && !w.configured.Load():
		config := &pb.ConfigureRequest{ConfigJson: []byte(`{"outbound": {"allow": ["127.0.0.0/8"]}}`)}
		if _, err := w.Configure(stream.Context(), config); err != nil {
			return err
		}
	case w.mode == "D1" && n == 0:
		return status.Error(codes.InvalidArgument, "an empty batch")
	case w.mode == "D9" && len(req.ProtoReflect().GetUnknown()) > 0:
		return status.Error(codes.InvalidArgument, "an unknown field")
	case w.mode == "D8":
		for _, d := range req.GetDeliveries() {
			d.Destination = min(d.GetDestination(), uint32(len(req.GetDestinations())-1))
		}
	case w.mode == "D15" && n > 100:
		req = &pb.PublishRequest{Destinations: req.GetDestinations(), Deliveries: req.GetDeliveries()[:100]}
	case w.mode == "D18", w.mode == "D12":
		select {
		case w.lane <- struct{}{}:
			defer func() { <-w.lane }()
		case <-w.drain:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	case w.mode == "H1":
		w.busy.RLock()
		defer w.busy.RUnlock()
	}
	return w.answer(req, stream)
}

// answer spoils the results on their way.
func (w *wrapper) answer(req *pb.PublishRequest, stream pb.Publisher_PublishServer) error {
	switch w.mode {
	case "D1-twice", "D1-lost", "D7", "D16", "X1-cut":
	default:
		return w.PublisherServer.Publish(req, stream)
	}
	held := &holding{Publisher_PublishServer: stream}
	if w.mode == "X1-cut" {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		stopped := make(chan struct{})
		go func() {
			select {
			case <-w.drain:
				cancel()
			case <-stopped:
			}
		}()
		defer close(stopped)
		held.ctx = ctx
	}
	if err := w.PublisherServer.Publish(req, held); err != nil {
		return err
	}
	results := held.results
	switch {
	case w.mode == "D1-twice" && len(results) > 50:
		results = append(results, results[0])
	case w.mode == "D1-lost" && len(results) > 50:
		results = results[1:]
	case w.mode == "D7":
		for _, r := range results {
			if r.GetRejected().GetCode() == "http_400" && len(results) > 2 {
				return status.Error(codes.Internal, "a bad delivery")
			}
		}
	}
	return stream.Send(&pb.PublishResponse{Results: results})
}

// holding keeps results back.
type holding struct {
	pb.Publisher_PublishServer
	ctx     context.Context
	results []*pb.DeliveryResult
}

func (h *holding) Context() context.Context {
	if h.ctx != nil {
		return h.ctx
	}
	return h.Publisher_PublishServer.Context()
}

func (h *holding) Send(r *pb.PublishResponse) error {
	h.results = append(h.results, r.GetResults()...)
	return nil
}
