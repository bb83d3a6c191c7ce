package configs

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// lines know where in the file each key path stands, and the other way round.
type lines struct {
	line map[string]int
	path map[int]string // the deepest key on a line
}

func newLines(n *yaml.Node) lines {
	l := lines{map[string]int{}, map[int]string{}}
	l.walk(n, "")
	return l
}

func (l lines) walk(n *yaml.Node, path string) {
	if n.Line > 0 && path != "" {
		l.path[n.Line] = path
	}
	switch n.Kind {
	case yaml.DocumentNode:
		l.walk(n.Content[0], path)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			l.line[at] = item.Line
			l.walk(item, at)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			at := join(path, n.Content[i].Value)
			l.line[at] = n.Content[i].Line
			l.walk(n.Content[i+1], at)
		}
	default: // scalars have no keys; what an alias stands for has been walked
	}
}

var atLine = regexp.MustCompile(`^line (\d+): (.*)$`)

// typed takes the decoder's errors apart and names the keys that are meant.
func (l lines) typed(err error) (errs []error) {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		if err != nil {
			errs = append(errs, err)
		}
		return errs
	}
	for _, text := range wrong.Errors {
		if m := atLine.FindStringSubmatch(text); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && l.path[n] != "" {
				text = fmt.Sprintf("line %d: %s: %s", n, l.path[n], m[2])
			}
		}
		errs = append(errs, errors.New(text))
	}
	return errs
}

// located gives each error, one a line, the line of the key that it begins with, if
// the key stands in the file.
func (l lines) located(err error) (errs []error) {
	if err == nil {
		return nil
	}
	for text := range strings.Lines(err.Error()) {
		text = strings.TrimRight(text, "\n")
		if key, _, ok := strings.Cut(text, ": "); ok && l.line[key] > 0 {
			text = fmt.Sprintf("line %d: %s", l.line[key], text)
		}
		errs = append(errs, errors.New(text))
	}
	return errs
}
