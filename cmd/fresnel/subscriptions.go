package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
)

const subscriptionsPath = "/v1/admin/subscriptions"

func subscriptionsCommand(out io.Writer) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "subscriptions", Short: "Look at subscriptions; pause one, or let it go on",
		Long: "Subscriptions stand in the configuration, under publishers.subscriptions; these commands show how they do\nand stop and start them.",
	}
	c.flags(cmd)
	cmd.AddCommand(listSubscriptions(&c, out), showSubscription(&c, out))
	for _, a := range []subscriptionAction{
		{"pause", "paused", "Stop a subscription until it is resumed", `Stops a subscription: what is with its publisher is still answered for, nothing more
is sent. Its changes wait in the change log, for as long as that keeps them. A pause
outlives restarts of the server.`},
		{"resume", "resumed", "Let a paused or suspended subscription go on", `Lets a subscription go on that was paused, or suspended as by an answer of 410, from
where it stopped, and tries at once what waits for another attempt.`},
	} {
		cmd.AddCommand(a.command(&c, out))
	}
	return cmd
}

// subscription is what the server says of one.
type subscription struct {
	Name        string           `json:"name"`
	Publisher   string           `json:"publisher"`
	Destination string           `json:"destination"`
	State       string           `json:"state"`
	Reason      string           `json:"reason"`
	Since       time.Time        `json:"since"`
	NextProbe   time.Time        `json:"next_probe"`
	Lag         int64            `json:"lag"`
	LagSeconds  float64          `json:"lag_seconds"`
	Parked      int              `json:"parked"`
	Counters    map[string]int64 `json:"counters"`
	Settled     map[string]int64 `json:"settled"`
	Cursors     map[int]int64    `json:"cursors"`
	Settings    map[string]any   `json:"settings"`
}

func listSubscriptions(c *client, out io.Writer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List subscriptions: how each is doing and how far behind",
		Long: `Lists subscriptions: whether each works, probes, is suspended or paused and why, how
many changes it is behind and for how long, how many failed deliveries wait to be
tried again, and how many were given up on.`,
		Example: "  fresnel subscriptions list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var raw json.RawMessage
			if err := c.call(cmd.Context(), "GET", subscriptionsPath, nil, &raw); err != nil {
				return err
			}
			if asJSON {
				return indent(out, raw)
			}
			return subscriptionTable(out, raw)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the server's answer")
	return cmd
}

func subscriptionTable(out io.Writer, raw json.RawMessage) error {
	var a struct {
		Subscriptions []subscription `json:"subscriptions"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	t := tablewriter.NewWriter(out)
	t.Header("name", "publisher", "destination", "state", "lag", "behind", "parked", "given up", "reason")
	for _, s := range a.Subscriptions {
		err := t.Append(s.Name, s.Publisher, s.Destination, s.State, fmt.Sprint(s.Lag), ago(s.LagSeconds), fmt.Sprint(s.Parked),
			fmt.Sprint(s.Settled["dead"]+s.Settled["expired"]+s.Settled["dropped"]), text(s.Reason))
		if err != nil {
			return err
		}
	}
	return t.Render()
}

// ago is a time span for people.
func ago(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Truncate(100 * time.Millisecond).String()
}

func showSubscription(c *client, out io.Writer) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show all there is to say of one subscription",
		Long: `Shows a subscription: its state and since when, its place in each partition of the
change log, what is under way, and what became of all changes that it wanted.`,
		Example: "  fresnel subscriptions show nfv",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var raw json.RawMessage
			if err := c.call(cmd.Context(), "GET", subscriptionsPath+"/"+url.PathEscape(args[0]), nil, &raw); err != nil {
				return err
			}
			if asJSON {
				return indent(out, raw)
			}
			var s subscription
			if err := json.Unmarshal(raw, &s); err != nil {
				return fmt.Errorf("the server's answer: %w", err)
			}
			return s.print(out)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the server's answer")
	return cmd
}

func (s subscription) print(out io.Writer) error {
	t := tablewriter.NewWriter(out)
	rows := [][2]string{
		{"name", s.Name},
		{"publisher", s.Publisher},
		{"destination", s.Destination},
		{"state", s.State},
		{"reason", text(s.Reason)},
		{"since", when(s.Since)},
		{"next probe", when(s.NextProbe)},
		{"lag", fmt.Sprint(s.Lag)},
		{"behind", ago(s.LagSeconds)},
		{"parked", fmt.Sprint(s.Parked)},
	}
	for _, counts := range []map[string]int64{s.Counters, s.Settled} {
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			rows = append(rows, [2]string{name, fmt.Sprint(counts[name])})
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.Cursors)) {
		rows = append(rows, [2]string{"cursor of partition " + strconv.Itoa(p), fmt.Sprint(s.Cursors[p])})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		b, err := json.Marshal(s.Settings[name])
		if err != nil {
			return err
		}
		rows = append(rows, [2]string{name, string(b)})
	}
	for _, r := range rows {
		if r[1] == "" {
			continue
		}
		if err := t.Append(r[0], r[1]); err != nil {
			return err
		}
	}
	return t.Render()
}

// when is a moment for people; nothing if there is none.
func when(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.DateTime)
}

// subscriptionAction is what can be done with one subscription.
type subscriptionAction struct{ verb, done, short, long string }

func (a subscriptionAction) command(c *client, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     a.verb + " NAME",
		Short:   a.short,
		Long:    a.long,
		Example: "  fresnel subscriptions " + a.verb + " nfv",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.call(cmd.Context(), "POST", subscriptionsPath+"/"+url.PathEscape(args[0])+"/"+a.verb, nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "%s: %s\n", args[0], a.done)
			return err
		},
	}
}
