package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
)

// searchOptions are the flags of search.
type searchOptions struct {
	client
	types  []string
	json   string
	output string
	limit  int
	sort   string
	all    bool
}

func searchCommand(out io.Writer) *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:   "search [QUERY]",
		Short: "Search resources",
		Long:  `Search resources in Lucene syntax over all fields, or with --json in the query DSL.`,
		Example: `  fresnel search web-1
  fresnel search 'status:active AND name:web*' --type OS::Nova::Server
  fresnel search --json '{"term": {"status": "error"}}' --output json
  fresnel search 'status:error' --all-projects`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := o.request(args)
			if err != nil {
				return err
			}
			var answer json.RawMessage
			if err := o.call(cmd.Context(), "POST", "/v1/search", body, &answer); err != nil {
				return err
			}
			if o.output == "json" {
				return indent(out, answer)
			}
			return table(out, answer)
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.types, "type", nil, "resource types to search, such as OS::Nova::Server")
	f.StringVar(&o.json, "json", "", "a query in the query DSL instead of text")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	f.IntVarP(&o.limit, "limit", "n", 25, "hits to show")
	f.BoolVar(&o.all, "all-projects", false, "what every project has, for admins")
	f.StringVar(&o.sort, "sort", "", "a field to sort by; FIELD:desc for descending")
	return cmd
}

// request is the body of the search.
func (o *searchOptions) request(args []string) (map[string]any, error) {
	body := map[string]any{"limit": o.limit, "version": true}
	switch {
	case o.output != "table" && o.output != "json":
		return nil, fmt.Errorf("--output %s: table or json", o.output)
	case o.json != "" && len(args) > 0:
		return nil, fmt.Errorf("give either a text or --json, not both")
	case o.json != "":
		if !json.Valid([]byte(o.json)) {
			return nil, fmt.Errorf("--json: not valid JSON")
		}
		body["query"] = json.RawMessage(o.json)
	case len(args) > 0:
		body["query"] = map[string]any{"query_string": map[string]any{"query": args[0], "lenient": true}}
	}
	if len(o.types) > 0 {
		body["type"] = o.types
	}
	if o.all {
		body["all_projects"] = true
	}
	if field, order, ok := strings.Cut(o.sort, ":"); field != "" {
		if !ok {
			order = "asc"
		}
		body["sort"] = []any{map[string]any{field: map[string]any{"order": order}}}
	}
	return body, nil
}

// answer is what a table needs of a search's answer.
type answer struct {
	Hits struct {
		Total int `json:"total"`
		Hits  []struct {
			Type    string         `json:"_type"`
			ID      string         `json:"_id"`
			Version int64          `json:"_version"`
			Source  map[string]any `json:"_source"`
		} `json:"hits"`
	} `json:"hits"`
}

func table(out io.Writer, raw json.RawMessage) error {
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	t := tablewriter.NewWriter(out)
	t.Header("type", "id", "name", "status", "revision", "updated")
	for _, h := range a.Hits.Hits {
		if err := t.Append(h.Type, h.ID, text(h.Source["name"]), text(h.Source["status"]), fmt.Sprint(h.Version), text(h.Source["updated_at"])); err != nil {
			return err
		}
	}
	if err := t.Render(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d of %d\n", len(a.Hits.Hits), a.Hits.Total)
	return err
}

// text is a value for a table's cell: nothing for null, and no control characters,
// which could move a terminal's cursor.
func text(v any) string {
	if v == nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprint(v))
}

func indent(out io.Writer, raw json.RawMessage) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
