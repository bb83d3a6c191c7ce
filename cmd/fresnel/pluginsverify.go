package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/plugintest"
)

// verifyOptions are the flags of plugins verify.
type verifyOptions struct {
	fixtures, junit string
	json, noTLS     bool
	must, evidence  bool
	only            []string
	patience        int
	out             io.Writer
}

func pluginsVerifyCommand(out io.Writer) *cobra.Command {
	o := verifyOptions{out: out}
	cmd := &cobra.Command{
		Use:   "verify PLUGIN [-- ARG...]",
		Short: "Check that a plugin keeps the contract, with nothing but its program",
		Long: `Starts a publisher plugin many times as a server would, puts it into more than fifty
situations and says what it did wrong: at the handshake, with its configuration, with
every kind of answer of a receiver, under load, with secrets, and at its end.

PLUGIN is a program or a folder with a plugin.yaml. A check of level MUST that fails
means that the plugin is not fit for a server; one of level SHOULD that fails is a
warning. What cannot be tried is skipped, with the reason.

Plugins that serve http or https need nothing else: the command plays the receiver.
For others, or if the plugin needs a configuration, --fixtures names a file of YAML:

  config: {gateway: "${endpoint}/messages", token: "${canary}"}
  destination: {uri: "sms:+${mark}"}

There ${endpoint} is the URL of a receiver that the command plays, ${mark} are twelve
digits by which it knows how to behave, wherever they come in a request, and ${canary}
is a secret that must show nowhere. Plugins that speak no HTTP name real destinations
instead: destinations: {ok: {uri: ...}, transient: ..., permanent: ..., hang: ...}.`,
		Example: `  fresnel plugins verify ./ntfy
  fresnel plugins verify dist/sms --fixtures fixtures.yaml
  fresnel plugins verify ./post.py --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0], args[1:]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.fixtures, "fixtures", "", "`file` that says how to configure the plugin and where it may deliver to")
	flags.BoolVar(&o.json, "json", false, "print the report as JSON, with the evidence of each check")
	flags.StringVar(&o.junit, "junit", "", "write the report to this `file`, too, as systems for continuous integration read it")
	flags.BoolVar(&o.noTLS, "no-tls", false, "start the plugin without TLS, as a server does that is told tls: off")
	flags.BoolVar(&o.must, "must", false, "leave out the checks of level SHOULD")
	flags.BoolVar(&o.evidence, "evidence", false, "print for each check that passed what was seen")
	flags.IntVar(&o.patience, "patience", 1, "multiply all time limits by this, on a slow or busy machine")
	flags.StringSliceVar(&o.only, "only", nil, "make only these `checks`, such as P0,D4")
	return cmd
}

func (o *verifyOptions) run(ctx context.Context, plugin string, args []string) error {
	c := plugintest.Config{Path: plugin, Args: args, NoTLS: o.noTLS, MustOnly: o.must, Only: o.only, Patience: o.patience}
	if info, err := os.Stat(plugin); err == nil && info.IsDir() {
		if err := fromFolder(&c); err != nil {
			return err
		}
	}
	if o.fixtures != "" {
		var err error
		if c.Fixtures, err = readFixtures(o.fixtures); err != nil {
			return err
		}
	}
	if !o.json {
		c.Each = o.print
	}
	r, err := plugintest.Verify(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(o.report(r), verdict(r))
}

// fromFolder takes the program for this platform, if it is the one that the manifest
// is about.
func fromFolder(c *plugintest.Config) error {
	m, err := manifest.Read(c.Path)
	if err != nil {
		return err
	}
	entry, err := m.For(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return err
	}
	folder := c.Path
	c.Path, c.Args, c.Manifest = filepath.Join(folder, entry.Path), append(entry.Args, c.Args...), &m
	files := map[string]string{entry.Path: entry.SHA256}
	maps.Copy(files, m.Files)
	for name, want := range files {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want {
			return fmt.Errorf("%s: its SHA-256 is %x, %s says %s", filepath.Join(folder, name), sum, manifest.FileName, want)
		}
	}
	return nil
}

func readFixtures(path string) (plugintest.Fixtures, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return plugintest.Fixtures{}, err
	}
	var doc any
	err = yaml.Unmarshal(text, &doc)
	asJSON, err2 := json.Marshal(doc)
	if err := errors.Join(err, err2); err != nil {
		return plugintest.Fixtures{}, fmt.Errorf("%s: %w", path, err)
	}
	f, err := plugintest.ParseFixtures(asJSON)
	if err != nil {
		return plugintest.Fixtures{}, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// print is one row of the table, as soon as it is known.
func (o *verifyOptions) print(r plugintest.Result) {
	said := map[plugintest.Status]string{
		plugintest.Passed: "ok", plugintest.Failed: "FAILED", plugintest.Warned: "warning", plugintest.Skipped: "skipped",
	}[r.Status]
	fmt.Fprintf(o.out, "%-5s %-7s %-8s %s\n", r.ID, r.Level, said, r.Title)
	if r.Status != plugintest.Passed || o.evidence {
		fmt.Fprintf(o.out, "%22s %s\n", "", text(r.Detail))
	}
}

// report writes what is for machines, and the sum for people.
func (o *verifyOptions) report(r *plugintest.Report) error {
	var errs []error
	if o.junit != "" {
		f, err := os.Create(o.junit)
		if err != nil {
			return err
		}
		errs = append(errs, r.WriteJUnit(f), f.Close())
	}
	if o.json {
		enc := json.NewEncoder(o.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return errors.Join(append(errs, enc.Encode(r))...)
	}
	_, err := fmt.Fprintf(o.out, "\n%s %s, sha256 %s, kit %s\n%d passed, %d failed, %d warnings, %d skipped, in %s\n",
		text(r.Plugin.Name), text(r.Plugin.Version), r.Plugin.SHA256, r.Kit, r.Counts[plugintest.Passed], r.Counts[plugintest.Failed],
		r.Counts[plugintest.Warned], r.Counts[plugintest.Skipped], r.Took.Round(100*time.Millisecond))
	return errors.Join(append(errs, err)...)
}

func verdict(r *plugintest.Report) error {
	switch n := r.Counts[plugintest.Failed]; {
	case r.Passed():
		return nil
	case n == 1:
		return errors.New("the plugin does not keep the contract: 1 check of level MUST failed")
	case n > 1:
		return fmt.Errorf("the plugin does not keep the contract: %d checks of level MUST failed", n)
	default:
		return errors.New("nothing was verified: no check has passed")
	}
}
