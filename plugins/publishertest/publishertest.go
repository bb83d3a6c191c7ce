// Package publishertest is for the tests of publishers that are written in Go: it runs
// one in the test's own process, makes attempts, and says in words what came of them;
// and it verifies one with the conformance kit without building a program.
//
// Only tests import it. Receivers are the tests' own; here are those that say nothing.
package publishertest

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Local is a configuration that lets a publisher reach the test's servers.
const Local = `{"outbound":{"allow":["127.0.0.0/8"]}}`

// version is that of every publisher under test.
const version = "1.0.0"

// Open runs a publisher with a configuration, none if empty, until the test ends.
func Open[C, O any](t testing.TB, publisher func(version string) sdk.Publisher[C, O], config string) *client.Publisher {
	t.Helper()
	server, err := publisher(version).Server()
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
	if _, err := c.Configure(t.Context(), []byte(config)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Results makes one attempt at deliveries to one destination and returns the result of
// each by its id. It ends the test if one is missing.
func Results(
	ctx context.Context, t testing.TB, c *client.Publisher, to *publisherv1.Destination, ds ...*publisherv1.Delivery,
) map[string]*publisherv1.DeliveryResult {
	t.Helper()
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got := map[string]*publisherv1.DeliveryResult{}
	err := c.Publish(ctx, &publisherv1.PublishRequest{Destinations: []*publisherv1.Destination{to}, Deliveries: ds},
		func(r *publisherv1.DeliveryResult) { got[r.GetDeliveryId()] = r })
	if err != nil || len(got) != len(ds) {
		t.Fatalf("%d of %d deliveries were answered for: %v", len(got), len(ds), err)
	}
	return got
}

// Publish does the same and returns outcomes in words.
func Publish(t testing.TB, c *client.Publisher, to *publisherv1.Destination, ds ...*publisherv1.Delivery) map[string]string {
	t.Helper()
	got := map[string]string{}
	for id, r := range Results(t.Context(), t, c, to, ds...) {
		got[id] = Outcome(r)
	}
	return got
}

// Outcome is an outcome in words: delivered, or retry or rejected with code and scope,
// such as "retry http_503 SCOPE_DELIVERY".
func Outcome(r *publisherv1.DeliveryResult) string {
	switch {
	case r.GetDelivered() != nil:
		return "delivered"
	case r.GetRetry() != nil:
		return "retry " + r.GetRetry().GetCode() + " " + r.GetRetry().GetScope().String()
	case r.GetRejected() != nil:
		return "rejected " + r.GetRejected().GetCode() + " " + r.GetRejected().GetScope().String()
	}
	return "nothing"
}

// Silent returns the address of a server that takes connections and says nothing.
func Silent(t testing.TB) string {
	t.Helper()
	return Serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// Nobody returns an address at which nobody listens.
func Nobody(t testing.TB) string {
	t.Helper()
	l := listen(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// Serve has f answer every connection until the test ends, closes it after that, and
// returns the server's address.
func Serve(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	l := listen(t)
	var serving sync.WaitGroup
	var mu sync.Mutex
	open, over := map[net.Conn]bool{}, false
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if open[c] = true; over {
				_ = c.Close()
			}
			mu.Unlock()
			serving.Go(func() {
				f(c)
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		over = true
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return l.Addr().String()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve is the argument by which the kit starts a test program as a plugin.
const serve = "serve-the-publisher"

// Main is what TestMain calls in a package that calls Verify. In the processes that the
// kit starts it serves the publisher instead of running tests.
func Main(m *testing.M, main func(version string)) {
	if len(os.Args) > 1 && os.Args[1] == serve {
		main(version)
		return
	}
	m.Run()
}

// NotHTTP are the checks that the kit skips for publishers that do not speak HTTP, as
// they need a receiver of the kit's own.
const NotHTTP = "P9 C7 D3 D4 D6 D11 D13 D17 D20 S5"

// Verify has the kit make all its checks of level MUST. None may fail, and those are
// skipped, and only those, whose ids are named.
func Verify(t *testing.T, f plugintest.Fixtures, skipped string) {
	t.Helper()
	const patience = 3
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := plugintest.Verify(t.Context(), plugintest.Config{
		Path: program, Args: []string{serve}, Fixtures: f, MustOnly: true, Patience: patience,
		Env: map[string]string{"GORACE": "atexit_sleep_ms=0"}, // its processes need not linger
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		want := plugintest.Passed
		if slices.Contains(strings.Fields(skipped), c.ID) {
			want = plugintest.Skipped
		}
		if c.Status != want {
			t.Errorf("%s %s: %s, want %s: %s", c.ID, c.Title, c.Status, want, c.Detail)
		}
	}
}
