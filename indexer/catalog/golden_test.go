package catalog_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/listener/stream"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden holds one testdata/*.txtar for each type: recorded messages, each in a
// file of its own, and in "want" what they become.
func TestGolden(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	for _, typ := range c.Types() {
		name := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(typ.Name, "OS::"), "::", "_"))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", name+".txtar")
			archive, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("every type has a golden file: %v", err)
			}
			parts := unpack(archive)
			var records []stream.Record
			var kept bytes.Buffer
			for _, p := range parts {
				if p.name == "want" {
					continue
				}
				kept.WriteString("-- " + p.name + " --\n" + p.body)
				records = append(records, stream.Record{Topic: p.name, Value: compact(t, p.body), Time: time.Unix(1e9, 0)})
			}
			var got bytes.Buffer
			if err := catalog.Try(&got, c, records); err != nil {
				t.Fatal(err)
			}
			want := ""
			for _, p := range parts {
				if p.name == "want" {
					want = p.body
				}
			}
			if *update {
				kept.WriteString("-- want --\n" + got.String())
				if err := os.WriteFile(file, kept.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("%s (-want +got), -update rewrites:\n%s", file, diff)
			}
			if !strings.Contains(want, " "+typ.Name+"/") {
				t.Errorf("%s shows no %s", file, typ.Name)
			}
		})
	}
}

func compact(t *testing.T, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(body)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// part is one file of an archive: "-- name --" and what follows.
type part struct{ name, body string }

func unpack(archive []byte) (parts []part) {
	for line := range strings.Lines(string(archive)) {
		if name, ok := strings.CutPrefix(line, "-- "); ok {
			parts = append(parts, part{name: strings.TrimSuffix(strings.TrimSpace(name), " --")})
			continue
		}
		if len(parts) > 0 {
			parts[len(parts)-1].body += line
		}
	}
	return parts
}
