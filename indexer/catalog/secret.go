package catalog

import (
	"regexp"
	"strings"
)

// secretName reports whether a member of this name may hold a secret, whose value is
// kept nowhere.
func secretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range [...]string{
		"password", "passwd", "passphrase", "adminpass", "admin_pass", "secret", "token", "private_key", "privatekey", "api_key",
		"apikey", "credential", "connection_info", "connector", "user_data", "chap", "temp-url-key", "sync-key", "auth_key", "fernet",
		"x-auth", "service_catalog",
	} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// secretText matches bearer tokens (Fernet, JWT), key blocks and URLs with a password.
var secretText = regexp.MustCompile(`gAAAA[A-Za-z0-9_-]{16}|eyJ[A-Za-z0-9_-]{10,}\.eyJ|-----BEGIN|(?i:\bbearer )|://[^/\s:@]+:[^/\s@]+@`)

// secretValue reports whether a text looks like a secret, whatever it is called.
func secretValue(s string) bool {
	if len(s) < 8 {
		return false
	}
	if !strings.Contains(s, "gAAAA") && !strings.Contains(s, "eyJ") && !strings.Contains(s, "-----BEGIN") &&
		!strings.Contains(s, "://") && !strings.Contains(strings.ToLower(s), "bearer ") {
		return false
	}
	return secretText.MatchString(s)
}
