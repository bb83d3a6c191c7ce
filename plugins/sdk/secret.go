package sdk

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const redacted = "[redacted]"

// Secret is a secret of a destination or of the configuration. Formatting, logging or
// encoding one yields a placeholder; only Reveal gives it away.
type Secret struct{ value []byte }

// NewSecret wraps a secret, for tests.
func NewSecret(value []byte) Secret { return Secret{value: value} }

// Reveal returns the secret itself, for the one place that uses it.
func (s Secret) Reveal() []byte { return s.value }

// Empty reports whether there is no secret.
func (s Secret) Empty() bool { return len(s.value) == 0 }

// String returns a placeholder.
func (Secret) String() string { return redacted }

// Format writes a placeholder whatever the verb.
func (Secret) Format(f fmt.State, _ rune) {
	if _, err := io.WriteString(f, redacted); err != nil {
		return // fmt has nowhere to report it
	}
}

// LogValue returns a placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the secret.
func (s *Secret) UnmarshalText(b []byte) error {
	s.value = []byte(string(b))
	return nil
}

// scrub removes secrets that found their way into a message.
func scrub(message string, secrets map[string]Secret) string {
	const shortest = 4 // a shorter one would tear words apart and protects nothing
	for _, s := range secrets {
		if len(s.value) >= shortest {
			message = strings.ReplaceAll(message, string(s.value), redacted)
		}
	}
	return message
}
