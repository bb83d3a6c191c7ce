package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// exitDiffers is the exit code of commands that look and find that something is to be
// done: index check, and reindex --dry-run.
const exitDiffers = 3

// exit is an error with an exit code of its own.
type exit struct {
	error
	code int
}

// Unwrap returns what is said.
func (e exit) Unwrap() error { return e.error }

// exitCode is the exit code that an error asks for.
func exitCode(err error) int {
	if e, ok := errors.AsType[exit](err); ok {
		return e.code
	}
	return 1
}

// indexList is the server's answer about indices.
type indexList struct {
	Indices  []resource.Index `json:"indices"`
	AsWanted bool             `json:"as_wanted"`
}

func indexCommand(out io.Writer) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "index", Short: "Look at the indices that documents are kept in; make or drop some",
		Long: `Shows what documents of each resource type are kept in, and how that differs from
what the catalogue wants. ` + "`fresnel reindex`" + ` brings the two together.`,
	}
	c.flags(cmd)
	cmd.AddCommand(listIndices(&c, out), checkIndices(&c, out), createIndices(&c, out), dropIndex(&c, out))
	return cmd
}

// outputFlag adds --output, and returns whether it says json once flags are parsed.
func outputFlag(cmd *cobra.Command) func() (asJSON bool, err error) {
	var output string
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return func() (bool, error) {
		if output != "table" && output != "json" {
			return false, fmt.Errorf("--output %s: table or json", output)
		}
		return output == "json", nil
	}
}

func listIndices(c *client, out io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List indices: type, state, documents, size",
		Long: `Lists the index of each resource type of the catalogue, and every other one of
this Fresnel's: left by a reindex, or of a type that the catalogue no longer has.`,
		Example: "  fresnel index list",
		Args:    cobra.NoArgs,
	}
	show := showsIndices(cmd, c, out, indexTable)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, err := show(cmd.Context())
		return err
	}
	return cmd
}

// showsIndices gives a command its flag for the output, and returns what asks for the
// indices and shows them: as JSON, or in the command's own way.
func showsIndices(cmd *cobra.Command, c *client, out io.Writer, text func(io.Writer, indexList) error) func(context.Context) (indexList, error) {
	output := outputFlag(cmd)
	return func(ctx context.Context) (indexList, error) {
		asJSON, err := output()
		if err != nil {
			return indexList{}, err
		}
		list, raw, err := indicesOf(ctx, c)
		switch {
		case err != nil:
			return list, err
		case asJSON:
			return list, indent(out, raw)
		}
		return list, text(out, list)
	}
}

func indicesOf(ctx context.Context, c *client) (list indexList, raw json.RawMessage, err error) {
	if err := c.call(ctx, "GET", "/v1/admin/indices", nil, &raw); err != nil {
		return list, nil, err
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return list, nil, fmt.Errorf("the server's answer: %w", err)
	}
	return list, raw, nil
}

func indexTable(out io.Writer, list indexList) error {
	t := tablewriter.NewWriter(out)
	t.Header("type", "index", "state", "documents", "size", "catalogue")
	for _, x := range list.Indices {
		size, wants := "", "as wanted"
		if x.Bytes > 0 {
			size = fmt.Sprintf("%.1f MB", float64(x.Bytes)/1e6)
		}
		switch {
		case x.State != resource.IndexServes:
			wants = ""
		case len(x.Differences) == 1:
			wants = "1 difference"
		case len(x.Differences) > 1:
			wants = fmt.Sprintf("%d differences", len(x.Differences))
		}
		if err := t.Append(x.Type, x.Name, string(x.State), fmt.Sprint(x.Documents), size, wants); err != nil {
			return err
		}
	}
	return t.Render()
}

func checkIndices(c *client, out io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Say in words how indices differ from the catalogue",
		Long: `Says for each resource type what its index has otherwise than the catalogue wants,
and where it has another number of shards or replicas than the configuration says.
The exit code is 0 if nothing differs and 3 if something does.`,
		Example: "  fresnel index check",
		Args:    cobra.NoArgs,
	}
	show := showsIndices(cmd, c, out, sayDifferences)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := show(cmd.Context())
		if err == nil && !list.AsWanted {
			err = exit{errors.New("indices are not as the catalogue wants them"), exitDiffers}
		}
		return err
	}
	return cmd
}

func sayDifferences(out io.Writer, list indexList) error {
	var b strings.Builder
	differs := false
	for _, x := range list.Indices {
		say := func(what string) { fmt.Fprintf(&b, "%s: %s\n", x.Type, what) }
		switch x.State {
		case resource.IndexMissing:
			say("there is no index; `fresnel index create` makes it")
		case resource.IndexStray:
			say("the catalogue has no such type, index " + x.Name + " is not used; `fresnel index drop` removes it")
		case resource.IndexIdle:
			say("index " + x.Name + " is of another generation and not used; `fresnel index drop` removes it unless a reindex runs")
		case resource.IndexServes:
		}
		for _, d := range slices.Concat(x.Differences, x.Settings) {
			say(d)
		}
		differs = differs || len(x.Differences) > 0
		if x.Trouble != "" {
			say(x.Trouble)
		}
	}
	if b.Len() == 0 {
		b.WriteString("all indices are as the catalogue wants them\n")
	} else if differs {
		b.WriteString("`fresnel reindex` makes indices as the catalogue wants them, while they are in use\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func createIndices(c *client, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "create", Short: "Make the indices that are missing",
		Long:    "Makes an index for each resource type of the catalogue that has none. Others stay as they are.",
		Example: "  fresnel index create",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var a struct {
				Created []string `json:"created"`
			}
			if err := c.call(cmd.Context(), "POST", "/v1/admin/indices", nil, &a); err != nil {
				return err
			}
			if len(a.Created) == 0 {
				_, err := fmt.Fprintln(out, "no index was missing")
				return err
			}
			_, err := fmt.Fprintf(out, "made: %s\n", strings.Join(a.Created, ", "))
			return err
		},
	}
}

func dropIndex(c *client, out io.Writer) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "drop NAME", Short: "Remove an index that is not in use, with its documents",
		Long: `Removes an index that neither serves nor is being filled: one that a reindex left,
or of a type that the catalogue no longer has. Its documents are gone for good.`,
		Example: "  fresnel index drop --yes fresnel-os-nova-server-000001",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return fmt.Errorf("%s and its documents would be gone for good: say --yes if that is meant", args[0])
			}
			name := url.PathEscape(args[0])
			if err := c.call(cmd.Context(), "DELETE", "/v1/admin/indices/"+name+"?confirm="+url.QueryEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "%s: dropped\n", args[0])
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "it is meant")
	return cmd
}
