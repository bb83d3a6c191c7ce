// Package discard is the built-in publisher that does nothing: every delivery is
// delivered, to nowhere (discard:).
//
// It is for trying filters out, for measuring everything but a destination, and for a
// subscription that is only there for its counts. It keeps and logs nothing; its
// invariant is that it never refuses.
package discard

import (
	"context"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "discard"

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin.
func Publisher(version string) sdk.Publisher[struct{}, struct{}] {
	return sdk.Publisher[struct{}, struct{}]{
		Name: Name, Version: version, Schemes: []string{"discard"},
		PublishBatch: func(context.Context, *struct{}, *sdk.Destination[struct{}], []*sdk.Event) []error { return nil },
	}
}
