package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// How an event lies in a request.
const (
	structured = "structured" // the whole CloudEvent is the body
	binary     = "binary"     // its data are the body, its attributes are headers
	batch      = "batch"      // several CloudEvents in a list
)

// Options are what a destination may say. Its secrets are secret and previous_secret
// (whsec_ for HMAC, whsk_ for ed25519), authorization, which becomes the header of
// that name, and ca, client_cert and client_key.
type Options struct {
	Mode    string            `json:"mode,omitempty" doc:"structured, binary or batch; structured if empty"`
	Headers map[string]string `json:"headers,omitempty" doc:"more headers, as a JSON object; at most 20"`
	// PreviousUntil ends the overlap of a rotation.
	PreviousUntil string `json:"previous_secret_until,omitempty" doc:"until when deliveries are signed with previous_secret too, such as 2027-01-31T12:00:00Z; as long as there is one if empty"`

	previousUntil time.Time
}

// Validate reads the options and reports what is wrong with them.
func (o *Options) Validate() error {
	const most = 20
	var errs []error
	if !slices.Contains([]string{"", structured, binary, batch}, o.Mode) {
		errs = append(errs, errors.New("mode: is none of structured, binary, batch"))
	}
	if len(o.Headers) > most {
		errs = append(errs, fmt.Errorf("headers: are more than %d", most))
	}
	for name, value := range o.Headers {
		switch {
		case !isToken(name) || reserved(name):
			errs = append(errs, fmt.Errorf("headers: %q cannot be set", name))
		case !isValue(value):
			errs = append(errs, fmt.Errorf("headers: the value of %s cannot be sent", name))
		}
	}
	if o.PreviousUntil != "" {
		var err error
		if o.previousUntil, err = time.Parse(time.RFC3339, o.PreviousUntil); err != nil {
			errs = append(errs, errors.New("previous_secret_until: is not a time such as 2027-01-31T12:00:00Z"))
		}
	}
	return errors.Join(errs...)
}

func isToken(name string) bool {
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const longest = 100
	return name != "" && len(name) <= longest && strings.Trim(name, token) == ""
}

// isValue reports whether a text can be the value of a header.
func isValue(s string) bool {
	const longest = 4096
	return len(s) <= longest && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// reserved reports headers that say where a request goes, how long it is, what it
// means and who has signed it: not theirs to set.
func reserved(name string) bool {
	name = http.CanonicalHeaderKey(name)
	for _, prefix := range []string{"Webhook-", "Ce-", "Proxy-", "Content-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"Host", "Transfer-Encoding", "Te", "Trailer", "Connection", "Keep-Alive", "Upgrade", "Expect", "Authorization",
	}, name)
}

// signers are the secrets that sign at a time: the one, and the one before while both
// shall verify.
func signers(d *sdk.Destination[Options], now time.Time) []sdk.Secret {
	secrets := []sdk.Secret{d.Secrets["secret"]}
	if until := d.Options.previousUntil; until.IsZero() || now.Before(until) {
		secrets = append(secrets, d.Secrets["previous_secret"])
	}
	return slices.DeleteFunc(secrets, sdk.Secret.Empty)
}
