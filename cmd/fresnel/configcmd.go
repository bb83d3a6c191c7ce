package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fresnel-search/fresnel/cmd/fresnel/app"
	"github.com/fresnel-search/fresnel/configs"
)

func configCommand(out io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Look at a configuration file",
		Long: "Works on configuration files, without a server. configs/fresnel.yaml documents every key.",
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file: every mistake with its line, and what was meant",
		Long: `Checks a configuration file as serve does at its start and says all that is wrong
with it: in the file, in those with secrets and tokens, and in the resource types.`,
		Example: "  fresnel config check /etc/fresnel.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := configs.Load(args[0])
			if err != nil {
				return err
			}
			if err := app.Check(c); err != nil {
				return fmt.Errorf("%s:\n%w", args[0], err)
			}
			_, err = fmt.Fprintf(out, "%s: ok\n", args[0])
			return err
		},
	})
	return cmd
}
