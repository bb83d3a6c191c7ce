// Package wire is what both ends of go-plugin need to meet: the handshake and the
// adapter that registers or dispenses a publisher. plugins/sdk uses it on the
// plugin's side, plugins/client on the host's.
//
// It decides nothing and starts nothing. Its invariant: both ends are built from the
// same constants of plugins/publisherv1.
package wire

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// Handshake returns the cookie that host and plugin share.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  publisherv1.ProtocolVersion,
		MagicCookieKey:   publisherv1.CookieKey,
		MagicCookieValue: publisherv1.CookieValue,
	}
}

// Sets returns the plugin sets by protocol version. A host passes nil; a plugin
// passes what it serves.
func Sets(server publisherv1.PublisherServer) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{
		publisherv1.ProtocolVersion: {publisherv1.PluginName: &adapter{server: server}},
	}
}

type adapter struct {
	plugin.NetRPCUnsupportedPlugin
	server publisherv1.PublisherServer
}

// GRPCServer registers the publisher.
func (a *adapter) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if a.server == nil {
		return errors.New("no publisher to serve")
	}
	publisherv1.RegisterPublisherServer(s, a.server)
	return nil
}

// GRPCClient returns a publisherv1.PublisherClient.
func (a *adapter) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return publisherv1.NewPublisherClient(conn), nil
}
