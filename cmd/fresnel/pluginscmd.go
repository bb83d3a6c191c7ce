package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/cmd/fresnel/app"
	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/publishers/host"
	"github.com/fresnel-search/fresnel/searchapi"
)

func pluginsCommand(out, errs io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use: "plugins", Short: "Look at publisher plugins; start them again; write and check new ones",
		Long: `Publishers are plugins: those built in, and those that the configuration names under
publishers.plugins. list, info, resume and reload ask a running server; run, verify and
new are for whoever writes a plugin.`,
	}
	cmd.AddCommand(pluginsListCommand(out), pluginsInfoCommand(out, errs), pluginsRunCommand(out, errs),
		pluginsOrderCommand(out, "resume", "Start a plugin now that is in quarantine or waits for its next start",
			`Starts a plugin now that is in quarantine or waits for its next start, and says whether
it is ready. What was kept for it is then delivered.`),
		pluginsOrderCommand(out, "reload", "Replace a plugin by what is installed now, without a gap",
			`Starts a plugin as it is installed now. When it is ready, it gets what is to be
delivered, and the old process ends when it has finished what it had. If it does not
become ready, the old one stays.`),
		pluginsVerifyCommand(out), pluginsNewCommand(out))
	return cmd
}

func pluginsListCommand(out io.Writer) *cobra.Command {
	var c client
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List plugins: what they serve, how each is doing and what it uses",
		Long: `Lists the plugins of a running server: version, schemes of the destinations that
each serves, state and why, and the memory of its process. With --config it lists what a
configuration has instead, without a server and without running any plugin.`,
		Example: `  fresnel plugins list
  fresnel plugins list --config /etc/fresnel.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list struct {
				Plugins []searchapi.Plugin `json:"plugins"`
			}
			var err error
			if file != "" {
				list.Plugins, err = configuredPlugins(file)
			} else {
				err = c.call(cmd.Context(), "GET", "/v1/admin/plugins", nil, &list)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(out, list)
			}
			return pluginTable(out, list.Plugins)
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&file, "config", "", "configuration file to look at, instead of a server")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// configuredPlugins are those of a configuration file.
func configuredPlugins(file string) ([]searchapi.Plugin, error) {
	c, err := configs.Load(file)
	if err != nil {
		return nil, err
	}
	cfg, err := app.HostConfig(c, "fresnel", version())
	if err != nil {
		return nil, err
	}
	h, err := host.New(cfg, nil, nil)
	if err != nil {
		return nil, err
	}
	return app.Plugins(h), nil
}

func pluginTable(out io.Writer, list []searchapi.Plugin) error {
	t := tablewriter.NewWriter(out)
	t.Header("name", "version", "schemes", "origin", "state", "since", "restarts", "memory", "reason")
	for _, p := range list {
		memory := ""
		if p.Memory > 0 {
			memory = fmt.Sprintf("%d MiB", p.Memory>>20)
		}
		origin := p.Origin
		if p.Origin != host.BuiltIn {
			origin += " " + p.Path
		}
		err := t.Append(p.Name, p.Version, strings.Join(p.Schemes, ", "), text(origin), p.State,
			p.Since.Local().Format(time.DateTime), fmt.Sprint(p.Restarts), memory, text(p.Reason))
		if err != nil {
			return err
		}
	}
	return t.Render()
}

func pluginsInfoCommand(out, errs io.Writer) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "info NAME|PATH",
		Short: "Show what a plugin says of itself; make the plugin.yaml of a program",
		Long: `Shows what a plugin of a running server says of itself and how it is doing. Given a
path, it works without a server: of a folder it shows plugin.yaml if nothing is wrong
with it; a program it starts and asks, and prints a plugin.yaml for it, with its checksum
as what to run on this platform.`,
		Example: `  fresnel plugins info webhook
  fresnel plugins info /usr/lib/fresnel/plugins/sms
  fresnel plugins info ./sms               # its plugin.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			info, err := os.Stat(name)
			switch {
			case !strings.Contains(name, "/") && err != nil:
				var raw json.RawMessage
				if err := c.call(cmd.Context(), "GET", "/v1/admin/plugins/"+url.PathEscape(name), nil, &raw); err != nil {
					return err
				}
				return indent(out, raw)
			case err != nil:
				return err
			case info.IsDir():
				m, err := manifest.Read(name)
				if err != nil {
					return err
				}
				return printYAML(out, m)
			}
			m, err := manifestOf(cmd.Context(), name, errs)
			if err != nil {
				return err
			}
			return printYAML(out, m)
		},
	}
	c.flags(cmd)
	return cmd
}

func pluginsOrderCommand(out io.Writer, verb, short, long string) *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: verb + " NAME", Short: short, Long: long,
		Example: "  fresnel plugins " + verb + " sms",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.call(cmd.Context(), "POST", "/v1/admin/plugins/"+url.PathEscape(args[0])+"/"+verb, nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "%s: ready\n", args[0])
			return err
		},
	}
	c.flags(cmd)
	return cmd
}

func printYAML(out io.Writer, v any) error {
	const two = 2
	enc := yaml.NewEncoder(out)
	enc.SetIndent(two)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return enc.Close()
}

func printJSON(out io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", b)
	return err
}
