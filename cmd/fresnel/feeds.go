package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
)

func feedsCommand(out io.Writer) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "feeds", Short: "Look at the feeds that hubs know; end what a hub knows one by",
		Long: `Hubs stand in the configuration, under publishers.hubs, and which tenants' feeds they
may see under publishers.hub_feeds. They read a feed by a URL that nobody can guess;
these commands show of which feeds there is one, never the URL itself, and end it.`,
	}
	c.flags(cmd)
	var asJSON bool
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the feeds that hubs know, and how much of them they may see",
		Long:    "Lists the projects whose feeds hubs know, how much hubs may see of each, and since when.",
		Example: "  fresnel feeds list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var raw json.RawMessage
			if err := c.call(cmd.Context(), "GET", "/v1/admin/feeds", nil, &raw); err != nil {
				return err
			}
			if asJSON {
				return indent(out, raw)
			}
			return feedTable(out, raw)
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print the server's answer")
	revoke := &cobra.Command{
		Use:   "revoke PROJECT",
		Short: "End the URL by which hubs read a project's feed",
		Long: `Ends the URL by which hubs read a project's feed: from now on it finds nothing. While
hubs may see the feed, it gets another URL when it is next read or changes; to close it
for good, set publishers.hub_feeds.`,
		Example: "  fresnel feeds revoke 8bf0bb6eed2c4f7a80560511ac77f96e",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.call(cmd.Context(), "DELETE", "/v1/admin/feeds/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "%s: revoked\n", text(args[0]))
			return err
		},
	}
	cmd.AddCommand(list, revoke)
	return cmd
}

func feedTable(out io.Writer, raw json.RawMessage) error {
	var a struct {
		Feeds []struct {
			Project string `json:"project"`
			View    string `json:"view"`
			Created string `json:"created"`
		} `json:"feeds"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	t := tablewriter.NewWriter(out)
	t.Header("project", "hubs see", "since")
	for _, f := range a.Feeds {
		if err := t.Append(text(f.Project), f.View, f.Created); err != nil {
			return err
		}
	}
	return t.Render()
}
