// Package identity finds out who makes a request: from a file of tokens (Static),
// or by believing everybody (None), which is for a loopback address only.
//
// It does not decide what a caller may see; searchapi/policy does. Its invariant: a
// token is never kept, logged or shown, only compared by its digest.
package identity

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/fresnel-search/fresnel/searchapi/policy"
)

// The modes.
const (
	ModeNone   = "none"
	ModeStatic = "static"
)

// Config says how callers are known.
type Config struct {
	Mode string `yaml:"mode"`
	// TokensFile is a YAML list of {sha256, user_id, project_id, roles, domain_id}.
	TokensFile string `yaml:"tokens_file"`
	// AdminRoles are the roles that make a caller an admin.
	AdminRoles []string `yaml:"admin_roles"`
}

// DefaultConfig believes everybody, so it serves on a loopback address only.
func DefaultConfig() Config {
	return Config{Mode: ModeNone, AdminRoles: []string{"admin"}}
}

// Validate joins everything that is wrong, each with its key.
func (c Config) Validate() error {
	var errs []error
	switch c.Mode {
	case ModeNone:
		if c.TokensFile != "" {
			errs = append(errs, errors.New("tokens_file: is not used in mode none; set mode: static"))
		}
	case ModeStatic:
		if c.TokensFile == "" {
			errs = append(errs, errors.New("tokens_file: required in mode static"))
		}
	default:
		errs = append(errs, fmt.Errorf("mode: must be none or static, is %q", c.Mode))
	}
	for i, r := range c.AdminRoles {
		if strings.TrimSpace(r) == "" {
			errs = append(errs, fmt.Errorf("admin_roles[%d]: is empty", i))
		}
	}
	return errors.Join(errs...)
}

// CheckLoopback refuses to believe everybody on an address that others can reach.
func CheckLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", listen, err)
	}
	if loopback(host) {
		return nil
	}
	return fmt.Errorf("identity mode none makes everybody an admin, so it serves on a loopback address only, not on %q;"+
		" listen on 127.0.0.1 or set searchapi.identity.mode: static", listen)
}

// loopback reports whether a host, with or without brackets, is this machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// None makes every caller an admin of all projects. Web pages are kept out: what a
// browser sends for another site's page, or to a name that is not this machine's, is
// refused.
type None struct{}

// Authenticate implements searchapi.Authenticator.
func (None) Authenticate(_ context.Context, r *http.Request) (policy.Caller, error) {
	if host := hostOf(r.Host); !loopback(host) {
		return policy.Caller{}, fmt.Errorf("%w: identity mode none answers only at a loopback address, not at %q", policy.ErrUnauthenticated, host)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !loopback(u.Hostname()) {
			return policy.Caller{}, fmt.Errorf("%w: identity mode none does not answer web pages of other hosts", policy.ErrUnauthenticated)
		}
	}
	return policy.Caller{UserID: "anonymous", Roles: []string{"admin"}, Admin: true, AllProjects: true}, nil
}

// Challenge implements searchapi.Authenticator.
func (None) Challenge() string { return `Fresnel realm="loopback only"` }

// hostOf cuts the port off a Host header.
func hostOf(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return hostport
}
