package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
)

// booksOptions are the flags of books.
type booksOptions struct {
	client
	json bool
	out  io.Writer
}

func booksCommand(out io.Writer) *cobra.Command {
	o := booksOptions{out: out}
	cmd := &cobra.Command{
		Use:   "books",
		Short: "Show that every record and every mutation is accounted for",
		Long: `Shows how many records and mutations were read and what became of each: every one
is counted once, over restarts too. The books add up when nothing is missing.`,
		Example: "  fresnel books",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "print the server's answer")
	return cmd
}

func (o *booksOptions) run(ctx context.Context) error {
	var raw json.RawMessage
	if err := o.call(ctx, "GET", "/v1/admin/books", nil, &raw); err != nil {
		return err
	}
	if o.json {
		return indent(o.out, raw)
	}
	var b struct {
		AddsUp bool `json:"adds_up"`
		Books  map[string]struct {
			Input    int64            `json:"input"`
			Outcomes map[string]int64 `json:"outcomes"`
			Notes    map[string]int64 `json:"notes"`
			AddsUp   bool             `json:"adds_up"`
		} `json:"books"`
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	t := tablewriter.NewWriter(o.out)
	t.Header("step", "what", "count")
	for _, role := range []string{"listener", "indexer"} {
		a := b.Books[role]
		input := map[string]string{"listener": "records read", "indexer": "mutations read"}[role]
		if err := t.Append(role, input, fmt.Sprint(a.Input)); err != nil {
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(a.Outcomes)) {
			if err := t.Append("", "  "+k, fmt.Sprint(a.Outcomes[k])); err != nil {
				return err
			}
		}
	}
	if err := t.Render(); err != nil {
		return err
	}
	verdict := "The books add up."
	if !b.AddsUp {
		verdict = "The books do NOT add up: please report this."
	}
	_, err := fmt.Fprintln(o.out, verdict)
	return err
}
