package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
)

func subscriptionsCommand(out io.Writer) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "subscriptions", Short: "Look at subscriptions; let a suspended one go on",
		Long: "Subscriptions stand in the configuration, under publishers.subscriptions; these commands show how they do.",
	}
	c.flags(cmd)
	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List subscriptions: how each is doing and how far behind",
		Long: `Lists subscriptions: whether each delivers, retries or is suspended and why, how
many changes it is behind, and how many failed deliveries wait to be tried again.`,
		Example: "  fresnel subscriptions list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var raw json.RawMessage
			if err := c.call(cmd.Context(), "GET", "/v1/admin/subscriptions", nil, &raw); err != nil {
				return err
			}
			if asJSON {
				return indent(out, raw)
			}
			return subscriptionTable(out, raw)
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print the server's answer")
	resume := &cobra.Command{
		Use:   "resume NAME",
		Short: "Let a suspended subscription go on",
		Long: `Lets a subscription go on that was suspended, as by an answer of 410 or by refused
credentials, from where it stopped.`,
		Example: "  fresnel subscriptions resume nfv",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.call(cmd.Context(), "POST", "/v1/admin/subscriptions/"+url.PathEscape(args[0])+"/resume", nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "%s: resumed\n", args[0])
			return err
		},
	}
	cmd.AddCommand(list, resume)
	return cmd
}

func subscriptionTable(out io.Writer, raw json.RawMessage) error {
	var a struct {
		Subscriptions []struct {
			Name        string `json:"name"`
			Publisher   string `json:"publisher"`
			Destination string `json:"destination"`
			State       string `json:"state"`
			Reason      string `json:"reason"`
			Lag         int64  `json:"lag"`
			Parked      int    `json:"parked"`
		} `json:"subscriptions"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	t := tablewriter.NewWriter(out)
	t.Header("name", "publisher", "destination", "state", "lag", "parked", "reason")
	for _, s := range a.Subscriptions {
		if err := t.Append(s.Name, s.Publisher, s.Destination, s.State, fmt.Sprint(s.Lag), fmt.Sprint(s.Parked), text(s.Reason)); err != nil {
			return err
		}
	}
	return t.Render()
}
