// Package manifest is plugin.yaml: what a publisher plugin says of itself in its
// folder, so that it can be listed, checked and chosen without being run. Fresnel's
// host, its commands and the conformance kit read it here; built-in publishers have
// the same manifest, made of what they answer to GetInfo.
//
// It runs nothing, fetches nothing and touches no file but the one it is asked to
// read. Its invariant: a Manifest that Read or Parse returned is whole: every name,
// version, path and checksum in it has the form that is promised here, and its
// schemas compile.
//
// A plugin is a folder with a plugin.yaml in it:
//
//	name: sms                  # a lower-case word; the publisher's name in configuration
//	version: 1.2.0             # a semantic version; what the plugin answers to GetInfo
//	protocols: [1]             # major versions of the contract that it speaks
//	schemes: [sms]             # of the destinations that it serves, lower-case
//	min_host: 0.5.0            # the oldest Fresnel it works with; optional
//	entry:                     # what to run, by os/arch as Go names them, or any
//	  linux/amd64: {path: sms-linux-amd64, sha256: 3b0c...}
//	  any: {path: sms.py, args: [--quiet], sha256: 9f1a...}
//	files:                     # what the entry needs beside it; optional
//	  sms_pb2.py: 77c2...
//	config_schema: {...}       # JSON Schema 2020-12 of the configuration; optional
//	options_schema: {...}      # and of a destination's options; optional
//
// Paths are relative to the folder and stay in it. The host copies the entry of its
// platform and the files to a place of its own, checks the copies against the
// checksums and runs those; nothing else of the folder is there when the plugin runs.
package manifest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// FileName is the name of a manifest in a plugin's folder.
const FileName = "plugin.yaml"

// Any is the key of an entry that runs on every platform.
const Any = "any"

// maxFile bounds a manifest, in bytes.
const maxFile = 1 << 20

// Manifest is what a plugin says of itself.
type Manifest struct {
	Name      string   `yaml:"name" json:"name"`
	Version   string   `yaml:"version" json:"version"`
	Protocols []int    `yaml:"protocols,flow" json:"protocols"`
	Schemes   []string `yaml:"schemes,flow" json:"schemes"`
	// MinHost is the oldest version of Fresnel that the plugin works with; empty is any.
	MinHost string `yaml:"min_host,omitempty" json:"min_host,omitempty"`
	// Entry is what to run, by os/arch, such as linux/amd64, or Any. What is built in
	// has none.
	Entry map[string]Entry `yaml:"entry,omitempty" json:"entry,omitempty"`
	// Files are the checksums, by path, of what the entry needs beside it.
	Files map[string]string `yaml:"files,omitempty" json:"files,omitempty"`
	// ConfigSchema describes the configuration of the process.
	ConfigSchema Schema `yaml:"config_schema,omitempty" json:"config_schema,omitzero"`
	// OptionsSchema describes the options of a destination.
	OptionsSchema Schema `yaml:"options_schema,omitempty" json:"options_schema,omitzero"`
}

// Entry is the program of one platform.
type Entry struct {
	Path   string   `yaml:"path" json:"path"`
	Args   []string `yaml:"args,omitempty,flow" json:"args,omitempty"`
	SHA256 string   `yaml:"sha256" json:"sha256"` // 64 hexadecimal digits, lower-case
}

// Read reads the manifest in a plugin's folder. The error says all that is wrong with
// it, each problem with the file and, where there is one, the line.
func Read(dir string) (Manifest, error) {
	path := filepath.Join(dir, FileName)
	f, err := os.Open(path)
	if err != nil {
		return Manifest{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return Manifest{}, fmt.Errorf("%s: is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Manifest{}, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxFile {
		return Manifest{}, fmt.Errorf("%s: is larger than %d bytes", path, maxFile)
	}
	return Parse(path, b)
}

// FromInfo is the manifest of a plugin that answered GetInfo, without entries: what
// cannot be wrong in a file, but in an answer, is an error here, too.
func FromInfo(info *publisherv1.GetInfoResponse) (Manifest, error) {
	m := Manifest{
		Name: info.GetName(), Version: info.GetVersion(), Protocols: []int{publisherv1.ProtocolVersion},
		Schemes: slices.Clone(info.GetSchemes()),
	}
	var errs [2]error
	m.ConfigSchema, errs[0] = NewSchema(info.GetConfigSchema())
	m.OptionsSchema, errs[1] = NewSchema(info.GetDestinationSchema())
	for i, key := range []string{"config_schema", "destination_schema"} {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s: %w", key, errs[i])
		}
	}
	return m, errors.Join(append(errs[:], m.checkIdentity()...)...)
}

// Agrees returns nil if what a running plugin answers to GetInfo is what its manifest
// says, else all the differences. Schemas count only where the manifest has them.
func (m Manifest) Agrees(info *publisherv1.GetInfoResponse) error {
	var errs []error
	differ := func(what string, says, answers any) {
		errs = append(errs, fmt.Errorf("%s: the manifest says %v, the plugin answers %v", what, says, answers))
	}
	if info.GetName() != m.Name {
		differ("name", m.Name, clip(info.GetName()))
	}
	if info.GetVersion() != m.Version {
		differ("version", m.Version, clip(info.GetVersion()))
	}
	if got := slices.Sorted(slices.Values(info.GetSchemes())); !slices.Equal(got, slices.Sorted(slices.Values(m.Schemes))) {
		differ("schemes", strings.Join(m.Schemes, ", "), clip(strings.Join(got, ", ")))
	}
	for _, s := range []struct {
		key  string
		says Schema
		got  []byte
	}{
		{"config_schema", m.ConfigSchema, info.GetConfigSchema()},
		{"options_schema", m.OptionsSchema, info.GetDestinationSchema()},
	} {
		if !s.says.Empty() && !s.says.equals(s.got) {
			errs = append(errs, fmt.Errorf("%s: the manifest's is not the one that the plugin answers", s.key))
		}
	}
	return errors.Join(errs...)
}

// Supports returns nil if a host of that version, which speaks these protocols, can
// run the plugin. A version of the host that is none, as of a build without one,
// supports every plugin.
func (m Manifest) Supports(hostVersion string, protocols ...int) error {
	common := slices.ContainsFunc(protocols, func(p int) bool { return slices.Contains(m.Protocols, p) })
	if !common {
		return fmt.Errorf("protocols: the plugin speaks %v of the contract, this Fresnel %v", m.Protocols, protocols)
	}
	host := "v" + strings.TrimPrefix(hostVersion, "v")
	if m.MinHost != "" && semver.IsValid(host) && semver.Compare(host, "v"+m.MinHost) < 0 {
		return fmt.Errorf("min_host: the plugin needs Fresnel %s or later, this is %s", m.MinHost, hostVersion)
	}
	return nil
}

// For returns the entry of a platform.
func (m Manifest) For(goos, goarch string) (Entry, error) {
	for _, key := range []string{goos + "/" + goarch, Any} {
		if e, ok := m.Entry[key]; ok {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("entry: none for %s/%s; there is %s", goos, goarch,
		strings.Join(slices.Sorted(maps.Keys(m.Entry)), ", "))
}

// clip makes an answer fit for an error.
func clip(s string) string {
	const longest = 200
	return strings.ToValidUTF8(s[:min(len(s), longest)], "�")
}
