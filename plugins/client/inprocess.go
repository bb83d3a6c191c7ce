package client

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// InProcess serves a publisher over a pipe in memory and returns a client of it: the
// whole contract without a process, for tests. Stop, to be called once, waits until
// nothing of it runs.
func InProcess(server publisherv1.PublisherServer) (p *Publisher, stop func() error, err error) {
	const buffer, maxMessage = 256 << 10, 16 << 20
	listener := bufconn.Listen(buffer)
	conn, err := grpc.NewClient("passthrough:///in-process",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return listener.DialContext(ctx)
		}))
	if err != nil {
		return nil, nil, err
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))
	publisherv1.RegisterPublisherServer(s, server)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	stop = func() error {
		err := conn.Close()
		s.Stop()
		return errors.Join(err, <-served)
	}
	return New(publisherv1.NewPublisherClient(conn)), stop, nil
}
