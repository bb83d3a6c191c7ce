package identity_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/searchapi/identity"
	"github.com/fresnel-search/fresnel/searchapi/policy"
)

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func tokensFile(t *testing.T, text string) identity.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	write(t, path, text)
	return identity.Config{Mode: identity.ModeStatic, TokensFile: path, AdminRoles: []string{"Admin"}}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func who(s *identity.Static, header, value string) (policy.Caller, error) {
	r := httptest.NewRequest("GET", "/v1/search", nil)
	if header != "" {
		r.Header.Set(header, value)
	}
	return s.Authenticate(context.Background(), r)
}

func TestStaticKnowsCallersByTheDigestOfTheirTokens(t *testing.T) {
	t.Parallel()
	s, err := identity.OpenStatic(tokensFile(t, fmt.Sprintf(`
- {sha256: %s, user_id: u1, project_id: p1, roles: [Member], domain_id: d1}
- sha256: %s
  user_id: u2
  project_id: p2
  roles: [admin, reader]
`, digest("one"), strings.ToUpper(digest("two")))), nil)
	if err != nil {
		t.Fatal(err)
	}
	one := policy.Caller{UserID: "u1", ProjectID: "p1", DomainID: "d1", Roles: []string{"member"}}
	two := policy.Caller{UserID: "u2", ProjectID: "p2", Roles: []string{"admin", "reader"}, Admin: true}
	for _, c := range []struct {
		header, value string
		want          policy.Caller
	}{{"X-Auth-Token", "one", one}, {"Authorization", "bearer two", two}} {
		got, err := who(s, c.header, c.value)
		if err != nil || cmp.Diff(c.want, got) != "" {
			t.Errorf("Authenticate(%s: %s) = %+v, %v", c.header, c.value, got, err)
		}
	}
	for _, c := range [][2]string{{"", ""}, {"X-Auth-Token", "three"}, {"X-Auth-Token", digest("one")}, {"Authorization", "Basic one"}} {
		got, err := who(s, c[0], c[1])
		if !errors.Is(err, policy.ErrUnauthenticated) || cmp.Diff(policy.Caller{}, got) != "" {
			t.Errorf("Authenticate(%v) = %+v, %v, want a refusal", c, got, err)
		}
		if c[1] != "" && strings.Contains(err.Error(), c[1]) {
			t.Errorf("the refusal shows the token: %v", err)
		}
	}
}

func TestStaticReadsTheFileAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	entry := func(token string) string {
		return fmt.Sprintf("- {sha256: %s, user_id: u, project_id: p}\n", digest(token))
	}
	c := tokensFile(t, entry("old"))
	var log bytes.Buffer
	s, err := identity.OpenStatic(c, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	change := func(text string) {
		write(t, c.TokensFile, text)
		at = at.Add(time.Minute)
		if err := os.Chtimes(c.TokensFile, at, at); err != nil {
			t.Fatal(err)
		}
	}
	known := func(token string) bool {
		_, err := who(s, "X-Auth-Token", token)
		return err == nil
	}
	change(entry("new"))
	if known("old") || !known("new") {
		t.Error("the new file is not in force")
	}
	change("- {sha256: nonsense}\n")
	if again := known("new"); !again || !known("new") {
		t.Error("a broken file took away the tokens")
	}
	if n := strings.Count(log.String(), "tokens file refused"); n != 1 {
		t.Errorf("the log says %d times that the file is broken, want once:\n%s", n, log.String())
	}
	change(entry("newer"))
	if known("new") || !known("newer") {
		t.Error("a mended file is not in force")
	}
	if err := os.Remove(c.TokensFile); err != nil {
		t.Fatal(err)
	}
	if !known("newer") {
		t.Error("a missing file took away the tokens")
	}
}

func TestStaticRefusesAFileWithMistakesByLine(t *testing.T) {
	t.Parallel()
	good := fmt.Sprintf("- {sha256: %s, user_id: u, project_id: p}\n", digest("a"))
	for _, c := range []struct{ text, says string }{
		{"a: b", "1: must be a list"},
		{good + "- {sha256: " + digest("b") + ", user_id: u}", "tokens.yaml:2: project_id: required"},
		{good + "- {sha256: " + digest("b") + ", project_id: u}", "tokens.yaml:2: user_id: required"},
		{good + good, "tokens.yaml:2: sha256: stands in the file twice"},
		{good + "- {sha256: 12, user_id: u, project_id: p}", "tokens.yaml:2: sha256: must be"},
		{good + "- sha256: " + digest("b") + "\n  projct_id: p", `line 3: unknown key "projct_id"; did you mean project_id?`},
		{good + "- {token: secret}", `unknown key "token"`},
		{"- [", "line"},
	} {
		if _, err := identity.OpenStatic(tokensFile(t, c.text), nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("OpenStatic(%q) = %v, want an error with %q", c.text, err, c.says)
		}
	}
	if _, err := identity.OpenStatic(identity.Config{TokensFile: filepath.Join(t.TempDir(), "nowhere")}, nil); err == nil {
		t.Error("OpenStatic of a file that is not there succeeded")
	}
	if _, err := identity.OpenStatic(tokensFile(t, ""), nil); err != nil {
		t.Errorf("OpenStatic of an empty file = %v, want nobody to be known", err)
	}
}

func TestNoneIsForThisMachineOnly(t *testing.T) {
	t.Parallel()
	for listen, ok := range map[string]bool{
		"127.0.0.1:9393": true, "[::1]:0": true, "localhost:1": true, "127.9.9.9:1": true,
		"0.0.0.0:9393": false, ":9393": false, "192.0.2.1:9393": false, "[::]:1": false, "example.net:1": false, "127.0.0.1": false,
	} {
		if err := identity.CheckLoopback(listen); (err == nil) != ok {
			t.Errorf("CheckLoopback(%q) = %v, want ok %v", listen, err, ok)
		}
	}
	for _, c := range []struct {
		host, origin string
		ok           bool
	}{
		{"127.0.0.1:9393", "", true},
		{"localhost", "http://localhost:3000", true},
		{"[::1]:9393", "", true},
		{"evil.example:9393", "", false},
		{"127.0.0.1:9393", "https://evil.example", false},
		{"127.0.0.1:9393", "null", false},
	} {
		r := httptest.NewRequest("POST", "/v1/search", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		caller, err := identity.None{}.Authenticate(context.Background(), r)
		if (err == nil) != c.ok || c.ok != (caller.Admin && caller.AllProjects) {
			t.Errorf("Authenticate at %q from %q = %+v, %v, want ok %v", c.host, c.origin, caller, err, c.ok)
		}
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	if err := identity.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	for says, c := range map[string]identity.Config{
		"mode: must be":            {Mode: "keystone9"},
		"tokens_file: required":    {Mode: identity.ModeStatic},
		"tokens_file: is not used": {Mode: identity.ModeNone, TokensFile: "x"},
		"admin_roles[1]: is empty": {Mode: identity.ModeNone, AdminRoles: []string{"a", " "}},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("Validate(%+v) = %v, want %q", c, err, says)
		}
	}
}
