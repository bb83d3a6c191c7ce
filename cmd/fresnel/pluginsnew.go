package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
	"golang.org/x/mod/semver"
)

//go:embed skeleton
var skeleton embed.FS

// newOptions are the flags of plugins new.
type newOptions struct {
	dir, module, tree string
	out               io.Writer
}

func pluginsNewCommand(out io.Writer) *cobra.Command {
	o := newOptions{out: out}
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write the skeleton of a plugin: a repository that builds, and that passes every check",
		Long: `Writes a publisher plugin for destinations of the form NAME:recipient into a folder of
its own: a Go module with a program, its manifest, a test that runs the conformance kit,
and a Makefile. It works as it is; what it does is for you to change.`,
		Example: `  fresnel plugins new ticket
  fresnel plugins new ticket --module git.example.org/team/ticket`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&o.dir, "dir", "", "`folder` to write to, which must not exist; fresnel-publisher-NAME if not given")
	cmd.Flags().StringVar(&o.module, "module", "", "`path` of the Go module; example.org/fresnel-publisher-NAME if not given")
	cmd.Flags().StringVar(&o.tree, "tree", "", "`folder` with Fresnel's source to build against, instead of a released version")
	return cmd
}

// plugin is what the skeleton's files are filled with.
type plugin struct {
	Name, Program, Module string
	Dist                  string // folder that is installed
	Platform              string
	Zeros                 string // in place of a checksum
	Version               string // of Fresnel to build against; empty is the latest
	Tree                  string // its source, instead
}

func (o *newOptions) run(ctx context.Context, name string) error {
	const digits = 64
	if !regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`).MatchString(name) {
		return fmt.Errorf("%q: a name is a lower-case word", name)
	}
	p := plugin{
		Name: name, Program: "fresnel-publisher-" + name, Module: o.module, Dist: "dist/" + name,
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Zeros: strings.Repeat("0", digits),
	}
	if p.Module == "" {
		p.Module = "example.org/" + p.Program
	}
	if v := version(); semver.IsValid(v) && semver.Prerelease(v) == "" && semver.Build(v) == "" {
		p.Version = v
	}
	if o.tree != "" {
		var err error
		if p.Tree, err = filepath.Abs(o.tree); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(p.Tree, "plugins", "sdk")); err != nil {
			return fmt.Errorf("--tree %s: is not Fresnel's source", o.tree)
		}
	}
	if o.dir == "" {
		o.dir = p.Program
	}
	if err := p.write(o.dir); err != nil {
		return err
	}
	said := ""
	if err := exec.CommandContext(ctx, "git", "init", "--quiet", "--initial-branch=main", o.dir).Run(); err != nil {
		said = "It is no git repository yet: git init has failed.\n"
	}
	_, err := fmt.Fprintf(o.out, "%s is written.\n%sNext: cd %s && make test\n", o.dir, said, o.dir)
	return err
}

// write fills the skeleton's files in; a folder that exists is left alone.
func (p *plugin) write(dir string) error {
	const suffix, folder, mode = ".tmpl", 0o755, 0o644
	if err := os.Mkdir(dir, folder); err != nil {
		return err
	}
	files, err := skeleton.ReadDir("skeleton")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := skeleton.ReadFile("skeleton/" + f.Name())
		if err != nil {
			return err
		}
		t, err := template.New(f.Name()).Parse(string(text))
		if err != nil {
			return err
		}
		var filled bytes.Buffer
		name := strings.TrimSuffix(f.Name(), suffix)
		if name == "gitignore" {
			name = ".gitignore"
		}
		if err := errors.Join(t.Execute(&filled, p), os.WriteFile(filepath.Join(dir, name), filled.Bytes(), mode)); err != nil {
			return err
		}
	}
	return nil
}
