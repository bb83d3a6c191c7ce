package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
)

func deadLettersCommand(out io.Writer) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:     "deadletters",
		Aliases: []string{"dead-letters"},
		Short:   "Look at what was given up on; try it again or forget it",
		Long: `Dead letters are records that could not be understood, mutations that could not be
applied and deliveries that were given up, each with its bytes and the reason.
They are kept until they are replayed or dropped.`,
	}
	c.flags(cmd)
	cmd.AddCommand(listDeadLetters(&c, out))
	for _, a := range []letterAction{
		{"show", "GET", "Show a dead letter with its bytes", "Shows all that is known of a dead letter: where it comes from, why it is here, its bytes in base64."},
		{"replay", "POST", "Send a dead letter's bytes in again", "Sends a record or mutation to the topic it came from, or a delivery to its subscription, and forgets\nthe dead letter. What cannot be understood still comes back as a new one."},
		{"drop", "DELETE", "Forget a dead letter", "Forgets a dead letter and its bytes for good."},
	} {
		cmd.AddCommand(a.command(&c, out))
	}
	return cmd
}

func listDeadLetters(c *client, out io.Writer) *cobra.Command {
	var kind, after string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters",
		Long:  "Lists dead letters with their ids, reasons and sizes, page by page.",
		Example: `  fresnel deadletters list
  fresnel deadletters list --kind delivery --limit 20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {fmt.Sprint(limit)}}
			if kind != "" {
				q.Set("kind", kind)
			}
			if after != "" {
				q.Set("after", after)
			}
			var raw json.RawMessage
			if err := c.call(cmd.Context(), "GET", "/v1/admin/deadletters?"+q.Encode(), nil, &raw); err != nil {
				return err
			}
			if asJSON {
				return indent(out, raw)
			}
			return deadLetterTable(out, raw)
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "notification, mutation or delivery")
	f.StringVar(&after, "after", "", "list those after this id")
	f.IntVarP(&limit, "limit", "n", 100, "how many to list")
	f.BoolVar(&asJSON, "json", false, "print the server's answer")
	return cmd
}

func deadLetterTable(out io.Writer, raw json.RawMessage) error {
	var a struct {
		DeadLetters []struct {
			ID     string    `json:"id"`
			Reason string    `json:"reason"`
			Detail string    `json:"detail"`
			Time   time.Time `json:"time"`
			Size   int       `json:"size"`
		} `json:"dead_letters"`
		Next string `json:"next"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	t := tablewriter.NewWriter(out)
	t.Header("id", "reason", "detail", "bytes", "time")
	for _, d := range a.DeadLetters {
		if err := t.Append(text(d.ID), d.Reason, text(d.Detail), fmt.Sprint(d.Size), d.Time.Format(time.DateTime)); err != nil {
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

// letterAction is what can be done with one dead letter.
type letterAction struct{ use, method, short, long string }

func (a letterAction) command(c *client, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     a.use + " ID",
		Short:   a.short,
		Long:    a.long + "\nIds are those that list shows.",
		Example: "  fresnel deadletters " + a.use + " notification/notifications.info/0/42",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/v1/admin/deadletters/" + escapePath(args[0])
			if a.use == "replay" {
				path += "/replay"
			}
			var raw json.RawMessage
			if err := c.call(cmd.Context(), a.method, path, nil, &raw); err != nil {
				return err
			}
			if a.use == "show" {
				return indent(out, raw)
			}
			_, err := fmt.Fprintf(out, "%s: done\n", args[0])
			return err
		},
	}
}

// escapePath escapes an id that has slashes of its own.
func escapePath(id string) string {
	parts := strings.Split(id, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
