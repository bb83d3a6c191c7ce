package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/fresnel-search/fresnel/indexer/record"
)

// Exit codes of reindex beside 0, 1 and exitDiffers.
const (
	exitAborted = 4
	// reindexLook is how often progress is asked for.
	reindexLook = 500 * time.Millisecond
	// reindexPatience is how long a server may not answer while progress is shown: it
	// may be restarted, the reindex goes on after that.
	reindexPatience = 60 * time.Second
)

// reindexOptions are the flags of reindex.
type reindexOptions struct {
	client
	DryRun bool     `json:"dry_run"`
	Force  bool     `json:"force"`
	Rate   int      `json:"rate"`
	Keep   bool     `json:"keep"`
	Types  []string `json:"types"`
	Grace  float64  `json:"grace"` // seconds

	abort, detach, json bool
	look                time.Duration
	out, errs           io.Writer
}

// reindexes is the server's answer.
type reindexes struct {
	Reindexes []record.Reindex `json:"reindexes"`
}

func reindexCommand(out, errs io.Writer) *cobra.Command {
	o := reindexOptions{out: out, errs: errs, look: reindexLook}
	cmd := &cobra.Command{
		Use:   "reindex [TYPE...]",
		Short: "Make indices as the catalogue wants them, while they are in use",
		Long: `Moves the documents of each type whose index is not as the catalogue wants it into
a new one, while the old one is written and searched; at the end writers wait for
some seconds, and nobody notices more. What is begun goes on after a crash or a
restart of servers. Without types it looks at all of them.
The exit code is 0 when all is done, 1 if something failed, 4 if it was aborted, and
for --dry-run 3 if something is to be done.`,
		Example: `  fresnel reindex --dry-run                 # what would be done, and why
  fresnel reindex                           # all types that differ
  fresnel reindex OS::Nova::Server --rate 2000
  fresnel reindex --abort OS::Nova::Server  # leave everything as it was`,
		Args: cobra.ArbitraryArgs,
	}
	o.flags(cmd)
	output := outputFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.DryRun, "dry-run", false, "only say what would be done, and why")
	f.BoolVar(&o.Force, "force", false, "also where nothing differs")
	f.IntVar(&o.Rate, "rate", 0, "documents a second at most; 0 is as fast as it goes")
	f.BoolVar(&o.Keep, "keep", false, "leave the old index, without its aliases")
	grace := f.Duration("grace", time.Minute, "how long the old index is left before it is removed")
	f.BoolVar(&o.abort, "abort", false, "end a reindex and leave everything as it was")
	f.BoolVar(&o.detach, "detach", false, "do not wait until it is done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if o.json, err = output(); err != nil {
			return err
		}
		if o.Rate < 0 {
			return fmt.Errorf("--rate %d: cannot be below 0", o.Rate)
		}
		if *grace < 0 {
			return fmt.Errorf("--grace %s: cannot be below 0", *grace)
		}
		o.Types, o.Grace = args, grace.Seconds()
		if o.abort {
			return o.abortAll(cmd.Context())
		}
		return o.run(cmd.Context())
	}
	return cmd
}

func (o *reindexOptions) run(ctx context.Context) error {
	var a reindexes
	if err := o.call(ctx, http.MethodPost, "/v1/admin/reindex", o, &a); err != nil {
		return err
	}
	todo := slices.DeleteFunc(slices.Clone(a.Reindexes), func(r record.Reindex) bool { return len(r.Why) == 0 })
	if !o.json || o.DryRun || len(todo) == 0 || o.detach {
		if err := o.sayPlan(a.Reindexes, todo); err != nil {
			return err
		}
	}
	switch {
	case len(todo) == 0 || o.detach && !o.DryRun:
		return nil
	case o.DryRun:
		return exit{fmt.Errorf("%d types are to be reindexed", len(todo)), exitDiffers}
	}
	return o.wait(ctx, todo)
}

// sayPlan says what is to be done, and why.
func (o *reindexOptions) sayPlan(all, todo []record.Reindex) error {
	if o.json {
		return encode(o.out, reindexes{all})
	}
	var b strings.Builder
	for _, r := range all {
		if len(r.Why) == 0 {
			if len(o.Types) > 0 {
				fmt.Fprintf(&b, "%s: %s\n", r.Type, r.Phase)
			}
			continue
		}
		fmt.Fprintf(&b, "%s: %d documents, because\n", r.Type, r.Total)
		for _, w := range r.Why {
			fmt.Fprintf(&b, "  %s\n", w)
		}
	}
	if len(todo) == 0 {
		b.WriteString("nothing is to be done: indices are as the catalogue wants them\n")
	}
	_, err := io.WriteString(o.out, b.String())
	return err
}

func encode(out io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return indent(out, raw)
}

// wait shows how the reindexes get on until all have ended.
func (o *reindexOptions) wait(ctx context.Context, todo []record.Reindex) error {
	bar := newReindexBar(o.errs)
	answered := time.Now()
	for {
		var a reindexes
		err := o.call(ctx, http.MethodGet, "/v1/admin/reindex", nil, &a)
		switch {
		case err == nil:
			answered = time.Now()
		case ctx.Err() != nil || time.Since(answered) > reindexPatience:
			return fmt.Errorf("%w; the reindex goes on without this command", err)
		}
		mine, open := ours(a.Reindexes, todo)
		if err == nil && !open {
			bar.end()
			return o.verdict(mine)
		}
		bar.show(mine)
		select {
		case <-ctx.Done():
			bar.end()
			return fmt.Errorf("%w; the reindex goes on without this command, --abort ends it", ctx.Err())
		case <-time.After(o.look):
		}
	}
}

// ours are the reindexes that were asked for, and whether one of them is open.
func ours(all, asked []record.Reindex) (mine []record.Reindex, open bool) {
	for _, r := range all {
		if slices.ContainsFunc(asked, func(a record.Reindex) bool { return a.Type == r.Type && !r.Requested.Before(a.Requested) }) {
			mine, open = append(mine, r), open || r.Open()
		}
	}
	return mine, open
}

// verdict says what has become of the reindexes.
func (o *reindexOptions) verdict(ended []record.Reindex) error {
	var failed, aborted int
	var b strings.Builder
	for _, r := range ended {
		took := r.Ended.Sub(r.Started).Round(time.Millisecond)
		switch r.State {
		case record.ReindexFailed:
			failed++
			fmt.Fprintf(&b, "%s: failed, everything is as it was: %s\n", r.Type, r.Error)
		case record.ReindexAborted:
			aborted++
			fmt.Fprintf(&b, "%s: aborted, everything is as it was\n", r.Type)
		default:
			fmt.Fprintf(&b, "%s: done in %s; writers waited for %s\n", r.Type, took, r.Paused.Round(time.Millisecond))
		}
	}
	var err error
	if o.json {
		err = encode(o.out, reindexes{ended})
	} else {
		_, err = io.WriteString(o.out, b.String())
	}
	switch {
	case err != nil:
		return err
	case failed > 0:
		return fmt.Errorf("%d of %d reindexes failed", failed, len(ended))
	case aborted > 0:
		return exit{fmt.Errorf("%d of %d reindexes were aborted", aborted, len(ended)), exitAborted}
	}
	return nil
}

// abortAll aborts the reindexes of the types given, or all that are open.
func (o *reindexOptions) abortAll(ctx context.Context) error {
	var a reindexes
	if err := o.call(ctx, http.MethodGet, "/v1/admin/reindex", nil, &a); err != nil {
		return err
	}
	types := o.Types
	if len(types) == 0 {
		for _, r := range a.Reindexes {
			if r.Open() {
				types = append(types, r.Type)
			}
		}
	}
	if len(types) == 0 {
		_, err := fmt.Fprintln(o.out, "no reindex is under way")
		return err
	}
	var asked []record.Reindex
	for _, typ := range types {
		var r record.Reindex
		if err := o.call(ctx, http.MethodDelete, "/v1/admin/reindex/"+url.PathEscape(typ), nil, &r); err != nil {
			return err
		}
		asked = append(asked, r)
	}
	if o.detach {
		_, err := fmt.Fprintf(o.out, "asked to abort: %s\n", strings.Join(types, ", "))
		return err
	}
	err := o.wait(ctx, asked)
	if exitCode(err) == exitAborted {
		err = nil // that was what was asked for
	}
	return err
}

// reindexBar shows progress on a terminal, and nothing elsewhere.
type reindexBar struct {
	bar   *progressbar.ProgressBar
	total int64
}

func newReindexBar(errs io.Writer) *reindexBar { return &reindexBar{bar: progress(errs, 1)} }

// show shows the reindex that runs.
func (b *reindexBar) show(all []record.Reindex) {
	i := slices.IndexFunc(all, func(r record.Reindex) bool { return r.State == record.ReindexRuns })
	if i < 0 {
		return
	}
	r := all[i]
	if total := max(r.Total, r.Copied, 1); total != b.total {
		b.total = total
		b.bar.ChangeMax64(total)
	}
	what := r.Type + ": " + r.Phase
	if r.Left > 0 {
		what += ", " + r.Left.Round(time.Second).String() + " left"
	}
	if r.Error != "" {
		what += " (" + r.Error + ")"
	}
	b.bar.Describe(text(what))
	if err := b.bar.Set64(r.Copied); err != nil && !errors.Is(err, io.EOF) {
		return // a terminal that is gone is no reason to end
	}
}

func (b *reindexBar) end() {
	if err := b.bar.Exit(); err != nil {
		return
	}
}
