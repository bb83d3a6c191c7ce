package host_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

func schema(t *testing.T, text string) manifest.Schema {
	t.Helper()
	s, err := manifest.NewSchema([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// served is a host of some plugins, none of which is ever run.
func served(t *testing.T, plugins map[string]host.PluginConfig) *host.Host {
	t.Helper()
	cfg := config(t, "")
	cfg.Plugins = plugins
	cfg.Builtins = []host.Builtin{
		{Argv: []string{"/bin/false"}, Manifest: manifest.Manifest{
			Name: "webhook", Version: "1.0.0", Schemes: []string{"http", "https"},
			OptionsSchema: schema(t, `{"type":"object","additionalProperties":false,"properties":{"batch":{"type":"integer"}}}`),
			ConfigSchema:  schema(t, `{"type":"object","additionalProperties":false,"properties":{"user_agent":{"type":"string"}}}`),
		}},
		{Argv: []string{"/bin/false"}, Manifest: manifest.Manifest{Name: "hub", Version: "1.0.0", Schemes: []string{"https", "hub"}}},
	}
	h, err := host.New(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSchemeChoosesThePublisher(t *testing.T) {
	t.Parallel()
	h := served(t, map[string]host.PluginConfig{
		"a": {Path: "/bin/false", Schemes: []string{"sms", "http"}}, "b": {Path: "/bin/false", Schemes: []string{"sms", "fax"}},
		"c": {Path: "/bin/false"},
	})
	for _, c := range []struct{ name, uri, want, problem string }{
		{"", "HTTP://example.net/x", "webhook", ""},
		{"", "https://example.net", "webhook", ""}, // the first of those built in
		{"", "hub:x", "hub", ""},
		{"", "fax:1", "b", ""},
		{"hub", "https://example.net", "hub", ""},
		{"c", "", "c", ""},
		{"", "sms:1", "", "sms: is served by a and b; name one as publisher"},
		{"", "zaqr://q", "", "no publisher serves zaqr:; served are fax, http, https, hub, sms; it is not known what c would serve"},
		{"", "nothing", "", "no absolute URI"},
		{"", "http://u:hunter2@[", "", "no absolute URI"},
		{"nobody", "", "", `there is no publisher "nobody"; there are webhook, hub, a, b, c`},
	} {
		got, err := h.Select(c.name, c.uri)
		if got != c.want || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("Select(%q, %q) = %q, %v, want %q, %q", c.name, c.uri, got, err, c.want, c.problem)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Select() tells a password: %v", err)
		}
	}
}

func TestDestinationsAndConfigurationsAreCheckedWithoutRunningPlugins(t *testing.T) {
	t.Parallel()
	h := served(t, map[string]host.PluginConfig{
		"webhook": {Config: map[string]any{"user-agent": "x"}}, "gone": {}, "elsewhere": {Address: "127.0.0.1:1", TLS: "off"},
		"folder": {Path: filepath.Join(t.TempDir())},
	})
	for _, c := range []struct {
		name string
		to   delivery.Destination
		want []string
	}{
		{"webhook", delivery.Destination{URI: "http://x", Options: map[string]string{"batch": "5"}}, nil},
		{"webhook", delivery.Destination{URI: "ftp://x", Options: map[string]string{"batch": "many", "batsh": "1"}}, []string{
			"destination: webhook serves http, https, not ftp", "options.batch: got string, want integer", "options.batsh: is not a known key; known are batch",
		}},
		{"webhook", delivery.Destination{}, []string{"destination: required: a URI of scheme http or https"}},
		{"elsewhere", delivery.Destination{URI: "any:1", Options: map[string]string{"a": "b"}}, nil},
		{"nobody", delivery.Destination{}, []string{"publisher: there is none"}},
	} {
		var got []string
		for _, err := range h.CheckDestination(c.name, c.to) {
			got = append(got, err.Error())
		}
		if len(got) != len(c.want) {
			t.Fatalf("CheckDestination(%s, %+v) = %q, want %q", c.name, c.to, got, c.want)
		}
		for i, want := range c.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("CheckDestination(%s, %+v) says %q, want %q", c.name, c.to, got[i], want)
			}
		}
	}
	var all strings.Builder
	for _, err := range h.Check() {
		all.WriteString(err.Error() + "\n")
	}
	for _, want := range []string{
		"plugins.webhook.config.user-agent: is not a known key; known are user_agent",
		"plugins.gone: no plugin of this name is built in, none is in plugin_dirs, and it has no path or address",
		"plugins.folder: open ",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("Check() = %s, want %q in it", all.String(), want)
		}
	}
}
