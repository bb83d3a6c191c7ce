package app

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/plugins/sdk"
	nowhere "github.com/fresnel-search/fresnel/publishers/discard"
	"github.com/fresnel-search/fresnel/publishers/email"
	"github.com/fresnel-search/fresnel/publishers/host"
	"github.com/fresnel-search/fresnel/publishers/kafka"
	"github.com/fresnel-search/fresnel/publishers/log"
	"github.com/fresnel-search/fresnel/publishers/rabbitmq"
	"github.com/fresnel-search/fresnel/publishers/webhook"
	"github.com/fresnel-search/fresnel/publishers/websub"
	"github.com/fresnel-search/fresnel/publishers/zaqar"
)

// builtins are the publishers that this binary serves when it is run again. A scheme
// that several serve is the first one's.
func builtins() []builtin {
	return []builtin{
		of(webhook.Name, webhook.Publisher),
		of(rabbitmq.Name, rabbitmq.Publisher),
		of(kafka.Name, kafka.Publisher),
		of(email.Name, email.Publisher),
		of(log.Name, log.Publisher),
		of(nowhere.Name, nowhere.Publisher),
		of(websub.Name, websub.Publisher),
		of(zaqar.Name, zaqar.Publisher),
	}
}

// builtin is one of them.
type builtin struct {
	name   string
	server func(version string) (publisherv1.PublisherServer, error)
}

func of[C, O any](name string, publisher func(version string) sdk.Publisher[C, O]) builtin {
	return builtin{name, func(version string) (publisherv1.PublisherServer, error) { return publisher(version).Server() }}
}

// ServePlugin serves a built-in publisher to the host that started this process, and
// returns when the host is done with it; false if there is none of that name.
func ServePlugin(name, version string) bool {
	for _, b := range builtins() {
		if b.name != name {
			continue
		}
		server, err := b.server(semantic(version))
		if err != nil {
			panic(err) // a mistake in its description
		}
		sdk.Serve(server)
		return true
	}
	return false
}

// builtinPlugins are the built-in publishers as the host wants them: run as
// "executable plugin-serve NAME", with the manifests that they are themselves.
func builtinPlugins(executable, version string) ([]host.Builtin, error) {
	var list []host.Builtin
	for _, b := range builtins() {
		server, err := b.server(semantic(version))
		if err != nil {
			return nil, err
		}
		info, err := server.GetInfo(context.Background(), &publisherv1.GetInfoRequest{})
		if err != nil {
			return nil, fmt.Errorf("built-in publisher %s: %w", b.name, err)
		}
		m, err := manifest.FromInfo(info)
		if err != nil {
			return nil, fmt.Errorf("built-in publisher %s: %w", b.name, err)
		}
		list = append(list, host.Builtin{Manifest: m, Argv: []string{executable, "plugin-serve", b.name}})
	}
	return list, nil
}

// semantic is a version of this build that plugins may have; one that is none, as of
// a build without one, is the lowest.
func semantic(version string) string {
	if v := "v" + strings.TrimPrefix(version, "v"); semver.IsValid(v) {
		return strings.TrimPrefix(semver.Canonical(v), "v") + semver.Build(v)
	}
	return "0.0.0-dev"
}
