// Command fresnel is a searchlight for a cloud: it keeps the state of every
// resource that services announce on Kafka, answers queries about it, and forwards
// every change to whoever asked.
//
// serve runs everything in one process; the other commands are thin clients of a
// running server. Its invariant: no command but serve opens a data folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// A plugin process must be small and quick to start, and must not read flags.
	if len(os.Args) == 3 && os.Args[1] == "plugin-serve" {
		os.Exit(pluginServe(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings given, and returns the exit code: 0, 1 for an
// error that it prints, another one if the command says so, or 130 for a command that
// was interrupted.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := commands(out, errs)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(errs, "fresnel: interrupted:", err)
		return 130
	default:
		fmt.Fprintln(errs, "fresnel:", err)
		return exitCode(err)
	}
}

func commands(out, errs io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "fresnel",
		Short: "A searchlight for a cloud: search its resources, follow their changes",
		Long: `Fresnel keeps the current state of every resource that a cloud's services announce
on Kafka, answers queries about it per tenant, and forwards every change to
webhooks and other destinations.`,
		Example: `  fresnel serve                     # everything in one process, on embedded defaults
  fresnel play test/day             # replay recorded notifications
  fresnel search status:active      # search, as a table`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(errs), configCommand(out), catalogCommand(out), playCommand(errs),
		searchCommand(out), deadLettersCommand(out), subscriptionsCommand(out), feedsCommand(out), pluginsCommand(out, errs), deliveriesCommand(out), booksCommand(out),
		indexCommand(out), reindexCommand(out, errs),
		demoCommand(out, errs), versionCommand(out))
	return root
}
