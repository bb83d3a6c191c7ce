// Command ntfy is a whole plugin: it posts the data of each event.
package main

import (
	"bytes"
	"context"
	"net/http"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

type config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero"`
}

func main() {
	sdk.Main(sdk.Publisher[config, struct{}]{
		Name: "ntfy", Version: "1.0.0", Schemes: []string{"http", "https"},
		Publish: func(ctx context.Context, c *config, d *sdk.Destination[struct{}], ev *sdk.Event) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URI, bytes.NewReader(ev.Data))
			if err != nil {
				return sdk.Gone(err)
			}
			return sdk.FromHTTP(c.Outbound.Do(req))
		},
	})
}
