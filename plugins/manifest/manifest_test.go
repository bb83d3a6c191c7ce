package manifest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

var sum = strings.Repeat("0a", 32)

var whole = `
name: sms
version: 1.2.0
protocols: [1]
schemes: [sms, sms+http]
min_host: 0.5.0
entry:
  linux/amd64: {path: bin/sms, sha256: ` + sum + `}
  any: {path: sms.py, args: [--quiet], sha256: ` + sum + `}
files:
  sms_pb2.py: ` + sum + `
options_schema:
  type: object
  additionalProperties: false
  required: [sender]
  properties:
    sender: {type: string, pattern: "^[0-9]+$"}
    parts: {type: integer, maximum: 3}
    token: {type: string, writeOnly: true, minLength: 20}
`

func parse(t *testing.T, text string) manifest.Manifest {
	t.Helper()
	m, err := manifest.Parse("plugin.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifestIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "sms" || m.Version != "1.2.0" || m.MinHost != "0.5.0" || !cmp.Equal(m.Protocols, []int{1}) ||
		!cmp.Equal(m.Schemes, []string{"sms", "sms+http"}) || m.Files["sms_pb2.py"] != sum {
		t.Errorf("manifest %+v", m)
	}
	for platform, want := range map[string]string{"amd64": "bin/sms", "arm64": "sms.py"} {
		if e, err := m.For("linux", platform); err != nil || e.Path != want {
			t.Errorf("entry of linux/%s = %+v, %v, want %s", platform, e, err, want)
		}
	}
	delete(m.Entry, manifest.Any)
	if _, err := m.For("linux", "arm64"); err == nil || !strings.Contains(err.Error(), "none for linux/arm64; there is linux/amd64") {
		t.Errorf("For() = %v", err)
	}
	if _, err := manifest.Read(t.TempDir()); !os.IsNotExist(err) {
		t.Errorf("Read() of an empty folder = %v", err)
	}
}

func TestManifestIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	m := parse(t, whole)
	asYAML, err := yaml.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(asYAML), string(asJSON)} {
		again, err := json.Marshal(parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(asJSON), string(again)); d != "" {
			t.Errorf("read from\n%s\n%s", text, d)
		}
	}
	bare := parse(t, "{name: a, version: 1.0.0, protocols: [1], schemes: [a], entry: {any: {path: a, sha256: "+sum+"}}}")
	for _, marshal := range []func(any) ([]byte, error){yaml.Marshal, json.Marshal} {
		if b, err := marshal(bare); err != nil || strings.Contains(string(b), "schema") || strings.Contains(string(b), "min_host") {
			t.Errorf("what is not there is written: %s, %v", b, err)
		}
	}
}

func TestMistakesInManifestsAreNamedWithFileAndLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change [2]string
		want   []string
	}{
		"no name":                    {[2]string{"name: sms", "name: ''"}, []string{"plugin.yaml:2: name: ", "lower-case word"}},
		"an unknown key":             {[2]string{"schemes:", "scheme:"}, []string{"plugin.yaml:5: scheme: unknown key; known are name, version"}},
		"an unknown key in an entry": {[2]string{"args:", "arg:"}, []string{"plugin.yaml:9: entry.any.arg: unknown key"}},
		"a version that is none":     {[2]string{"version: 1.2.0", "version: 1.2"}, []string{"plugin.yaml:3: version: ", "semantic version"}},
		"a version with v":           {[2]string{"version: 1.2.0", "version: v1.2.0"}, []string{"plugin.yaml:3: version: "}},
		"a version of a wrong type":  {[2]string{"[1]", "[one]"}, []string{"plugin.yaml:4: cannot unmarshal"}},
		"no protocol":                {[2]string{"[1]", "[]"}, []string{"plugin.yaml:4: protocols: required"}},
		"an upper-case scheme":       {[2]string{"[sms,", "[SMS,"}, []string{`plugin.yaml:5: schemes: "SMS"`}},
		"a scheme twice":             {[2]string{"sms+http]", "sms]"}, []string{"schemes: sms is there twice"}},
		"a minimum that is none":     {[2]string{"0.5.0", "new"}, []string{"plugin.yaml:6: min_host: "}},
		"a path that leaves":         {[2]string{"bin/sms", "../sms"}, []string{"plugin.yaml:8: entry.linux/amd64.path: is not a plain path"}},
		"a path in a roundabout way": {[2]string{"bin/sms", "bin/../sms"}, []string{"entry.linux/amd64.path: is not a plain path"}},
		"an absolute path":           {[2]string{"sms_pb2.py", "/etc/passwd"}, []string{"plugin.yaml:11: files./etc/passwd: "}},
		"a checksum that is none":    {[2]string{sum + "}", "abc}"}, []string{"plugin.yaml:8: entry.linux/amd64.sha256: "}},
		"a platform that is none":    {[2]string{"linux/amd64", "Linux"}, []string{"plugin.yaml:8: entry.Linux: "}},
		"a file that is an entry":    {[2]string{"sms_pb2.py", "sms.py"}, []string{"files.sms.py: is an entry already"}},
		"a schema that is none":      {[2]string{"type: object", "type: thing"}, []string{"plugin.yaml:13: is no JSON Schema"}},
		"a schema that reads a file": {[2]string{"type: object", "$ref: file:///etc/passwd"}, []string{"refer to nothing outside"}},
		"no YAML":                    {[2]string{"name: sms", "name: ["}, []string{"plugin.yaml: line "}},
		"a key twice":                {[2]string{"version:", "name:"}, []string{`plugin.yaml:3: mapping key "name" already defined`}},
		"two documents":              {[2]string{"files:", "---\nfiles:"}, []string{"more than one document"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(whole, c.change[0], c.change[1], 1)
			m, err := manifest.Parse("plugin.yaml", []byte(text))
			if err == nil {
				t.Fatalf("Parse() is content with\n%s", text)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Parse() = %v, want %q in it", err, want)
				}
			}
			if m.Name != "" {
				t.Error("there is a manifest all the same")
			}
		})
	}
	for _, text := range []string{"", "[]", "sms", "name: sms"} {
		if _, err := manifest.Parse("plugin.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "plugin.yaml") {
			t.Errorf("Parse(%q) = %v", text, err)
		}
	}
}

func TestTooLargeManifestIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := whole + "#" + strings.Repeat("x", 1<<20)
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.Read(dir); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("Read() = %v", err)
	}
}

func TestOptionsAreCheckedAgainstTheSchema(t *testing.T) {
	t.Parallel()
	s := parse(t, whole).OptionsSchema
	for _, c := range []struct {
		options map[string]string
		want    []string
	}{
		{map[string]string{"sender": "49", "parts": "2"}, nil},
		{map[string]string{"parts": "2"}, []string{"sender: required"}},
		{map[string]string{"sender": "49", "part": "2"}, []string{"part: is not a known key; known are parts, sender, token"}},
		{map[string]string{"sender": "49", "parts": "many"}, []string{"parts: got string, want integer"}},
		{map[string]string{"sender": "49", "parts": "4"}, []string{"parts: maximum: got 4, want 3"}},
		{map[string]string{"sender": "hunter2"}, []string{"sender: does not match ^[0-9]+$"}},
		{map[string]string{"sender": "49", "token": "hunter2"}, []string{"token: minLength: got 7, want 20"}},
		{map[string]string{"sender": "x", "a": "hunter2"}, []string{"a: is not a known key; known are parts, sender, token", "sender: does not match ^[0-9]+$"}},
	} {
		var got []string
		for _, err := range s.CheckOptions(c.options) {
			got = append(got, err.Error())
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("CheckOptions(%v): %s", c.options, d)
		}
	}
	if errs := (manifest.Schema{}).CheckOptions(map[string]string{"a": "b"}); errs != nil {
		t.Errorf("no schema has objections: %v", errs)
	}
	if !s.Secret("token") || s.Secret("sender") || s.Secret("nothing") {
		t.Error("Secret() does not tell what is write-only")
	}
}

func TestPlaceOfAProblemIsNamed(t *testing.T) {
	t.Parallel()
	s, err := manifest.NewSchema([]byte(`{"properties":{"a":{"type":"array","items":{"properties":{"b":{"type":"boolean"}},"required":["c"]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	errs := s.Check(map[string]any{"a": []any{map[string]any{"b": 1, "c": 1}, map[string]any{}}})
	if len(errs) != 2 || errs[0].Error() != "a[0].b: got number, want boolean" || errs[1].Error() != "a[1].c: required" {
		t.Errorf("Check() = %v", errs)
	}
}

func TestRunningPluginMustAgreeWithItsManifest(t *testing.T) {
	t.Parallel()
	m := parse(t, whole)
	schema, err := json.Marshal(m.OptionsSchema)
	if err != nil {
		t.Fatal(err)
	}
	info := func() *publisherv1.GetInfoResponse {
		return &publisherv1.GetInfoResponse{
			Name: "sms", Version: "1.2.0", Schemes: []string{"sms+http", "sms"},
			DestinationSchema: schema, ConfigSchema: []byte(`{"type":"object"}`),
		}
	}
	if err := m.Agrees(info()); err != nil {
		t.Errorf("Agrees() = %v", err)
	}
	for _, c := range []struct {
		change func(*publisherv1.GetInfoResponse)
		want   string
	}{
		{func(i *publisherv1.GetInfoResponse) { i.Name = "pager" }, "name: the manifest says sms, the plugin answers pager"},
		{func(i *publisherv1.GetInfoResponse) { i.Version = "1.3.0" }, "version: the manifest says 1.2.0, the plugin answers 1.3.0"},
		{func(i *publisherv1.GetInfoResponse) { i.Schemes = append(i.Schemes, "http") }, "schemes: "},
		{func(i *publisherv1.GetInfoResponse) { i.DestinationSchema = []byte(`{}`) }, "options_schema: "},
	} {
		i := info()
		c.change(i)
		if err := m.Agrees(i); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Agrees(%v) = %v, want %q in it", i, err, c.want)
		}
	}
	built, err := manifest.FromInfo(info())
	if err != nil || built.Name != "sms" || built.OptionsSchema.Empty() || built.Agrees(info()) != nil {
		t.Errorf("FromInfo() = %+v, %v", built, err)
	}
	bad := info()
	bad.Name, bad.ConfigSchema = "", []byte("{")
	if _, err := manifest.FromInfo(bad); err == nil || !strings.Contains(err.Error(), "name: ") || !strings.Contains(err.Error(), "config_schema: ") {
		t.Errorf("FromInfo() of nonsense = %v", err)
	}
}

func TestHostThatIsTooOldIsNamed(t *testing.T) {
	t.Parallel()
	m := parse(t, whole)
	for host, want := range map[string]string{
		"0.5.0": "", "v0.6.1": "", "dev": "", "": "", "0.4.9": "min_host: the plugin needs Fresnel 0.5.0 or later, this is 0.4.9",
		"0.5.0-rc.1": "min_host: ",
	} {
		if err := m.Supports(host, 1); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Supports(%q) = %v, want %q", host, err, want)
		}
	}
	if err := m.Supports("0.5.0", 2, 3); err == nil || !strings.Contains(err.Error(), "protocols: the plugin speaks [1] of the contract, this Fresnel [2 3]") {
		t.Errorf("Supports(2, 3) = %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Parse("plugin.yaml", text)
		if err != nil {
			return
		}
		b, err := yaml.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := manifest.Parse("plugin.yaml", b); err != nil {
			t.Errorf("cannot read what it wrote: %v\n%s", err, b)
		}
	})
}
