// Command ntfy is a whole plugin: it posts each change to a topic of an ntfy server.
package main

import (
	"context"
	"net/http"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

type config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero"`
}

func main() {
	sdk.Main(sdk.Publisher[config, struct{}]{
		Name: "ntfy", Version: "1.0.0", Schemes: []string{"http", "https"}, Publish: func(ctx context.Context, c *config, d *sdk.Destination[struct{}], ev *sdk.Event) error {
			header := http.Header{"Title": {ev.Type + " " + ev.Subject}, "Webhook-Id": {ev.DeliveryID}}
			if token := d.Secrets["token"]; !token.Empty() {
				header.Set("Authorization", "Bearer "+string(token.Reveal()))
			}
			return c.Outbound.Post(ctx, d.URI, header, ev.Data)
		},
	})
}
