package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

const (
	defaultConcurrency = 64
	// maxDeliveries and maxBytes are the largest batch asked for; four times as much
	// is accepted, and refused beyond that.
	maxDeliveries = 100
	maxBytes      = 1 << 20
	maxBatches    = 64
)

// server is the contract's service around an author's function.
type server[C, O any] struct {
	publisherv1.UnimplementedPublisherServer
	p       Publisher[C, O]
	info    *publisherv1.GetInfoResponse
	config  *schema
	options *schema
	current atomic.Pointer[C]
	limiter *limiter
	log     *slog.Logger
	work    work
}

func newServer[C, O any](p Publisher[C, O]) (*server[C, O], error) {
	config, err := schemaOf(reflect.TypeFor[C]())
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	options, err := schemaOf(reflect.TypeFor[O]())
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	configJSON, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	optionsJSON, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	if p.Concurrency <= 0 {
		p.Concurrency = defaultConcurrency
	}
	s := &server[C, O]{p: p, config: config, options: options, limiter: newLimiter(p.Concurrency), log: logger(os.Stderr)}
	s.info = &publisherv1.GetInfoResponse{
		Name: p.Name, Version: p.Version, Schemes: p.Schemes,
		ConfigSchema: configJSON, DestinationSchema: optionsJSON,
		Limits: &publisherv1.Limits{
			MaxBatchDeliveries: maxDeliveries, MaxBatchBytes: maxBytes, MaxBatchesInFlight: maxBatches,
		},
	}
	return s, nil
}

// GetInfo says what the plugin is.
func (s *server[C, O]) GetInfo(context.Context, *publisherv1.GetInfoRequest) (*publisherv1.GetInfoResponse, error) {
	return s.info, nil
}

// Configure replaces the configuration if nothing is wrong with it.
func (s *server[C, O]) Configure(
	_ context.Context, req *publisherv1.ConfigureRequest,
) (*publisherv1.ConfigureResponse, error) {
	c, problems := decode[C](s.config, req.GetConfigJson())
	if len(problems) > 0 {
		return &publisherv1.ConfigureResponse{Diagnostics: diagnostics(problems)}, nil
	}
	if !req.GetValidateOnly() {
		s.current.Store(c)
	}
	return &publisherv1.ConfigureResponse{}, nil
}

// CheckDestination looks at a destination without talking to it.
func (s *server[C, O]) CheckDestination(
	_ context.Context, req *publisherv1.CheckDestinationRequest,
) (*publisherv1.CheckDestinationResponse, error) {
	var problems []problem
	d := req.GetDestination()
	u, err := url.Parse(d.GetUri())
	switch {
	case err != nil:
		problems = append(problems, problem{"/uri", "is not a URI"})
	case !slices.Contains(s.p.Schemes, strings.ToLower(u.Scheme)):
		problems = append(problems, problem{"/uri", "must begin with one of " + strings.Join(s.p.Schemes, ", ")})
	}
	if _, err := decodeOptions[O](s.options, d.GetOptions()); err != nil {
		problems = append(problems, problem{"/options", err.Error()})
	}
	return &publisherv1.CheckDestinationResponse{Diagnostics: diagnostics(problems)}, nil
}

// Publish makes one attempt at each delivery of a batch and answers as they end.
func (s *server[C, O]) Publish(req *publisherv1.PublishRequest, stream publisherv1.Publisher_PublishServer) error {
	config := s.current.Load()
	if config == nil {
		return status.Error(codes.FailedPrecondition, "not configured yet")
	}
	n := len(req.GetDeliveries())
	if n > 4*maxDeliveries {
		return status.Errorf(codes.InvalidArgument, "%d deliveries in a batch; at most %d", n, maxDeliveries)
	}
	if !s.work.begin(n) {
		return status.Error(codes.Unavailable, "draining")
	}
	b := &batch[C, O]{server: s, config: config, done: make(chan *publisherv1.DeliveryResult, n)}
	return b.run(req, stream)
}

// GetStatus answers as long as the process can answer at all; the author's function
// has no part in it.
func (s *server[C, O]) GetStatus(
	context.Context, *publisherv1.GetStatusRequest,
) (*publisherv1.GetStatusResponse, error) {
	inFlight := s.work.count()
	return &publisherv1.GetStatusResponse{
		State:              publisherv1.GetStatusResponse_STATE_OK,
		DeliveriesInFlight: uint32(max(inFlight, 0)),
	}, nil
}

// Drain refuses new batches from now on and waits for those that run.
func (s *server[C, O]) Drain(
	ctx context.Context, req *publisherv1.DrainRequest,
) (*publisherv1.DrainResponse, error) {
	if g := req.GetGrace(); g != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.AsDuration())
		defer cancel()
	}
	before := s.work.count()
	abandoned := s.work.drain(ctx)
	return &publisherv1.DrainResponse{
		Finished: uint32(max(before-abandoned, 0)), Abandoned: uint32(max(abandoned, 0)),
	}, nil
}

func diagnostics(ps []problem) (ds []*publisherv1.Diagnostic) {
	for _, p := range ps {
		ds = append(ds, &publisherv1.Diagnostic{
			Severity: publisherv1.Diagnostic_SEVERITY_ERROR, Path: p.path, Summary: p.text,
		})
	}
	return ds
}
