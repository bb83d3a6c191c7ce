//go:build real

package publishers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// inProcess runs a publisher in this process.
func inProcess(t testing.TB, server publisherv1.PublisherServer, err error) *client.Publisher {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, stop, err := client.InProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Configure(context.Background(), []byte(`{"outbound":{"allow":["127.0.0.0/8","::1/128"]}}`)); err != nil {
		t.Fatal(err)
	}
	return c
}

// batch is one call's worth of changes, with the given ids.
func batch(t testing.TB, to *publisherv1.Destination, priority string, ids ...string) *publisherv1.PublishRequest {
	t.Helper()
	req := &publisherv1.PublishRequest{Destinations: []*publisherv1.Destination{to}}
	for i, id := range ids {
		data, err := json.Marshal(change.Change{
			ID: id, Action: change.Updated, Resource: change.Resource{Type: "OS::Nova::Server", ID: fmt.Sprint("r-", i%7), Href: "/v1/r"},
			Revision: 1, Time: time.Unix(1700000000, 5000).UTC(), Document: json.RawMessage(`{"name":"wéb"}`), Changed: []string{"name"},
			Cause: change.Cause{Kind: change.ByNotification, Priority: priority},
		})
		if err != nil {
			t.Fatal(err)
		}
		req.Deliveries = append(req.Deliveries, &publisherv1.Delivery{DeliveryId: id, Attempt: 1, Event: &publisherv1.Event{
			Id: id, Type: "org.fresnel.resource.updated", Source: "/fresnel", Subject: fmt.Sprint("OS::Nova::Server/r-", i%7),
			Time: timestamppb.New(time.Unix(1700000000, 5000)), ContentType: "application/json", Data: data,
		}})
	}
	return req
}

// attempt makes one attempt and returns what became of each delivery.
func attempt(t testing.TB, c *client.Publisher, req *publisherv1.PublishRequest) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var mu sync.Mutex
	got := map[string]string{}
	err := c.Publish(ctx, req, func(r *publisherv1.DeliveryResult) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.GetDelivered() != nil:
			got[r.GetDeliveryId()] = "delivered"
		case r.GetRetry() != nil:
			got[r.GetDeliveryId()] = "retry " + r.GetRetry().GetCode() + " " + r.GetRetry().GetScope().String()
		default:
			got[r.GetDeliveryId()] = "rejected " + r.GetRejected().GetCode() + ": " + r.GetRejected().GetMessage()
		}
	})
	if err != nil || len(got) != len(req.GetDeliveries()) {
		t.Errorf("%d of %d answered: %v", len(got), len(req.GetDeliveries()), err)
	}
	return got
}

// once attempts one delivery.
func once(t testing.TB, c *client.Publisher, to *publisherv1.Destination, id string) string {
	t.Helper()
	return attempt(t, c, batch(t, to, "info", id))[id]
}

func file(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
