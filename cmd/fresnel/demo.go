package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// demoSecret is the one in configs/demo.yaml: no secret at all.
const demoSecret = "whsec_ZGVtby1vbmx5LW5vdC1hLXNlY3JldC0xMjM0NTY3OA=="

// demoQuiet is how long nothing must happen for the demo to go on.
const demoQuiet = 1500 * time.Millisecond

// demoPatience bounds each wait of the demo.
const demoPatience = 2 * time.Minute

// demoQueries are shown as tables at the end.
var demoQueries = [...]struct{ title, query, typ string }{
	{"servers that are active", "status:active", "OS::Nova::Server"},
	{"everything called web", "name:web*", ""},
	{"volumes in use or of more than 3 GB", "status:in-use OR size:>3", "OS::Cinder::Volume"},
}

type demo struct {
	client
	recordings []string
	brokers    []string
	listen     string
	out, errs  io.Writer
}

func demoCommand(out, errs io.Writer) *cobra.Command {
	d := demo{out: out, errs: errs}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show it all: play recordings, receive signed deliveries, search, add up the books",
		Long: `Needs a server with configs/demo.yaml: run ` + "`make run`" + ` in another terminal first.
Plays recorded notifications of a real cloud into it, receives and verifies the
webhook deliveries that follow, and shows three searches and the books.`,
		Example: "  fresnel demo",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	d.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&d.recordings, "recordings", []string{"test/notifications", "test/day"}, "files and folders to play")
	f.StringSliceVar(&d.brokers, "brokers", []string{"127.0.0.1:9092"}, "the server's Kafka")
	f.StringVar(&d.listen, "receiver", "127.0.0.1:8099", "where the receiver listens: the demo subscription's destination")
	return cmd
}

func (d *demo) run(ctx context.Context) error {
	if err := d.call(ctx, "GET", "/readyz", nil, nil); err != nil {
		return err
	}
	r, err := newReceiver(demoSecret, d.out, 12)
	if err != nil {
		return err
	}
	stop, err := r.listen(ctx, d.listen)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(d.out, "1. Playing recorded notifications of a real cloud from %v.\n   Receiving on http://%s/hook what the subscription \"demo\" delivers:\n\n", d.recordings, d.listen)
	p := playOptions{brokers: d.brokers, errs: d.errs, reach: playReach}
	if err := p.run(ctx, d.recordings); err != nil {
		return err
	}
	if err := d.settle(ctx, r); err != nil {
		return err
	}
	verified, refused, repeated, _ := r.counts()
	fmt.Fprintf(d.out, "\n2. %d deliveries verified with the Standard Webhooks library (%d created, %d updated, %d deleted), %d repeated, %d refused.\n",
		verified, r.actions["created"], r.actions["updated"], r.actions["deleted"], repeated, refused)
	fmt.Fprintf(d.out, "\n3. Three searches.\n")
	for _, q := range demoQueries {
		if err := d.query(ctx, q.title, q.query, q.typ); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.out, "\n4. The books: every record and every mutation is accounted for.\n\n")
	b := booksOptions{client: d.client, out: d.out}
	return b.run(ctx)
}

// settle waits until all is indexed and no delivery has come for a while.
func (d *demo) settle(ctx context.Context, r *receiver) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoPatience, fmt.Errorf("deliveries did not come to rest in %s", demoPatience))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if n, _, _, idle := r.counts(); n > 0 && idle > demoQuiet {
			return nil
		}
	}
}

func (d *demo) query(ctx context.Context, title, query, typ string) error {
	o := searchOptions{client: d.client, output: "table", limit: 5}
	command := "fresnel search '" + query + "'"
	if typ != "" {
		o.types = []string{typ}
		command += " --type " + typ
	}
	body, err := o.request([]string{query})
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := o.call(ctx, "POST", "/v1/search", body, &answer); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n   %s: %s\n", title, command)
	return table(d.out, answer)
}
