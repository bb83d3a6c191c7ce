// Command broken is a publisher plugin with one defect of choice: `broken -mode D3`
// fails the check D3 of the conformance kit, and no other. Without a mode it is whole.
// It serves the contract without go-plugin, as plugins in other languages do.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

type config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero"`
}

// plugin is the author's part: it makes attempts.
type plugin struct {
	mode string
	dir  string // survives the process

	mu   sync.Mutex
	uris map[string]string // of destinations, by id
	done map[string]bool   // deliveries
	leak [][]byte
}

func main() {
	p := &plugin{uris: map[string]string{}, done: map[string]bool{}}
	flag.StringVar(&p.mode, "mode", "", "the check to fail")
	flag.StringVar(&p.dir, "dir", "", "a folder that survives the process")
	flag.Parse()
	schemes := []string{"http", "https"}
	if p.mode == "other-scheme" {
		schemes = []string{"other"}
	}
	server, err := sdk.Publisher[config, struct{}]{
		Name: "broken", Version: "1.0.0", Schemes: schemes, Publish: p.publish,
	}.Server()
	if err != nil {
		panic(err)
	}
	serve(p.mode, wrap(p.mode, server))
}

func (p *plugin) publish(ctx context.Context, c *config, d *sdk.Destination[struct{}], ev *sdk.Event) error {
	switch p.mode {
	case "S1":
		fmt.Fprintf(os.Stderr, `{"level":"INFO","msg":"signing with %s"}`+"\n", d.Secrets["secret"].Reveal())
	case "S3":
		fmt.Fprintln(os.Stderr, "delivering", ev.ID)
	case "S4":
		if os.Getenv("HOME") == "" {
			return errors.New("$HOME is not set")
		}
	case "H2":
		p.remember(make([]byte, 64<<10))
	case "D14":
		if p.before(ev.DeliveryID) {
			return nil
		}
	case "X4":
		file := filepath.Join(p.dir, ev.DeliveryID)
		if _, err := os.Stat(file); err == nil {
			return nil
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		defer os.Remove(file)
	}
	err := p.post(ctx, c, p.uri(d), ev)
	if p.mode == "D3" && err != nil && strings.Contains(err.Error(), "503") {
		err = p.post(ctx, c, p.uri(d), ev)
	}
	if p.mode == "S1-error" && err != nil {
		return fmt.Errorf("post to %s: %w", d.URI, err)
	}
	return p.misjudge(err)
}

func (p *plugin) remember(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range b {
		b[i] = byte(i)
	}
	p.leak = append(p.leak, b)
}

// before reports whether a delivery was made before.
func (p *plugin) before(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.done[id]
	p.done[id] = true
	return was
}

func (p *plugin) uri(d *sdk.Destination[struct{}]) string {
	if p.mode != "D13" {
		return d.URI
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.uris[d.Subscription] == "" {
		p.uris[d.Subscription] = d.URI
	}
	return p.uris[d.Subscription]
}

func (p *plugin) post(ctx context.Context, c *config, uri string, ev *sdk.Event) error {
	data := ev.Data
	if p.mode == "D11" {
		data = data[:min(len(data), 64<<10)]
	}
	ctx, cancel := p.during(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, bytes.NewReader(data))
	if err != nil {
		return sdk.Gone(err)
	}
	if p.mode != "D14b" {
		req.Header.Set("Webhook-Id", ev.DeliveryID)
	}
	switch p.mode {
	case "S5":
		return sdk.FromHTTP(http.DefaultTransport.RoundTrip(req)) //nolint:bodyclose // FromHTTP closes it
	case "D20":
		if len(c.Outbound.Allow) > 0 {
			return sdk.FromHTTP(http.DefaultClient.Do(req)) //nolint:bodyclose // FromHTTP closes it
		}
	}
	return sdk.FromHTTP(c.Outbound.Do(req)) //nolint:bodyclose // FromHTTP closes it
}

// during returns the context of a request: of D10 it ignores the deadline, of D17 the
// end of the call.
func (p *plugin) during(ctx context.Context) (context.Context, context.CancelFunc) {
	switch p.mode {
	case "D10":
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		stop := context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.Canceled) {
				cancel()
			}
		})
		return free, func() { stop(); cancel() }
	case "D17":
		end, ok := ctx.Deadline()
		if !ok {
			end = time.Now().Add(time.Minute)
		}
		return context.WithDeadline(context.WithoutCancel(ctx), end)
	}
	return ctx, func() {}
}

// misjudge turns one outcome into another.
func (p *plugin) misjudge(err error) error {
	f := &sdk.Failure{}
	if !errors.As(err, &f) {
		return err
	}
	switch wrong := *f; {
	case p.mode == "D2" && strings.HasPrefix(f.Code, "http_5"), p.mode == "D6" && f.Code == "http_410":
		wrong.Final, wrong.Destination = true, false
		return &wrong
	case p.mode == "D4":
		wrong.After = 0
		return &wrong
	case p.mode == "D5" && f.Code == "http_413":
		wrong.Final = false
		return &wrong
	case p.mode == "D5-all" && f.Code == "http_400", p.mode == "D19":
		wrong.Destination = p.mode != "D19"
		return &wrong
	}
	return err
}
