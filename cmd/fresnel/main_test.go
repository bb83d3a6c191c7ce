package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// result is what a run of the program left behind.
type result struct {
	code      int
	out, errs string
}

func fresnel(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, &out, &errs)
	return result{code, out.String(), errs.String()}
}

// leaves are the commands that do something.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	if c.Runnable() {
		all = append(all, c)
	}
	return all
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	root := commands(&bytes.Buffer{}, &bytes.Buffer{})
	all := leaves(root)
	if len(all) < 12 {
		t.Fatalf("only %d commands", len(all))
	}
	for _, c := range append(all, root.Commands()...) {
		if c.Short == "" || c.Long == "" {
			t.Errorf("%s: lacks a short or a long text", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s: says not what it is for", c.CommandPath(), f.Name)
			}
		})
	}
	for _, c := range all {
		t.Run(c.CommandPath(), func(t *testing.T) {
			t.Parallel()
			r := fresnel(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
			if r.code != 0 || !strings.Contains(r.out, "Usage:") || !strings.Contains(r.out, "Examples:") || !strings.Contains(r.out, c.Long) {
				t.Errorf("--help: exit code %d, prints:\n%s%s", r.code, r.out, r.errs)
			}
		})
	}
}

func TestEveryExampleIsACommandThatExists(t *testing.T) {
	t.Parallel()
	for _, c := range append(leaves(commands(nil, nil)), commands(nil, nil)) {
		for line := range strings.Lines(c.Example) {
			line, _, _ = strings.Cut(line, "#")
			words := shellWords(line)
			if len(words) == 0 || words[0] != "fresnel" {
				t.Errorf("%s: example %q does not begin with fresnel", c.CommandPath(), line)
				continue
			}
			found, rest, err := commands(nil, nil).Find(words[1:])
			if err != nil || c.HasParent() && found.CommandPath() != c.CommandPath() {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
			}
			if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
			}
		}
	}
}

// shellWords splits at spaces that are not between apostrophes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

func TestMistypedCommandsAreExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"serch", "\tsearch\n"},
		{"serve --dta x", "unknown flag: --dta"},
		{"config check", "accepts 1 arg(s), received 0"},
		{"search --output xml", "--output xml: table or json"},
		{"search a --json {}", "either a text or --json"},
		{"search --json {", "--json: not valid JSON"},
		{"play /nowhere", "/nowhere"},
		{"play x --rate -1", "--rate -1: cannot be below 0"},
		{"play x --duplicate 0", "--duplicate 0: must be at least 1"},
		{"play x --copies -2", "--copies -2: must be at least 1"},
		{"catalog check /nowhere", "/nowhere"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			r := fresnel(t, strings.Fields(c.args)...)
			if r.code != 1 || !strings.HasPrefix(r.errs, "fresnel: ") || !strings.Contains(r.errs, c.want) {
				t.Errorf("exit code %d, prints %q; want 1 and %q", r.code, r.errs, c.want)
			}
		})
	}
}

func TestConfigCheckTellsByItsExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.yaml": "data: x\n",
		"bad.yaml":  "searchapi:\n  lissten: x\nindexer:\n  partitions: y\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := fresnel(t, "config", "check", filepath.Join(dir, "good.yaml")); r.code != 0 || !strings.Contains(r.out, "good.yaml: ok") {
		t.Errorf("a good file: %+v", r)
	}
	r := fresnel(t, "config", "check", filepath.Join(dir, "bad.yaml"))
	if r.code != 1 || !strings.Contains(r.errs, "line 2: searchapi.lissten") || !strings.Contains(r.errs, "line 4: indexer.partitions") {
		t.Errorf("a bad file: %+v", r)
	}
	if r := fresnel(t, "config", "check", filepath.Join(dir, "none.yaml")); r.code != 1 || !strings.Contains(r.errs, "none.yaml") {
		t.Errorf("no file: %+v", r)
	}
	if r := fresnel(t, "serve", "--config", filepath.Join(dir, "bad.yaml")); r.code != 1 || !strings.Contains(r.errs, "line 2: searchapi.lissten") {
		t.Errorf("serve with a bad file: %+v", r)
	}
	if r := fresnel(t, "serve", "--data", filepath.Join(dir, "data"), "--listen", "0.0.0.0:0"); r.code != 1 || !strings.Contains(r.errs, "searchapi.identity.mode: ") {
		t.Errorf("serve to everybody: %+v", r)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a refused configuration has made a data folder")
	}
}

func TestConfigCheckLooksIntoTheFilesThatServeNeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"types/a.yaml": "type: OS::Test::Thing\nplurl: things\n",
		"tokens.yaml":  "- {sha256: x}\n",
		"c.yaml": "catalog: {dir: types}\nsearchapi: {identity: {mode: static, tokens_file: tokens.yaml}}\n" +
			"publishers: {subscriptions: [{name: a, publisher: webhok, destination: 'http://h/'}]}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := fresnel(t, "config", "check", filepath.Join(dir, "c.yaml"))
	for _, want := range []string{
		"c.yaml:\n", "catalog.dir: ", "a.yaml:2: unknown key plurl; did you mean plural?",
		"searchapi.identity.tokens_file: ", `publishers.subscriptions[0].publisher: there is no publisher "webhok"`,
	} {
		if r.code != 1 || !strings.Contains(r.errs, want) {
			t.Errorf("exit code %d, prints %q; want 1 and %q", r.code, r.errs, want)
		}
	}
}

func TestServerThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, args := range []string{
		"search x", "books", "deadletters list", "deadletters drop notification/t/0/1", "subscriptions list", "subscriptions resume a", "deliveries list", "demo",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			r := fresnel(t, append(strings.Fields(args), "--url", gone.URL)...)
			if r.code != 1 || !strings.Contains(r.errs, "fresnel serve") || !strings.Contains(r.errs, strings.TrimPrefix(gone.URL, "http://")) {
				t.Errorf("exit code %d, prints %q; want what to do", r.code, r.errs)
			}
		})
	}
}

func TestInterruptedCommandSaysSo(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	var errs bytes.Buffer
	if code := run(ctx, []string{"books", "--url", srv.URL}, &bytes.Buffer{}, &errs); code != 130 || !strings.HasPrefix(errs.String(), "fresnel: interrupted") {
		t.Errorf("exit code %d, prints %q; want 130", code, errs.String())
	}
}

// server answers each "METHOD path" with a canned body; what is not there is a problem.
func server(t *testing.T, answers map[string]string) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") != "tok" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			if _, err := w.Write([]byte(`{"title":"unauthenticated","detail":"the token is not known"}`)); err != nil {
				t.Error(err)
			}
			return
		}
		body, ok := answers[r.Method+" "+r.URL.EscapedPath()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			body = `{"title":"not found","detail":"` + r.Method + " " + r.URL.EscapedPath() + ` is not there"}`
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestClientsShowWhatTheServerSays(t *testing.T) {
	t.Parallel()
	url := server(t, map[string]string{
		"POST /v1/search":                                           `{"hits":{"total":7,"hits":[{"_type":"OS::Nova::Server","_id":"s1","_version":3,"_source":{"name":"web\u001b[2J","status":"ACTIVE"}}]}}`,
		"GET /v1/admin/deadletters":                                 `{"dead_letters":[{"id":"notification/t/0/42","reason":"malformed","detail":"no JSON","size":9,"time":"2026-01-02T03:04:05Z"}],"next":"notification/t/0/42"}`,
		"GET /v1/admin/deadletters/notification/t%20x/0/42":         `{"id":"notification/t x/0/42","value":"bm8="}`,
		"POST /v1/admin/deadletters/notification/t%20x/0/42/replay": ``,
		"DELETE /v1/admin/deadletters/notification/t%20x/0/42":      ``,
		"GET /v1/admin/subscriptions":                               `{"subscriptions":[{"name":"nfv","publisher":"webhook","destination":"http://h/","state":"suspended","lag":12,"reason":"gone"}]}`,
		"POST /v1/admin/subscriptions/nfv/resume":                   ``,
		"POST /v1/admin/subscriptions/nfv/pause":                    ``,
		"GET /v1/admin/subscriptions/nfv":                           `{"name":"nfv","state":"paused","lag_seconds":61.25,"settled":{"delivered":5,"dead":2},"cursors":{"0":7},"settings":{"durability":"kept"}}`,
		"GET /v1/admin/deliveries":                                  `{"deliveries":[{"subscription":"nfv","id":"c1","state":"waiting","resource":"T/x","attempts":2,"due":"2026-01-02T03:04:05Z","code":"http_500","detail":"oops\u001b[2J"}],"next":""}`,
		"GET /v1/admin/deliveries/nfv/c1":                           `{"id":"c1","event":{"data":{"n":1}}}`,
		"POST /v1/admin/deliveries/nfv/c1/redeliver":                ``,
		"GET /v1/admin/books":                                       `{"adds_up":false,"books":{"listener":{"input":3,"outcomes":{"dead":1,"dispatched":1}}}}`,
	})
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"search as a table", []string{"search", "web"}, []string{"OS::Nova::Server", "s1", "ACTIVE", "1 of 7"}},
		{"search as JSON", []string{"search", "web", "-o", "json"}, []string{`"_id": "s1"`}},
		{"dead letters", []string{"deadletters", "list"}, []string{"notification/t/0/42", "malformed", "no JSON", "there are more: --after 'notification/t/0/42'"}},
		{"one dead letter", []string{"dead-letters", "show", "notification/t x/0/42"}, []string{`"value": "bm8="`}},
		{"a replay", []string{"deadletters", "replay", "notification/t x/0/42"}, []string{"notification/t x/0/42: done"}},
		{"a drop", []string{"deadletters", "drop", "notification/t x/0/42"}, []string{"notification/t x/0/42: done"}},
		{"subscriptions", []string{"subscriptions", "list"}, []string{"nfv", "suspended", "12", "gone"}},
		{"a resumption", []string{"subscriptions", "resume", "nfv"}, []string{"nfv: resumed"}},
		{"a pause", []string{"subscriptions", "pause", "nfv"}, []string{"nfv: paused"}},
		{"one subscription", []string{"subscriptions", "show", "nfv"}, []string{"paused", "1m1.2s", "delivered", "5", "cursor of partition 0", "7", "durability", "kept"}},
		{"deliveries", []string{"deliveries", "list", "-s", "nfv"}, []string{"nfv/c1", "waiting", "T/x", "2026-01-02 03:04:05", "http_500: oops"}},
		{"one delivery", []string{"deliveries", "show", "nfv/c1"}, []string{`"n": 1`}},
		{"a redelivery", []string{"deliveries", "redeliver", "nfv/c1"}, []string{"nfv/c1: on its way"}},
		{"a redelivery of all", []string{"deliveries", "redeliver", "-s", "nfv"}, []string{"nfv: 1 deliveries on their way, 0 could not be"}},
		{"books that do not add up", []string{"books"}, []string{"records read", "dispatched", "do NOT add up"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := fresnel(t, append(c.args, "--url", url, "--token", "tok")...)
			if r.code != 0 {
				t.Fatalf("exit code %d: %s", r.code, r.errs)
			}
			for _, want := range c.want {
				if !strings.Contains(r.out, want) {
					t.Errorf("prints %q, want %q in it", r.out, want)
				}
			}
			if c.args[len(c.args)-1] != "json" && strings.Contains(r.out, "\x1b") {
				t.Error("a resource's name reaches the terminal with its control characters")
			}
		})
	}
	t.Run("a refusal in the server's words", func(t *testing.T) {
		t.Parallel()
		r := fresnel(t, "books", "--url", url, "--token", "other")
		if r.code != 1 || r.errs != "fresnel: 401 Unauthorized: the token is not known\n" {
			t.Errorf("%+v", r)
		}
	})
}

func TestTokenOfTheEnvironmentIsSentAndNotShown(t *testing.T) {
	t.Setenv("FRESNEL_TOKEN", "s3cret")
	sent := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("X-Auth-Token")
	}))
	t.Cleanup(srv.Close)
	if r := fresnel(t, "search", "--help"); r.code != 0 || strings.Contains(r.out, "s3cret") {
		t.Errorf("search --help: exit code %d, prints:\n%s", r.code, r.out)
	}
	fresnel(t, "search", "x", "--url", srv.URL)
	select {
	case token := <-sent:
		if token != "s3cret" {
			t.Errorf("sent the token %q", token)
		}
	default:
		t.Error("sent no request")
	}
}

func TestSearchRequestSaysWhatTheFlagsSay(t *testing.T) {
	t.Parallel()
	o := searchOptions{output: "table", limit: 3, types: []string{"OS::Nova::Server"}, sort: "name:desc", all: true}
	body, err := o.request([]string{"web"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"all_projects":true,"limit":3,"query":{"query_string":{"lenient":true,"query":"web"}},"sort":[{"name":{"order":"desc"}}],"type":["OS::Nova::Server"],"version":true}`
	if string(got) != want {
		t.Errorf("request %s, want %s", got, want)
	}
}

func TestCatalogCommandsNeedNoServer(t *testing.T) {
	t.Parallel()
	if r := fresnel(t, "catalog", "check"); r.code != 0 || !strings.Contains(r.out, "resource types: ok") {
		t.Errorf("check: %+v", r)
	}
	r := fresnel(t, "catalog", "try", filepath.Join("..", "..", "test", "notifications", "nova.jsonl.gz"))
	if r.code != 0 || !strings.Contains(r.out, "OS::Nova::Server/") || !strings.Contains(r.out, "ignored: ") {
		t.Errorf("try: exit code %d, prints %.500s %s", r.code, r.out, r.errs)
	}
	bad := t.TempDir()
	if err := os.WriteFile(filepath.Join(bad, "thing.yaml"), []byte("type: OS::A::B\nfeilds: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := fresnel(t, "catalog", "check", bad); r.code != 1 || !strings.Contains(r.errs, "thing.yaml:2") || !strings.Contains(r.errs, "feilds") {
		t.Errorf("check of a bad type: %+v", r)
	}
}
