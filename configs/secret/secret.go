// Package secret holds strings that must never be shown: passwords, signing keys,
// tokens. It does not encrypt anything; its invariant is that formatting, logging
// or marshalling a secret yields a placeholder.
package secret

import "log/slog"

const redacted = "[redacted]"

// String is a secret. Only Reveal gives it away.
type String struct{ value string }

// New wraps s.
func New(s string) String { return String{value: s} }

// Reveal returns the secret itself, for the one place that uses it.
func (s String) Reveal() string { return s.value }

// Empty reports whether there is no secret.
func (s String) Empty() bool { return s.value == "" }

// String returns a placeholder.
func (String) String() string { return redacted }

// GoString returns a placeholder.
func (String) GoString() string { return redacted }

// LogValue returns a placeholder.
func (String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder.
func (String) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the secret.
func (s *String) UnmarshalText(b []byte) error {
	s.value = string(b)
	return nil
}
