package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
	"gopkg.in/yaml.v3"
)

// Parse is Read of bytes; file is what errors call them.
func Parse(file string, b []byte) (Manifest, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return Manifest{}, fmt.Errorf("%s: is empty", file)
	} else if err != nil {
		return Manifest{}, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Manifest{}, fmt.Errorf("%s: holds more than one document", file)
	}
	lines := map[string]int{}
	var m Manifest
	errs := known(doc.Content[0], lines)
	if err := doc.Decode(&m); err != nil {
		errs = append(errs, decoding(err)...)
	}
	if len(errs) == 0 {
		errs = m.check()
	}
	for i, err := range errs {
		at := file
		if key, _, ok := strings.Cut(err.Error(), ": "); ok && lines[key] > 0 {
			at = fmt.Sprintf("%s:%d", file, lines[key])
		} else if n := atLine.FindStringSubmatch(err.Error()); n != nil {
			at, err = file+":"+n[1], errors.New(n[2])
		}
		errs[i] = fmt.Errorf("%s: %w", at, err)
	}
	if err := errors.Join(errs...); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

var atLine = regexp.MustCompile(`^line (\d+): (.*)$`)

// decoding takes the decoder's error apart.
func decoding(err error) (errs []error) {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return []error{errors.New(strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	for _, text := range wrong.Errors {
		errs = append(errs, errors.New(text))
	}
	return errs
}

// known reports keys that no manifest has, and notes the lines of those it knows.
func known(root *yaml.Node, lines map[string]int) (errs []error) {
	if root.Kind != yaml.MappingNode {
		return []error{errors.New("is not a mapping of keys to values")}
	}
	each(root, func(key, value *yaml.Node) {
		lines[key.Value] = key.Line
		switch key.Value {
		case "name", "version", "protocols", "schemes", "min_host", "config_schema", "options_schema":
		case "files":
			each(value, func(file, _ *yaml.Node) { lines["files."+file.Value] = file.Line })
		case "entry":
			each(value, func(platform, entry *yaml.Node) {
				at := "entry." + platform.Value
				lines[at] = platform.Line
				each(entry, func(member, _ *yaml.Node) {
					lines[at+"."+member.Value] = member.Line
					if !slices.Contains([]string{"path", "args", "sha256"}, member.Value) {
						errs = append(errs, fmt.Errorf("%s.%s: unknown key; known are path, args, sha256", at, member.Value))
					}
				})
			})
		default:
			errs = append(errs, fmt.Errorf("%s: unknown key; known are name, version, protocols, schemes, min_host, entry, "+
				"files, config_schema, options_schema", key.Value))
		}
	})
	return errs
}

func each(mapping *yaml.Node, f func(key, value *yaml.Node)) {
	if mapping.Kind != yaml.MappingNode {
		return // the decoder says so
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		f(mapping.Content[i], mapping.Content[i+1])
	}
}

var (
	named    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	scheme   = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,62}$`)
	platform = regexp.MustCompile(`^([a-z0-9]+/[a-z0-9]+|` + Any + `)$`)
	checksum = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// check returns all that is wrong, each beginning with its key.
func (m Manifest) check() (errs []error) {
	errs = m.checkIdentity()
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
	}
	if len(m.Protocols) == 0 {
		bad("protocols", "required: the major versions of the contract that the plugin speaks, such as [1]")
	}
	for _, p := range m.Protocols {
		if p < 1 {
			bad("protocols", "%d is no version", p)
		}
	}
	if m.MinHost != "" && !version(m.MinHost) {
		bad("min_host", "%q is not a semantic version such as 1.2.0", m.MinHost)
	}
	if len(m.Entry) == 0 {
		bad("entry", "required: what to run, by os/arch, such as linux/amd64, or %s", Any)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Entry)) {
		e, at := m.Entry[key], "entry."+key
		if !platform.MatchString(key) {
			bad(at, "is neither os/arch, such as linux/amd64, nor %s", Any)
		}
		if why := outside(e.Path); why != "" {
			bad(at+".path", "%s", why)
		}
		if !checksum.MatchString(e.SHA256) {
			bad(at+".sha256", "must be the SHA-256 of the file as 64 lower-case hexadecimal digits")
		}
		if _, also := m.Files[e.Path]; also {
			bad("files."+e.Path, "is an entry already")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		if why := outside(name); why != "" {
			bad("files."+name, "%s", why)
		}
		if !checksum.MatchString(m.Files[name]) {
			bad("files."+name, "must be the SHA-256 of the file as 64 lower-case hexadecimal digits")
		}
	}
	return errs
}

// checkIdentity checks what built-in plugins have, too.
func (m Manifest) checkIdentity() (errs []error) {
	if !named.MatchString(m.Name) {
		errs = append(errs, fmt.Errorf("name: %q is not a lower-case word of at most 63 letters, digits and dashes", clip(m.Name)))
	}
	if !version(m.Version) {
		errs = append(errs, fmt.Errorf("version: %q is not a semantic version such as 1.2.0", clip(m.Version)))
	}
	if len(m.Schemes) == 0 {
		errs = append(errs, errors.New("schemes: required: those of the destinations that the plugin serves"))
	}
	seen := map[string]bool{}
	for _, s := range m.Schemes {
		if !scheme.MatchString(s) {
			errs = append(errs, fmt.Errorf("schemes: %q is not a lower-case URI scheme such as https", clip(s)))
		}
		if seen[s] {
			errs = append(errs, fmt.Errorf("schemes: %s is there twice", s))
		}
		seen[s] = true
	}
	return errs
}

// version reports whether a text is a whole semantic version, without v.
func version(text string) bool {
	v := "v" + text
	core, _, _ := strings.Cut(strings.TrimSuffix(v, semver.Build(v)), "-")
	return semver.IsValid(v) && strings.Count(core, ".") == 2
}

// outside says why a path may not stand in a manifest; empty if it may.
func outside(p string) string {
	switch {
	case p == "":
		return "required"
	case path.IsAbs(p) || p != path.Clean(p) || p == "." || p == ".." || strings.HasPrefix(p, "../") || strings.ContainsAny(p, "\\\x00:"):
		return "is not a plain path in the plugin's folder, with slashes"
	case p == FileName:
		return "is the manifest itself"
	}
	return ""
}
