// Package configs reads the one configuration file. Each part of Fresnel owns its
// own Config, defaults and checks; this package only composes them, finds unknown
// keys and reads secrets from the files that *_file keys name.
//
// It reads no environment. Its invariant: Load returns either a configuration that
// every part has accepted or all that is wrong with it, each with its key and,
// where there is one, its line. fresnel.yaml documents every key with its default.
package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/configs/secret"
)

// maxFile bounds a configuration file, and one of a secret, in bytes.
const maxFile = 4 << 20

// Load reads a file over the defaults. Relative paths in it are relative to the
// file's own folder, except data, which is relative to the working folder.
func Load(path string) (Config, error) {
	b, err := readFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := Parse(b, filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("%s:\n%w", path, err)
	}
	return c, nil
}

// Parse is Load of bytes; dir is the folder that relative paths start from.
func Parse(b []byte, dir string) (Config, error) {
	c := Default()
	n, err := document(b)
	if err != nil {
		return Config{}, err
	}
	l := newLines(n)
	errs := strict(n, reflect.TypeFor[Config](), "")
	if n.Kind != 0 {
		errs = append(errs, l.typed(n.Decode(&c))...)
	}
	if len(errs) == 0 { // else more would be wrong only because of that
		errs = l.located(errors.Join(c.resolve(dir), c.Validate()))
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// document is the one document of a file, or nothing.
func document(b []byte) (*yaml.Node, error) {
	var n, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&n); errors.Is(err, io.EOF) {
		return &n, nil
	} else if err != nil {
		return nil, err
	}
	if err := dec.Decode(&more); err == nil {
		return nil, fmt.Errorf("line %d: a second document begins; there can be one only", more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &n, nil
}

// readFile reads a file of a sensible size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: is larger than %d bytes", path, maxFile)
	}
	return b, err
}

// readSecret sets s from a file, if one is named. Naming both is an error.
func readSecret(s *secret.String, file, dir, key string) error {
	if file == "" {
		return nil
	}
	if !s.Empty() {
		return fmt.Errorf("%s: give it or %s_file, not both", key, key)
	}
	return readInto(s, file, dir, key+"_file")
}

// readInto sets s from the file that a key names.
func readInto(s *secret.String, file, dir, key string) error {
	b, err := readFile(abs(dir, file))
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if *s = secret.New(strings.TrimSpace(string(b))); s.Empty() {
		return fmt.Errorf("%s: %s is empty", key, file)
	}
	return nil
}

// abs is a path of the configuration as seen from the working folder.
func abs(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
