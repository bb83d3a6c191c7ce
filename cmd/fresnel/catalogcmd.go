package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/configs/resources"
	"github.com/fresnel-search/fresnel/indexer/catalog"
)

func catalogCommand(out io.Writer) *cobra.Command {
	cmd := &cobra.Command{Use: "catalog", Short: "Check resource types; see what notifications become"}
	var dir string
	try := &cobra.Command{
		Use:   "try FILE...",
		Short: "Show what each recorded notification becomes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := catalog.Load(layers(dir)...)
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
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				dir = args[0]
			}
			c, err := catalog.Load(layers(dir)...)
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

// layers are the built-in types and, over them, those in dir.
func layers(dir string) []fs.FS {
	if dir == "" {
		return []fs.FS{resources.FS}
	}
	return []fs.FS{resources.FS, os.DirFS(dir)}
}
