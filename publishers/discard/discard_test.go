package discard_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/discard"
)

func TestEverythingIsDelivered(t *testing.T) {
	server, err := discard.Publisher("1.0.0").Server()
	if err != nil {
		t.Fatal(err)
	}
	c, stop, err := client.InProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := c.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	n := 0
	err = c.Publish(t.Context(), &publisherv1.PublishRequest{
		Destinations: []*publisherv1.Destination{{Uri: "discard:"}},
		Deliveries:   []*publisherv1.Delivery{{DeliveryId: "1", Event: &publisherv1.Event{}}, {DeliveryId: "2"}},
	}, func(r *publisherv1.DeliveryResult) {
		if r.GetDelivered() != nil {
			n++
		}
	})
	if err != nil || n != 2 {
		t.Errorf("%d delivered, %v; want 2", n, err)
	}
}
