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

// maxFile bounds a configuration file, in bytes.
const maxFile = 4 << 20

// Load reads a file over the defaults. Relative paths in it are relative to the
// file's own folder, except data, which is relative to the working folder.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err := errors.Join(err, f.Close()); err != nil {
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
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return Config{}, err
	}
	if n.Kind != 0 {
		if err := errors.Join(strict(&n, reflect.TypeFor[Config](), "")...); err != nil {
			return Config{}, err
		}
		dec := yaml.NewDecoder(bytes.NewReader(b))
		if err := dec.Decode(&c); err != nil {
			return Config{}, err
		}
	}
	if err := c.resolve(dir); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

// readSecret sets s from a file, if one is named. Naming both is an error.
func readSecret(s *secret.String, file, dir, key string) error {
	if file == "" {
		return nil
	}
	if !s.Empty() {
		return fmt.Errorf("%s: give it or %s_file, not both", key, key)
	}
	b, err := os.ReadFile(abs(dir, file))
	if err != nil {
		return fmt.Errorf("%s_file: %w", key, err)
	}
	*s = secret.New(strings.TrimSpace(string(b)))
	return nil
}

// abs is a path of the configuration as seen from the working folder.
func abs(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
