package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
)

const deliveriesPath = "/v1/admin/deliveries"

func deliveriesCommand(out io.Writer) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "deliveries",
		Short: "Look at deliveries that are not through; try one again",
		Long: `A delivery is one change for one subscription. These commands show those that are
under way, wait for another attempt, or were given up on. What was accepted is not
kept. A delivery is called SUBSCRIPTION/ID, where the id is the change's.`,
	}
	c.flags(cmd)
	cmd.AddCommand(listDeliveries(&c, out), showDelivery(&c, out), redeliver(&c, out))
	return cmd
}

// delivered is what the server says of a delivery.
type delivered struct {
	Subscription string    `json:"subscription"`
	ID           string    `json:"id"`
	State        string    `json:"state"`
	Resource     string    `json:"resource"`
	Revision     int64     `json:"revision"`
	Attempts     int       `json:"attempts"`
	Due          time.Time `json:"due"`
	Code         string    `json:"code"`
	Detail       string    `json:"detail"`
}

// deliveryPage is what to ask for.
type deliveryPage struct {
	subscription, state, after string
	limit                      int
}

func (p deliveryPage) path() string {
	q := url.Values{"limit": {fmt.Sprint(p.limit)}}
	for key, value := range map[string]string{"subscription": p.subscription, "state": p.state, "after": p.after} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return deliveriesPath + "?" + q.Encode()
}

func listDeliveries(c *client, out io.Writer) *cobra.Command {
	var p deliveryPage
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List deliveries that are not through",
		Long: `Lists deliveries with their state, page by page: ready (goes out as soon as it may),
in_flight (the publisher has it), waiting (failed, due for another attempt), behind
(waits for an earlier change of its resource), dying (its dead letter is being
written), dead (given up on, or expired).`,
		Example: `  fresnel deliveries list
  fresnel deliveries list --subscription nfv --state dead`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var raw json.RawMessage
			if err := c.call(cmd.Context(), "GET", p.path(), nil, &raw); err != nil {
				return err
			}
			if asJSON {
				return indent(out, raw)
			}
			return deliveryTable(out, raw)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&p.subscription, "subscription", "s", "", "of this subscription only")
	f.StringVar(&p.state, "state", "", "ready, in_flight, waiting, behind, dying or dead")
	f.StringVar(&p.after, "after", "", "list those after this one")
	f.IntVarP(&p.limit, "limit", "n", 100, "how many to list")
	f.BoolVar(&asJSON, "json", false, "print the server's answer")
	return cmd
}

func deliveryTable(out io.Writer, raw json.RawMessage) error {
	var a struct {
		Deliveries []delivered `json:"deliveries"`
		Next       string      `json:"next"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	t := tablewriter.NewWriter(out)
	t.Header("delivery", "state", "resource", "revision", "attempts", "due", "reason")
	for _, d := range a.Deliveries {
		why := d.Code
		if d.Detail != "" {
			why += ": " + d.Detail
		}
		if err := t.Append(text(d.Subscription+"/"+d.ID), d.State, text(d.Resource), fmt.Sprint(d.Revision), fmt.Sprint(d.Attempts), when(d.Due), text(why)); err != nil {
			return err
		}
	}
	if err := t.Render(); err != nil {
		return err
	}
	if a.Next != "" {
		_, err := fmt.Fprintf(out, "there are more: --after '%s'\n", a.Next)
		return err
	}
	return nil
}

func showDelivery(c *client, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "show SUBSCRIPTION/ID",
		Short:   "Show a delivery with what it delivers",
		Long:    "Shows all that is known of a delivery, as JSON: its state, its attempts, why the last one failed, and the\nevent that is delivered.",
		Example: "  fresnel deliveries show nfv/f86ff4b7d5b8c38fea82f00ad62cd639",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var raw json.RawMessage
			if err := c.call(cmd.Context(), "GET", deliveriesPath+"/"+escapePath(args[0]), nil, &raw); err != nil {
				return err
			}
			return indent(out, raw)
		},
	}
}

func redeliver(c *client, out io.Writer) *cobra.Command {
	var all deliveryPage
	cmd := &cobra.Command{
		Use:   "redeliver [SUBSCRIPTION/ID]...",
		Short: "Try deliveries again now, with the same ids and bytes",
		Long: `Tries deliveries again: those that wait for their next attempt at once, and those
that were given up on with all their attempts anew. A dead letter that is delivered
again may come after later changes of its resource.

With --subscription, all that the subscription has given up on are tried again.`,
		Example: `  fresnel deliveries redeliver nfv/f86ff4b7d5b8c38fea82f00ad62cd639
  fresnel deliveries redeliver --subscription nfv`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (all.subscription == "") {
				return errors.New("name deliveries, or a subscription with --subscription")
			}
			if all.subscription != "" {
				return redeliverAll(cmd.Context(), c, out, all)
			}
			var errs []error
			for _, id := range args {
				if err := c.call(cmd.Context(), "POST", deliveriesPath+"/"+escapePath(id)+"/redeliver", nil, nil); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", id, err))
					continue
				}
				fmt.Fprintf(out, "%s: on its way\n", id)
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().StringVarP(&all.subscription, "subscription", "s", "", "all that this subscription has given up on")
	return cmd
}

// redeliverAll tries all dead letters of a subscription again, page by page. What
// cannot be delivered, such as a note of a gap, stays.
func redeliverAll(ctx context.Context, c *client, out io.Writer, p deliveryPage) error {
	p.state, p.limit = "dead", 500
	var errs []error
	for n := 0; ; {
		var a struct {
			Deliveries []delivered `json:"deliveries"`
			Next       string      `json:"next"`
		}
		if err := c.call(ctx, "GET", p.path(), nil, &a); err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, d := range a.Deliveries {
			id := d.Subscription + "/" + d.ID
			if err := c.call(ctx, "POST", deliveriesPath+"/"+escapePath(id)+"/redeliver", nil, nil); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", id, err))
				continue
			}
			n++
		}
		if p.after = a.Next; p.after == "" {
			_, err := fmt.Fprintf(out, "%s: %d deliveries on their way, %d could not be\n", p.subscription, n, len(errs))
			return errors.Join(append(errs, err)...)
		}
	}
}
