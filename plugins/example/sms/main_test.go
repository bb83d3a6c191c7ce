package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// TestPluginKeepsTheContract runs Fresnel's conformance kit. The kit plays the gateway:
// it finds its mark in the telephone number.
func TestPluginKeepsTheContract(t *testing.T) {
	plugintest.Run(t, plugintest.Config{
		Path:     plugintest.Build(t, "."),
		Patience: 3, // for machines that are busy with other tests
		Fixtures: plugintest.Fixtures{
			Config:      json.RawMessage(`{"gateway": "${endpoint}/messages", "token": "${canary}"}`),
			Destination: &plugintest.Destination{URI: "sms:+${mark}"},
		},
	})
}

// gateway is a fake of an SMS gateway.
type gateway struct {
	*httptest.Server
	got   []message
	token string
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m message
		b, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(b, &m) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		g.got, g.token = append(g.got, m), r.Header.Get("Authorization")
	}))
	t.Cleanup(g.Close)
	return g
}

func TestMessageSaysWhatHappened(t *testing.T) {
	g := newGateway(t)
	server, err := publisher().Server()
	if err != nil {
		t.Fatal(err)
	}
	p, stop, err := client.InProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	config := `{"gateway": "` + g.URL + `", "token": "t", "sender": "fresnel", "outbound": {"allow": ["127.0.0.0/8"]}}`
	if _, err := p.Configure(t.Context(), []byte(config)); err != nil {
		t.Fatal(err)
	}
	to := &publisherv1.Destination{Id: "s", Uri: "sms:+4930123456", Options: map[string]string{"sender": "NFV"}}
	ev := &publisherv1.Event{Id: "e", Data: []byte(`{"action": "updated", "resource": {"type": "OS::Nova::Server", "id": "s1"}, "changed": ["status"]}`)}
	err = p.Publish(t.Context(), &publisherv1.PublishRequest{
		Destinations: []*publisherv1.Destination{to},
		Deliveries:   []*publisherv1.Delivery{{DeliveryId: "d1", Attempt: 1, Event: ev}},
	}, func(r *publisherv1.DeliveryResult) {
		if r.GetDelivered() == nil {
			t.Errorf("outcome %v", r)
		}
	})
	want := message{To: "+4930123456", From: "NFV", Text: "OS::Nova::Server s1 was updated: status", Reference: "d1"}
	if err != nil || len(g.got) != 1 || g.got[0] != want || g.token != "Bearer t" {
		t.Errorf("the gateway got %+v with %q, %v, want %+v", g.got, g.token, err, want)
	}
}

func TestMessageIsOnePartLong(t *testing.T) {
	if got := text(&sdk.Event{Subject: strings.Repeat("é", 500)}); len([]rune(got)) != 160 || !strings.HasSuffix(got, "...") {
		t.Errorf("text of %d characters: %q", len([]rune(got)), got)
	}
}
