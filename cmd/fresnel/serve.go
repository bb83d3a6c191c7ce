package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fresnel-search/fresnel/cmd/fresnel/app"
	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/publishers/log"
	"github.com/fresnel-search/fresnel/publishers/webhook"
)

func serveCommand(errs io.Writer) *cobra.Command {
	var file, data, listen string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve everything in one process, on embedded defaults",
		Long: `Serves the search API, indexes what services announce on Kafka and delivers
changes to subscriptions. Without a configuration it brings its own Kafka broker
and store, and listens on loopback only.`,
		Example: `  fresnel serve
  fresnel serve --config /etc/fresnel.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config(file, data, listen)
			if err != nil {
				return err
			}
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			return app.Run(cmd.Context(), app.Options{
				Config: c, Version: version(), Out: cmd.OutOrStdout(), Log: logger(c.Log, errs), Executable: exe,
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file; configs/fresnel.yaml documents every key")
	f.StringVar(&data, "data", "", "folder of everything that is kept (default ./fresnel-data)")
	f.StringVar(&listen, "listen", "", "address of the search API (default 127.0.0.1:9393)")
	return cmd
}

// config is the file's configuration, with what the flags say instead.
func config(file, data, listen string) (configs.Config, error) {
	c := configs.Default()
	if file != "" {
		var err error
		if c, err = configs.Load(file); err != nil {
			return c, err
		}
	}
	if data != "" {
		c.Data = data
	}
	if listen != "" {
		c.SearchAPI.Listen = listen
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
	switch name {
	case "webhook":
		webhook.Main(version())
	case "log":
		log.Main(version())
	default:
		return 2
	}
	return 0
}
