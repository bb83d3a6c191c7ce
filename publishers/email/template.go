package email

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// What a template may be and do: it comes from outside, and package template itself
// bounds neither time nor memory.
const (
	maxTemplate = 16 << 10  // bytes of its text
	maxOutput   = 256 << 10 // bytes that it writes
	maxSteps    = 50_000    // rounds of all its loops
	maxTime     = time.Second
)

const defaultSubject = `{{if eq .Count 1}}{{with index .Changes 0}}{{.Type}} {{or .Name .Resource}} {{.Action}}{{end}}` +
	`{{else}}{{.Count}} changes{{end}} ({{.Subscription}})`

const defaultBody = `{{range .Changes}}{{.Type}} {{.Resource}}{{if .Name}} ({{.Name}}){{end}}: {{.Action}}
  time      {{.Time}}
{{if .Project}}  project   {{.Project}}
{{end}}{{if .Priority}}  priority  {{.Priority}}
{{end}}{{if .Revision}}  revision  {{.Revision}}
{{end}}{{with .Attributes.missed}}  missed    {{.}}
{{end}}  see       {{.Href}}
  change    {{.ID}}
{{range .Changed}}  {{.Name}}: {{if .Before}}{{.Before}} -> {{end}}{{or .After "(none)"}}
{{end}}
{{end}}`

// texts are the templates of a mail.
type texts struct{ subject, body string }

// newTexts checks templates; empty ones are the default's.
func newTexts(subject, body string) (texts, error) {
	t := texts{subject: defaultSubject, body: defaultBody}
	if subject != "" {
		t.subject = subject
	}
	if body != "" {
		t.body = body
	}
	var errs []error
	for name, text := range map[string]string{"subject": t.subject, "body": t.body} {
		if _, err := compile(text, &work{}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return t, errors.Join(errs...)
}

// write writes subject and text. A template that fails on these changes is replaced
// by the default one: a mail that looks plain is better than none.
func (t texts) write(m *Mail) (subject, body string) {
	for _, text := range []struct {
		into           *string
		own, otherwise string
	}{{&subject, t.subject, defaultSubject}, {&body, t.body, defaultBody}} {
		out, err := execute(text.own, m)
		if err != nil {
			plain, errDefault := execute(text.otherwise, m)
			out = plain
			if text.into == &body {
				out = "The template failed: " + err.Error() + "\n\n" + plain
			}
			if errDefault != nil {
				out += "\n(more was left out)"
			}
		}
		*text.into = out
	}
	return subject, body
}

// execute returns what was written until it ended, or failed.
func execute(text string, m *Mail) (string, error) {
	t, err := compile(text, &work{until: time.Now().Add(maxTime)})
	if err != nil {
		return "", err
	}
	var w limited
	err = t.Execute(&w, m)
	return w.String(), err
}

var errTooLong = errors.New("it writes too much")

// limited is a writer that fails when there is too much.
type limited struct{ strings.Builder }

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > maxOutput {
		return 0, errTooLong
	}
	return l.Builder.Write(b)
}

// work is what a template has done, and until when it may.
type work struct {
	steps int
	until time.Time
}

// step is called in every round of a loop.
func (w *work) step() (string, error) {
	if w.steps++; w.steps > maxSteps || time.Now().After(w.until) {
		return "", errors.New("its loops go round too often, or take too long")
	}
	return "", nil
}

// compile parses a template in which every round of a loop counts. Definitions are
// refused, as they could call themselves, and so are the functions that make texts of
// any length.
func compile(text string, w *work) (*template.Template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("is longer than %d bytes", maxTemplate)
	}
	funcs := template.FuncMap{"step": w.step, "upper": strings.ToUpper, "lower": strings.ToLower}
	t, err := template.New("mail").Option("missingkey=zero").Funcs(funcs).Parse(text)
	if err != nil {
		return nil, err
	}
	if len(t.Templates()) > 1 || t.Tree == nil {
		return nil, errors.New("define and block are not allowed")
	}
	step, err := template.New("step").Funcs(funcs).Parse("{{step}}")
	if err != nil {
		return nil, err
	}
	return t, inspect(t.Root, step.Root.Nodes[0])
}

// inspect refuses what is not allowed and has loops count their rounds.
func inspect(n parse.Node, step parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return each(n.Nodes, step)
	case *parse.ActionNode:
		return inspect(n.Pipe, step)
	case *parse.IfNode:
		return each([]parse.Node{n.Pipe, n.List, n.ElseList}, step)
	case *parse.WithNode:
		return each([]parse.Node{n.Pipe, n.List, n.ElseList}, step)
	case *parse.RangeNode:
		err := each([]parse.Node{n.Pipe, n.List, n.ElseList}, step)
		n.List.Nodes = slices.Insert(n.List.Nodes, 0, step)
		return err
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Cmds {
			if err := each(c.Args, step); err != nil {
				return err
			}
		}
	case *parse.ChainNode:
		return inspect(n.Node, step)
	case *parse.TemplateNode:
		return errors.New("template is not allowed")
	case *parse.IdentifierNode:
		allowed := []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "upper", "lower"}
		if !slices.Contains(allowed, n.Ident) {
			return fmt.Errorf("the function %s is not allowed; there are %s", n.Ident, strings.Join(allowed, ", "))
		}
	}
	return nil
}

func each(ns []parse.Node, step parse.Node) error {
	for _, n := range ns {
		if err := inspect(n, step); err != nil {
			return err
		}
	}
	return nil
}
