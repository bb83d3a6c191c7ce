package sdk_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

func TestCloudEventIsTheSameBytesEachTime(t *testing.T) {
	ev := &sdk.Event{
		ID: "c1", Type: "org.fresnel.resource.updated", Source: "/fresnel", Subject: `OS::Nova::Server/"x"`,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678000, time.FixedZone("", 3600)), ContentType: "application/json",
		Data: []byte(`{"b": 1, "a": "<&>"}`),
		Attributes: map[string]string{
			"traceparent": "00-x", "dataschema": "https://s", "id": "forged", "Bad-Name": "x", "alpha": "1",
		},
	}
	want := `{"specversion":"1.0","id":"c1","source":"/fresnel","type":"org.fresnel.resource.updated",` +
		`"subject":"OS::Nova::Server/\"x\"","time":"2026-01-02T02:04:05.000678Z","datacontenttype":"application/json",` +
		`"dataschema":"https://s","alpha":"1","traceparent":"00-x","data":{"b": 1, "a": "<&>"}}`
	for range 20 {
		if got := string(sdk.CloudEvent(ev)); got != want {
			t.Fatalf("CloudEvent() =\n%s, want\n%s", got, want)
		}
	}
}

func TestCloudEventCarriesOtherDataAsBase64(t *testing.T) {
	for _, ev := range []*sdk.Event{
		{ID: "1", ContentType: "text/plain", Data: []byte("hi")},
		{ID: "1", ContentType: "application/json", Data: []byte("{broken")},
	} {
		var got map[string]string
		if err := json.Unmarshal(sdk.CloudEvent(ev), &got); err != nil || got["data_base64"] == "" {
			t.Errorf("CloudEvent(%s) = %v, %v", ev.Data, got, err)
		}
	}
}
