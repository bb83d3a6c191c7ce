package configs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/configs/secret"
)

// equal compares configurations, secrets included; an empty list is none.
var equal = cmp.Options{
	cmp.Comparer(func(a, b secret.String) bool { return a.Reveal() == b.Reveal() }),
	cmpopts.EquateEmpty(),
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDocumentedDefaultsAreTheDefaults(t *testing.T) {
	t.Parallel()
	got, err := configs.Parse([]byte(read(t, "fresnel.yaml")), "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(configs.Default(), got, equal); d != "" {
		t.Errorf("fresnel.yaml differs from the defaults (-default +file):\n%s", d)
	}
}

// example is fresnel.yaml with its commented-out settings: lines whose # is followed
// by a word or by two spaces and more, where prose has one space.
func example(t *testing.T) string {
	t.Helper()
	text := read(t, "fresnel.yaml")
	for _, empty := range []string{"  plugins: {}\n", "  subscriptions: []\n"} {
		if !strings.Contains(text, empty) {
			t.Fatalf("fresnel.yaml has no line %q", empty)
		}
		text = strings.Replace(text, empty, "", 1)
	}
	return regexp.MustCompile(`(?m)^(\s*)#(\w|  )`).ReplaceAllString(text, "$1$2")
}

func TestDocumentedExampleIsAccepted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"audit.secret", "queue.secret", "mail.secret", "zaqar.secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("whsec_c2VjcmV0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := configs.Parse([]byte(example(t)), dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Publishers.Subscriptions); n != 9 || len(c.Publishers.Host.Plugins) != 4 {
		t.Errorf("the example has %d subscriptions and plugins %v, want 9 and 4", n, c.Publishers.Host.Plugins)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(example(t)), &n); err != nil {
		t.Fatal(err)
	}
	for _, path := range undocumented(reflect.TypeFor[configs.Config](), n.Content, "") {
		t.Errorf("fresnel.yaml does not mention %s", path)
	}
}

// undocumented are the keys of a type that none of the nodes has.
func undocumented(t reflect.Type, nodes []*yaml.Node, path string) (missing []string) {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		var items []*yaml.Node
		for _, n := range nodes {
			for i, item := range n.Content {
				if t.Kind() == reflect.Slice || i%2 == 1 {
					items = append(items, item)
				}
			}
		}
		return undocumented(t.Elem(), items, path+"[]")
	case reflect.Struct:
	default:
		return nil
	}
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if opts == "inline" {
			missing = append(missing, undocumented(f.Type, nodes, path)...)
			continue
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		at := strings.TrimPrefix(path+"."+name, ".")
		values := under(nodes, name)
		if len(values) == 0 {
			missing = append(missing, at)
			continue
		}
		missing = append(missing, undocumented(f.Type, values, at)...)
	}
	return missing
}

// under are the values of a key in the nodes.
func under(nodes []*yaml.Node, key string) (values []*yaml.Node) {
	for _, n := range nodes {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				values = append(values, n.Content[i+1])
			}
		}
	}
	return values
}

func TestDefaultsCanBeServed(t *testing.T) {
	t.Parallel()
	if err := configs.Default().Validate(); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "# nothing\n", "listener:\n"} {
		got, err := configs.Parse([]byte(text), "")
		if d := cmp.Diff(configs.Default(), got, equal); err != nil || d != "" {
			t.Errorf("Parse(%q): %v\n%s", text, err, d)
		}
	}
}

func TestDemoConfigurationLoads(t *testing.T) {
	t.Parallel()
	c, err := configs.Load("demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Publishers.Subscriptions); n != 1 {
		t.Errorf("%d subscriptions, want the demo's", n)
	}
}

// promised is what the README and the issues promise to read like this.
const promised = `
searchapi:
  listen: 127.0.0.1:9393
  identity: {mode: static, tokens_file: tokens.yaml}
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  subscriptions:
    - name: nfv
      publisher: webhook
      destination: http://127.0.0.1:8099/hook
      secret: whsec_bXktdGVzdC1zZWNyZXQtMTIzNDU2Nzg5MA==
      filter: {types: ["OS::Neutron::*"], actions: [created, updated, deleted], projects: ["*"]}
`

func TestPromisedKeysStay(t *testing.T) {
	t.Parallel()
	c, err := configs.Parse([]byte(promised), "/etc/fresnel")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.SearchAPI.Identity.TokensFile, "/etc/fresnel/tokens.yaml"; got != want {
		t.Errorf("tokens file %q, want %q: beside the configuration", got, want)
	}
	if got := c.Publishers.Host.Outbound.Allow; !cmp.Equal(got, []string{"127.0.0.0/8"}) {
		t.Errorf("outbound.allow = %v", got)
	}
	s := c.Publishers.Subscriptions[0]
	if s.Name != "nfv" || s.Secret.Reveal() != "whsec_bXktdGVzdC1zZWNyZXQtMTIzNDU2Nzg5MA==" || len(s.Filter.Actions) != 3 {
		t.Errorf("subscription %+v", s)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{
			"an unknown key, with its line and what was meant", "data: d\nsearchapi:\n  lissten: 127.0.0.1:1\n",
			[]string{"line 3: searchapi.lissten: unknown key; did you mean listen?"},
		},
		{
			"an unknown key far from any", "searchapi: {identity: {zzzzzzzz: 1}}",
			[]string{"line 1: searchapi.identity.zzzzzzzz: unknown key; known here: admin_roles, mode, tokens_file"},
		},
		{
			"an unknown key in a list", "publishers:\n  subscriptions:\n    - name: a\n      publisher: log\n      filter: {typs: [a]}\n",
			[]string{"line 5: publishers.subscriptions[0].filter.typs: unknown key; did you mean types?"},
		},
		{
			"an unknown key beside a merged mapping", "publishers:\n  plugins:\n    a: &a {path: x}\n    b: {<<: *a, agrs: [y]}\n",
			[]string{"line 4: publishers.plugins.b.agrs: unknown key; did you mean args?"},
		},
		{
			"values of a wrong type, all of them", "searchapi:\n  query_timeout: soon\nindexer:\n  partitions: many\n",
			[]string{"line 2: searchapi.query_timeout: ", "line 4: indexer.partitions: "},
		},
		{"keys and types at once", "dta: x\nindexer: {partitions: many}\n", []string{"dta: unknown key; did you mean data?", "indexer.partitions: "}},
		{
			"values of all parts that cannot be", "log: {level: loud}\nindexer: {partitions: 0}\nsearchapi:\n  limits: {depth: 0}\npublishers:\n  window: 0\n  attempt_timeout: 0s\nlistener: {kafka: {max_wait: 0s}}\n",
			[]string{"line 1: log.level: ", "line 2: indexer.partitions: ", "line 4: searchapi.limits.depth: ", "line 6: publishers.window: ", "line 7: publishers.attempt_timeout: ", "line 8: listener.kafka.max_wait: "},
		},
		{"a key twice", "data: a\ndata: b\n", []string{`"data"`, "line 1"}},
		{"two documents", "data: a\n---\ndata: b\n", []string{"second document"}},
		{"no mapping", "[1, 2]", []string{"line 1"}},
		{"no YAML", "data: [", []string{"line 1"}},
		{"one group for both", "listener: {group: g}\nindexer: {group: g}", []string{"listener.group, indexer.group"}},
		{
			"nobody logs in, for everybody to reach", "searchapi:\n  listen: 0.0.0.0:9393\n",
			[]string{"searchapi.identity.mode: ", "0.0.0.0:9393", "listen on 127.0.0.1 or set searchapi.identity.mode: static"},
		},
		{
			"an embedded broker for everybody to reach", "listener: {kafka: {embedded: {listen: '0.0.0.0:9092'}}}",
			[]string{"listener.kafka.embedded.listen: "},
		},
		{"a folder of types that is not there", "data: x\ncatalog: {dir: /nowhere}", []string{"line 2: catalog.dir: open /nowhere: "}},
		{
			"roles that do not exist", "roles: [listener, listner, listener]",
			[]string{`line 1: roles[1]: "listner" is not one of listener, indexer, publishers, searchapi`, "roles[2]: listener is there twice"},
		},
		{"no roles", "roles: []", []string{"line 1: roles: required"}},
		{
			"a split of what is embedded", "roles: [searchapi]",
			[]string{"only searchapi, but the embedded Kafka is inside of one process with all roles: set listener.kafka.brokers", "set indexer.store: elasticsearch"},
		},
		{"a store that is none", "indexer: {store: solr}", []string{"line 1: indexer.store: "}},
		{
			"a store that says too little", "indexer:\n  store: elasticsearch\n  elasticsearch: {shards: 0}\n",
			[]string{"indexer.elasticsearch.addresses: required", "line 3: indexer.elasticsearch.shards: "},
		},
		{
			"a secret twice", "indexer: {store: elasticsearch, elasticsearch: {addresses: ['http://e:9200'], api_key: a, api_key_file: b}}",
			[]string{"indexer.elasticsearch.api_key: give it or indexer.elasticsearch.api_key_file, not both"},
		},
		{"a setting that is none", "publishers: {topic: x, timeout: 1s}", []string{"publishers.topic: unknown key", "publishers.timeout: unknown key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := configs.Parse([]byte(c.text), "")
			if err == nil {
				t.Fatalf("Parse(%q) is content", c.text)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Parse(%q) = %v, want %q in it", c.text, err, want)
				}
			}
		})
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"key": " \nwhsec_c2VjcmV0\n\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(lines string) (configs.Config, error) {
		return configs.Parse([]byte("publishers:\n  subscriptions:\n    - name: a\n      publisher: webhook\n"+lines), dir)
	}
	t.Run("trimmed, from a file beside the configuration", func(t *testing.T) {
		t.Parallel()
		c, err := parse("      secret_file: key\n")
		if err != nil {
			t.Fatal(err)
		}
		s := c.Publishers.Subscriptions[0].Secret
		if s.Reveal() != "whsec_c2VjcmV0" {
			t.Errorf("secret %q", s.Reveal())
		}
		if text := fmt.Sprintf("%v %+v %#v", c, c, c.Publishers); strings.Contains(text, "c2VjcmV0") {
			t.Errorf("a printed configuration shows the secret: %s", text)
		}
	})
	for name, lines := range map[string]string{
		"secret: give it or publishers.subscriptions[0].secret_file, not both": "      secret: whsec_c2VjcmV0\n      secret_file: key\n",
		"secret_file: ":               "      secret_file: nowhere\n",
		"secret_file: empty is empty": "      secret_file: empty\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(lines)
			if err == nil || !strings.Contains(err.Error(), "publishers.subscriptions[0]."+name) {
				t.Errorf("error %v, want one that says %q", err, name)
			}
			if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestSplitNeedsEnginesOfOnesOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("c2VjcmV0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Parse([]byte(`
roles: [indexer, searchapi]
listener: {kafka: {brokers: ["k1:9092"]}}
indexer:
  store: elasticsearch
  elasticsearch: {addresses: ["https://e1:9200"], api_key_file: key, ca_file: ca.pem}
`), dir)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Has(configs.RoleIndexer) || c.Has(configs.RoleListener) || c.Kept() || !c.Shared() {
		t.Errorf("roles %v, kept %v, shared %v", c.Roles, c.Kept(), c.Shared())
	}
	e := c.Indexer.Elasticsearch
	if e.APIKey.Reveal() != "c2VjcmV0" || e.CAFile != dir+"/ca.pem" {
		t.Errorf("key %q, authorities %q", e.APIKey.Reveal(), e.CAFile)
	}
	if all := configs.Default(); !all.Kept() || all.Shared() {
		t.Error("the default keeps nothing in its data folder")
	}
}

func TestPathsStartFromTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "types"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := configs.Parse([]byte(`
data: here
catalog: {dir: types}
publishers:
  run_dir: run
  plugins: {a: {path: ./a}, b: {path: b}, c: {path: /c}}
`), dir)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Publishers.Host.Plugins
	got := []string{c.Data, c.Catalog.Dir, c.Publishers.Host.RunDir, p["a"].Path, p["b"].Path, p["c"].Path}
	want := []string{"here", dir + "/types", dir + "/run", dir + "/a", "b", "/c"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("paths (-want +got):\n%s", d)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f.yaml")
	if _, err := configs.Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("dta: x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := configs.Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":\n") {
		t.Errorf("Load = %v, want the file's name first", err)
	}
}
