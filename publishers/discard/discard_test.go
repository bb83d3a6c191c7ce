package discard_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/discard"
)

func TestEverythingIsDelivered(t *testing.T) {
	c := publishertest.Open(t, discard.Publisher, "")
	for id, got := range publishertest.Publish(t, c, &publisherv1.Destination{Uri: "discard:"},
		&publisherv1.Delivery{DeliveryId: "1", Event: &publisherv1.Event{}}, &publisherv1.Delivery{DeliveryId: "2"}) {
		if got != "delivered" {
			t.Errorf("%s: %s", id, got)
		}
	}
}
