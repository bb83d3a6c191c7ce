package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fresnel-search/fresnel/cmd/fresnel/app"
	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/indexer/catalog"
)

func catalogCommand(out io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use: "catalog", Short: "Check resource types; see what notifications become",
		Long: `Works on resource types, the YAML files that say how notifications become
resources, without a server.`,
	}
	var dir string
	try := &cobra.Command{
		Use:   "try FILE...",
		Short: "Show what each recorded notification becomes",
		Long: `Shows for each recorded notification of *.jsonl and *.jsonl.gz files the mutations
of resources that it becomes, or why it is ignored or a dead letter.`,
		Example: `  fresnel catalog try test/notifications/nova.jsonl.gz
  fresnel catalog try --dir ./types recorded.jsonl.gz`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := app.LoadTypes(dir)
			if err != nil {
				return err
			}
			records, err := play.Load(args...)
			if err != nil {
				return err
			}
			return catalog.Try(out, c, records)
		},
	}
	try.Flags().StringVar(&dir, "dir", "", "a folder of types that extend or replace the built-in ones")
	check := &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check the built-in types and those in a folder: every mistake with file and line",
		Long: `Checks the built-in resource types, and those of a folder over them, as serve does
at its start. Says where each mistake is and what is allowed there.`,
		Example: `  fresnel catalog check
  fresnel catalog check ./types`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				dir = args[0]
			}
			c, err := app.LoadTypes(dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "%d resource types: ok\n", len(c.Types()))
			return err
		},
	}
	cmd.AddCommand(check, try)
	return cmd
}
