package main

import (
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fresnel-search/fresnel/cmd/fresnel/app"
	"github.com/fresnel-search/fresnel/configs"
)

// roomyGC is how much garbage, in percent of what lives, piles up before it is
// collected where a server has a store of its own: little of what it makes lives
// longer than a batch, so that a collection finds as much to keep whenever it comes.
// On an embedded store memory is dearer than time.
const roomyGC = 300

func serveCommand(errs io.Writer) *cobra.Command {
	var file, cpuProfile string
	var f flags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve everything in one process, on embedded defaults, or some roles of many",
		Long: `Serves the search API, indexes what services announce on Kafka and delivers
changes to subscriptions. Without a configuration it brings its own Kafka broker
and store, and listens on loopback only.

With Kafka and Elasticsearch of your own, processes can have some of the roles
listener, indexer, publishers and searchapi, in any split, and any number of
processes each: they share the work.`,
		Example: `  fresnel serve
  fresnel serve --config /etc/fresnel.yaml
  fresnel serve --config /etc/fresnel.yaml --roles indexer --listen 127.0.0.1:9394`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(file, f)
			if err != nil {
				return err
			}
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			if c.Indexer.Store != configs.StoreSQLite && os.Getenv("GOGC") == "" {
				debug.SetGCPercent(roomyGC)
			}
			return profiled(cpuProfile, func() error {
				return app.Run(cmd.Context(), app.Options{
					Config: c, Version: version(), Out: cmd.OutOrStdout(), Log: logger(c.Log, errs), Executable: exe,
				})
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&file, "config", "", "configuration file; configs/fresnel.yaml documents every key")
	fs.StringVar(&f.data, "data", "", "folder of everything that is kept (default ./fresnel-data)")
	fs.StringVar(&f.listen, "listen", "", "address of the search API, of health and metrics (default 127.0.0.1:9393)")
	fs.StringSliceVar(&f.roles, "roles", nil, "what this process does, of listener, indexer, publishers, searchapi (default all)")
	fs.StringVar(&cpuProfile, "cpu-profile", "", "file to write a CPU profile to when the server stops, for go tool pprof")
	return cmd
}

// flags say something instead of the configuration file.
type flags struct {
	data, listen string
	roles        []string
}

// config is the file's configuration, with what the flags say instead.
func config(file string, f flags) (configs.Config, error) {
	c := configs.Default()
	if file != "" {
		var err error
		if c, err = configs.Load(file); err != nil {
			return c, err
		}
	}
	if f.data != "" {
		c.Data = f.data
	}
	if f.listen != "" {
		c.SearchAPI.Listen = f.listen
	}
	if len(f.roles) > 0 {
		c.Roles = f.roles
	}
	return c, c.Validate()
}

// logger writes text for people on a terminal and JSON elsewhere.
func logger(c configs.Log, out io.Writer) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	o := &slog.HandlerOptions{Level: levels[c.Level]}
	f, isFile := out.(*os.File)
	if c.Format == "text" || c.Format == "auto" && isFile && term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(out, o))
	}
	return slog.New(slog.NewJSONHandler(out, o))
}

// pluginServe is the process of a built-in publisher.
func pluginServe(name string) int {
	if !app.ServePlugin(name, version()) {
		return 2
	}
	return 0
}
