package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/searchapi/policy"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Static knows callers by the digests of their tokens in a file. It reads the file
// again when it changes; while the file is broken, the tokens read last stay valid
// and the log says so. It is safe for concurrent use.
type Static struct {
	path   string
	admins []string
	log    *slog.Logger

	mu     sync.Mutex
	seen   fingerprint
	tokens []token
}

// fingerprint tells whether a file has changed.
type fingerprint struct {
	modified time.Time
	size     int64
}

type token struct {
	digest []byte
	caller policy.Caller
}

// OpenStatic reads the tokens file. A nil logger discards.
func OpenStatic(c Config, log *slog.Logger) (*Static, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Static{path: c.TokensFile, log: log}
	for _, r := range c.AdminRoles {
		s.admins = append(s.admins, strings.ToLower(strings.TrimSpace(r)))
	}
	at, err := s.fingerprint()
	if err != nil {
		return nil, fmt.Errorf("tokens file: %w", err)
	}
	if s.tokens, err = s.read(); err != nil {
		return nil, fmt.Errorf("tokens file %w", err)
	}
	s.seen = at
	return s, nil
}

// Authenticate implements searchapi.Authenticator: the token stands in X-Auth-Token,
// or in Authorization as a bearer's.
func (s *Static) Authenticate(_ context.Context, r *http.Request) (policy.Caller, error) {
	given := r.Header.Get("X-Auth-Token")
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); given == "" && ok && strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimSpace(rest)
	}
	if given == "" {
		return policy.Caller{}, fmt.Errorf("%w: send a token in X-Auth-Token", policy.ErrUnauthenticated)
	}
	digest := sha256.Sum256([]byte(given))
	var found *policy.Caller
	for _, t := range s.current() {
		if subtle.ConstantTimeCompare(t.digest, digest[:]) == 1 {
			found = &t.caller
		}
	}
	if found == nil {
		return policy.Caller{}, fmt.Errorf("%w: the token is not known", policy.ErrUnauthenticated)
	}
	return *found, nil
}

// Challenge implements searchapi.Authenticator.
func (s *Static) Challenge() string { return `Bearer realm="fresnel"` }

// current returns the tokens, read again if the file has changed.
func (s *Static) current() []token {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := s.fingerprint()
	if err == nil && at == s.seen {
		return s.tokens
	}
	if err != nil {
		if s.seen != (fingerprint{}) {
			s.log.Error("tokens file unreadable, keeping its tokens", "err", err)
		}
		s.seen = fingerprint{}
		return s.tokens
	}
	s.seen = at
	tokens, err := s.read()
	if err != nil {
		s.log.Error("tokens file refused, keeping its tokens", "err", err)
		return s.tokens
	}
	s.tokens = tokens
	s.log.Info("tokens file read", "count", len(tokens))
	return tokens
}

func (s *Static) fingerprint() (fingerprint, error) {
	i, err := os.Stat(s.path)
	if err != nil {
		return fingerprint{}, err
	}
	return fingerprint{i.ModTime(), i.Size()}, nil
}

// read parses the file. Errors begin with its name and line.
func (s *Static) read() ([]token, error) {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	list := doc.Content[0]
	if list.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%s:%d: must be a list of tokens", s.path, list.Line)
	}
	var tokens []token
	var errs []error
	for _, n := range list.Content {
		t, err := s.token(n)
		if err == nil && slices.ContainsFunc(tokens, func(o token) bool { return bytes.Equal(o.digest, t.digest) }) {
			err = errors.New("sha256: stands in the file twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", s.path, n.Line, err))
			continue
		}
		tokens = append(tokens, t)
	}
	return tokens, errors.Join(errs...)
}

// entry is one element of the file.
type entry struct {
	SHA256    string   `yaml:"sha256"`
	UserID    string   `yaml:"user_id"`
	ProjectID string   `yaml:"project_id"`
	DomainID  string   `yaml:"domain_id"`
	Roles     []string `yaml:"roles"`
}

func (s *Static) token(n *yaml.Node) (token, error) {
	if n.Kind != yaml.MappingNode {
		return token{}, errors.New("must be a mapping")
	}
	keys := []string{"sha256", "user_id", "project_id", "domain_id", "roles"}
	for i := 0; i < len(n.Content); i += 2 {
		if k := n.Content[i]; !slices.Contains(keys, k.Value) {
			hint := ""
			if near := query.Nearest(k.Value, keys); near != "" {
				hint = "; did you mean " + near + "?"
			}
			return token{}, fmt.Errorf("line %d: unknown key %q%s", k.Line, k.Value, hint)
		}
	}
	var e entry
	if err := n.Decode(&e); err != nil {
		return token{}, err
	}
	digest, err := hex.DecodeString(e.SHA256)
	switch {
	case err != nil || len(digest) != sha256.Size:
		return token{}, errors.New("sha256: must be the 64 hexadecimal digits of the token's SHA-256")
	case e.UserID == "":
		return token{}, errors.New("user_id: required")
	case e.ProjectID == "":
		return token{}, errors.New("project_id: required")
	}
	c := policy.Caller{UserID: e.UserID, ProjectID: e.ProjectID, DomainID: e.DomainID}
	for _, r := range e.Roles {
		r = strings.ToLower(strings.TrimSpace(r))
		c.Roles = append(c.Roles, r)
		c.Admin = c.Admin || slices.Contains(s.admins, r)
	}
	return token{digest, c}, nil
}
