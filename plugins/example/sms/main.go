// Command fresnel-publisher-sms is a publisher plugin that sends a short message about
// each change, through the HTTP interface of an SMS gateway.
//
// It is an example of a module of its own: it uses nothing of Fresnel but plugins/sdk
// and plugins/change. Its invariant: a message is one part long, and says what
// happened to what, never the contents of the resource.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// config is the operator's: which gateway, and with which account.
type config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero" doc:"what may be connected to"`
	Gateway  string       `json:"gateway" doc:"URL that messages are posted to"`
	Token    sdk.Secret   `json:"token" doc:"bearer token of the gateway's account"`
	Sender   string       `json:"sender,omitempty" doc:"whom messages come from, unless the destination says otherwise"`
}

// Validate refuses a gateway that could never be reached.
func (c *config) Validate() error {
	if u, err := url.Parse(c.Gateway); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("gateway: not an http or https URL")
	}
	return nil
}

// options are the subscriber's.
type options struct {
	Sender string `json:"sender,omitempty" doc:"whom messages come from"`
}

// message is what the gateway takes.
type message struct {
	To   string `json:"to"`
	From string `json:"from,omitempty"`
	Text string `json:"text"`
	// Reference lets the gateway drop repeats.
	Reference string `json:"reference"`
}

func main() { sdk.Main(publisher()) }

func publisher() sdk.Publisher[config, options] {
	return sdk.Publisher[config, options]{
		Name: "sms", Version: "1.0.0", Schemes: []string{"sms"}, Publish: send,
	}
}

func send(ctx context.Context, c *config, d *sdk.Destination[options], ev *sdk.Event) error {
	number, ok := strings.CutPrefix(d.URI, "sms:")
	if !ok || !regexp.MustCompile(`^\+[0-9]{5,15}$`).MatchString(number) {
		return sdk.Gone(errors.New("the destination is not of the form sms:+4930123456"))
	}
	from := c.Sender
	if d.Options.Sender != "" {
		from = d.Options.Sender
	}
	body, err := json.Marshal(message{To: number, From: from, Text: text(ev), Reference: ev.DeliveryID})
	if err != nil {
		return sdk.Reject(err)
	}
	return c.Outbound.Post(ctx, c.Gateway, http.Header{
		"Content-Type":  {"application/json"},
		"Authorization": {"Bearer " + string(c.Token.Reveal())},
	}, body)
}

// text says in one part of a message what happened.
func text(ev *sdk.Event) string {
	var c change.Change
	said := ev.Subject + " " + ev.Type
	if err := json.Unmarshal(ev.Data, &c); err == nil && c.Resource.ID != "" {
		said = fmt.Sprintf("%s %s was %s", c.Resource.Type, c.Resource.ID, c.Action)
		if len(c.Changed) > 0 {
			said += ": " + strings.Join(c.Changed, ", ")
		}
	}
	const part = 160
	if runes := []rune(said); len(runes) > part {
		said = string(runes[:part-3]) + "..."
	}
	return said
}
