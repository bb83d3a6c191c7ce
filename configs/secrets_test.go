package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/configs"
)

func TestSecretsOfASubscriptionComeByNameFromFilesToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("PEM\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = `
publishers:
  subscriptions:
    - {name: a, publisher: webhook, destination: "http://h/", secrets: {ca: mine}, secret_files: {client_key: key}}
`
	c, err := configs.Parse([]byte(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, s := range c.Publishers.Subscriptions[0].Secrets {
		got[name] = s.Reveal()
	}
	if d := cmp.Diff(map[string]string{"ca": "mine", "client_key": "PEM"}, got); d != "" {
		t.Error(d)
	}
	for bad, want := range map[string]string{
		"secret_files: {client_key: none}":                         "publishers.subscriptions[0].secret_files.client_key: open ",
		"secrets: {ca: x}, secret_files: {ca: key}":                "publishers.subscriptions[0]: ca is in secrets and in secret_files",
		"secret: x, secrets: {secret: y}, secret_files: {ca: key}": "publishers.subscriptions[0].secrets: secret is there twice",
	} {
		_, err := configs.Parse([]byte(strings.Replace(text, "secrets: {ca: mine}, secret_files: {client_key: key}", bad, 1)), dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", bad, err, want)
		}
	}
}
