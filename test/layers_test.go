package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/fresnel-search/fresnel/"

// floors lists our packages from the ground up. A package imports lower floors
// only, so packages on one floor do not know each other. "x/..." is a subtree.
var floors = []string{
	"plugins/change plugins/publisherv1 listener/stream indexer/record publishers/delivery configs/secret configs/resources " +
		"indexer/resource/wire",
	"indexer/resource indexer/scalar plugins/internal/...",
	"listener/notification indexer/fold searchapi/query plugins/sdk plugins/manifest publishers/lane",
	"indexer/catalog plugins/client plugins/plugintest plugins/oslo publishers/filter",
	"searchapi/policy searchapi/view indexer/changelog plugins/publishertest",
	"searchapi/feed",
	"listener/kafka listener/kafka/embedded indexer/sqlite/token indexer/elastic/layout",
	"indexer/sqlite/compile indexer/elastic/dsl",
	"indexer/sqlite indexer/elastic searchapi/identity publishers/host publishers/webhook publishers/log publishers/websub publishers/zaqar " +
		"publishers/rabbitmq publishers/kafka publishers/email publishers/discard",
	"listener indexer publishers searchapi",
	"indexer/storetest plugins/example/...",
	"configs",
	"cmd/fresnel/app cmd/fresnel/play",
	"cmd/...",
	"test/...",
}

// diets narrows what some packages of ours may import of ours.
var diets = []struct{ who, only, why string }{
	{"plugins/...", "plugins/...", "plugins/ must stand alone"},
	{
		"listener indexer publishers searchapi",
		"plugins/change listener/stream listener/notification indexer/record indexer/resource indexer/resource/wire indexer/fold indexer/catalog " +
			"indexer/changelog publishers/delivery publishers/filter publishers/lane searchapi/query searchapi/policy searchapi/feed configs/secret",
		"a subsystem knows nouns and pure logic; app hands it mechanisms",
	},
}

// machinery names the packages under publishers that are no publishers themselves.
const machinery = "publishers publishers/delivery publishers/filter publishers/host publishers/lane"

// builtIn reports whether a package is a publisher that Fresnel brings along.
func builtIn(importPath string) bool {
	return within("publishers/...", importPath) && !within(machinery, importPath)
}

// owners says who alone may import a library.
var owners = map[string]string{
	"github.com/segmentio/kafka-go":       "listener/kafka listener/kafka/embedded publishers/kafka",
	"github.com/rabbitmq/amqp091-go":      "publishers/rabbitmq",
	"github.com/wneessen/go-mail":         "publishers/email",
	"github.com/twmb/franz-go":            "listener/kafka/embedded",
	"github.com/gin-gonic/gin":            "searchapi",
	"github.com/hashicorp/go-plugin":      "plugins/... publishers/host",
	"google.golang.org/grpc":              "plugins/... publishers/host",
	"github.com/elastic/":                 "indexer/elastic",
	"modernc.org/sqlite":                  "indexer/sqlite",
	"github.com/spf13/cobra":              "cmd/fresnel",
	"github.com/prometheus/client_golang": "listener indexer publishers searchapi searchapi/feed cmd/fresnel/app listener/kafka listener/kafka/embedded publishers/host indexer/elastic",
	"gopkg.in/yaml.v3":                    "indexer/catalog configs plugins/manifest searchapi/identity cmd/...",
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		if within("test/...", p.ImportPath) {
			continue
		}
		if floor(p.ImportPath) < 0 {
			t.Errorf("%s is on no floor; place it", p.ImportPath)
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, module) {
				checkOurs(t, p.ImportPath, imp)
			} else {
				checkTheirs(t, p.ImportPath, imp)
			}
		}
	}
}

func checkOurs(t *testing.T, pkg, imp string) {
	t.Helper()
	if from, to := floor(pkg), floor(imp); to >= from {
		t.Errorf("%s (floor %d) imports %s (floor %d)", pkg, from, imp, to)
	}
	if builtIn(pkg) && !within("plugins/...", imp) {
		t.Errorf("%s imports %s: a built-in publisher uses only what any plugin can", pkg, imp)
	}
	for _, d := range diets {
		if within(d.who, pkg) && !within(d.only, imp) {
			t.Errorf("%s imports %s: %s", pkg, imp, d.why)
		}
	}
}

func checkTheirs(t *testing.T, pkg, imp string) {
	t.Helper()
	for lib, who := range owners {
		if strings.HasPrefix(imp, lib) && !within(who, pkg) {
			t.Errorf("%s imports %s; only %s may", pkg, imp, who)
		}
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) (ps []listed) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return ps
		case err != nil:
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
}

func floor(importPath string) int {
	for i, f := range floors {
		if within(f, importPath) {
			return i
		}
	}
	return -1
}

// within reports whether the package is named by one of the patterns.
func within(patterns, importPath string) bool {
	sub := strings.TrimPrefix(importPath, module)
	for pat := range strings.FieldsSeq(patterns) {
		dir, tree := strings.CutSuffix(pat, "/...")
		if sub == dir || tree && strings.HasPrefix(sub, dir+"/") {
			return true
		}
	}
	return false
}
